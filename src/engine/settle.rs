//! A claimed task comes back: completed, failed, released, or expired.
//!
//! One path for one result and for a thousand. The locks of the runs are taken in the order of their keys
//! ([`super::counting`] says which can be shared); the live rows are taken, and whoever has a matching one has the right
//! to settle ([`super::live`]); [`super::fate`] decides what becomes of each; then [`super::carry_out`] does it, every kind
//! of change in one statement over all tasks of the batch, and [`super::advance`] does what follows.
//!
//! A result without a matching live row is refused: nothing changes, and the receipt says where things stand.

use std::collections::HashMap;

use super::advance::Advance;
use super::aftermath::{self, Aftermath};
use super::counting::Holds;
use super::fate::{self, Fate};
use super::live::{self, Live};
use super::receipt::{self, Receipt, Standing, TaskKey};
use super::{MAX_RUN_LOCKS, carry_out, events};
use crate::error::{Error, Result};
use crate::model::Executor;
use crate::statements;
use crate::store::{Json, Session, Statement, lock};

statements! {
    OPEN_RUNS = "open_runs.sql",
    OPEN_FREE_RUNS = "open_free_runs.sql",
}

/// What a worker says of a task, or the clock does.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Done; an SQL NULL counts as JSON null.
    Complete(Option<Json>),
    Fail {
        message: String,
        retryable: bool,
        /// Seconds until the next attempt, instead of the step's backoff.
        retry_after: Option<i32>,
    },
    /// Handed back; burns no attempt.
    Release,
    /// The lease ran out.
    Expire,
    /// The engine finds that the task can never be done, and why.
    Reject(String),
}

#[derive(Debug, Clone)]
pub struct Settlement {
    pub task: TaskKey,
    /// The lease that the worker holds; `None` settles whoever holds it.
    pub lease: Option<i64>,
    pub verdict: Verdict,
}

/// Takes results and returns a receipt for each, in the same order.
pub fn settle(session: &Session, batch: &[Settlement]) -> Result<Vec<Receipt>> {
    settle_within(session, batch, &mut { MAX_RUN_LOCKS })
}

/// [`settle`] for a call that goes on: says how many runs it may still lock.
pub fn settle_within(
    session: &Session,
    batch: &[Settlement],
    run_locks: &mut usize,
) -> Result<Vec<Receipt>> {
    if batch.len() > *run_locks {
        return Err(Error::invalid_with_hint(
            format!("a batch of {} results is too large", batch.len()),
            format!("Settle at most {run_locks} results in a call."),
        ));
    }
    *run_locks -= batch.len();
    lock::share_runs_table()?;
    let holds = Holds::take(batch)?;
    let mut transition = Transition::new(session, batch, &OPEN_RUNS, Some(&holds))?;
    let has_moved_others = aftermath::follow(session, transition.aftermath(), run_locks)?;
    transition.receipts(has_moved_others)
}

/// [`settle`] for a caller that holds the locks alone, and sees to the aftermath.
pub fn settle_locked(session: &Session, batch: &[Settlement]) -> Result<Aftermath> {
    Ok(Transition::new(session, batch, &OPEN_RUNS, None)?.aftermath())
}

/// [`settle_locked`] for a caller that also holds the rows of the tasks and of their runs: what else is held by someone
/// makes it fail with 55P03.
pub fn settle_nowait(session: &Session, batch: &[Settlement]) -> Result<Aftermath> {
    let advance = Advance::nowait(session);
    Ok(Transition::of(advance, batch, &OPEN_RUNS, None)?.aftermath())
}

/// [`settle_locked`] for a claimer, which holds live rows but no run's lock, and whose settlements end no step. It waits
/// for nobody: a pending run whose row someone else holds stays pending, and the next claim or settlement opens it.
pub fn settle_unlocked(session: &Session, batch: &[Settlement]) -> Result<Aftermath> {
    Ok(Transition::new(session, batch, &OPEN_FREE_RUNS, None)?.aftermath())
}

/// A batch that is settled.
struct Transition<'s, 'b> {
    advance: Advance<'s>,
    batch: &'b [Settlement],
    live: Vec<Live>,
    fates: Vec<Fate>,
}

impl<'s, 'b> Transition<'s, 'b> {
    fn new(
        session: &'s Session,
        batch: &'b [Settlement],
        open_runs: &Statement,
        holds: Option<&Holds>,
    ) -> Result<Self> {
        Self::of(Advance::new(session), batch, open_runs, holds)
    }

    fn of(
        mut advance: Advance<'s>,
        batch: &'b [Settlement],
        open_runs: &Statement,
        holds: Option<&Holds>,
    ) -> Result<Self> {
        let (live, fates) = settle_tasks(&mut advance, batch, open_runs, holds)?;
        advance.drive()?;
        Ok(Self {
            advance,
            batch,
            live,
            fates,
        })
    }

    fn aftermath(&mut self) -> Aftermath {
        std::mem::take(&mut self.advance.aftermath)
    }

    /// The receipts; where things stand is looked up if other runs were moved since.
    fn receipts(&self, has_moved_others: bool) -> Result<Vec<Receipt>> {
        receipts(
            &self.advance,
            self.batch,
            &self.live,
            &self.fates,
            has_moved_others,
        )
    }
}

/// [`settle_locked`] for a caller that drives `advance` itself, for tasks that are completed or end: a batch of any
/// size. Returns the positions of those that were settled.
pub fn settle_inside(advance: &mut Advance, batch: &[Settlement]) -> Result<Vec<usize>> {
    let mut settled = Vec::with_capacity(batch.len());
    let mut rest = batch;
    while !rest.is_empty() {
        let (part, others) = rest.split_at(part_of(rest));
        let before = batch.len() - rest.len();
        let (live, _) = settle_tasks(advance, part, &OPEN_RUNS, None)?;
        settled.extend(live.iter().map(|task| before + task.no));
        rest = others;
    }
    Ok(settled)
}

/// How many settlements are taken in one pass: their outputs are parameters, and those have to fit into memory.
fn part_of(batch: &[Settlement]) -> usize {
    const TASKS: usize = 10_000;
    const BYTES: usize = 32 * 1024 * 1024;
    let mut bytes = 0;
    (batch.iter().take(TASKS))
        .take_while(|settlement| {
            bytes += match &settlement.verdict {
                Verdict::Complete(Some(output)) => output.size(),
                _ => 0,
            };
            bytes <= BYTES
        })
        .count()
        .max(1)
}

fn settle_tasks(
    advance: &mut Advance,
    batch: &[Settlement],
    open_runs: &Statement,
    holds: Option<&Holds>,
) -> Result<(Vec<Live>, Vec<Fate>)> {
    let live = live::find(advance, batch)?;
    let fates = fate::decide(advance, batch, &live)?;

    open(open_runs, advance, &live)?;
    carry_out::complete_tasks(advance, batch, &live, &fates, holds)?;
    carry_out::retry_tasks(advance, batch, &live, &fates)?;
    carry_out::release_tasks(advance, batch, &live, &fates)?;
    carry_out::end_tasks(advance, batch, &live, &fates)?;
    for task in &live {
        if advance.step(task.run, task.step).executor == Executor::Flow {
            advance.aftermath.child_of(batch[task.no].task.clone());
        }
    }
    // No external task is tried again, so those that were settled have ended.
    let ended = live.iter().map(|task| (task.run, task.step, task.no));
    events::end_waits(advance, batch, ended)?;
    Ok((live, fates))
}

fn open(open_runs: &Statement, advance: &mut Advance, live: &[Live]) -> Result<()> {
    let runs: HashMap<_, _> = (live.iter().filter(|task| task.opens_run))
        .map(|task| (advance.runs[task.run].id, task.run))
        .collect();
    if runs.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = runs.keys().copied().collect();
    for id in open_runs.query(&[&ids, &advance.session.now], |row| row.get(1))? {
        advance.run_opened(runs[&id])?;
    }
    Ok(())
}

fn receipts(
    advance: &Advance,
    batch: &[Settlement],
    live: &[Live],
    fates: &[Fate],
    has_moved_others: bool,
) -> Result<Vec<Receipt>> {
    let mut receipts: Vec<_> = (batch.iter())
        .map(|settlement| Receipt {
            task: settlement.task.clone(),
            accepted: false,
            standing: Standing::default(),
        })
        .collect();
    for (task, fate) in live.iter().zip(fates) {
        let receipt = &mut receipts[task.no];
        receipt.accepted = true;
        receipt.standing = Standing {
            task: Some(
                match fate {
                    Fate::Completed => "completed",
                    Fate::Released | Fate::Retried(_) => "queued",
                    Fate::Ended { .. } => "failed",
                }
                .to_owned(),
            ),
            step: Some(
                (advance.step_status(task.run, task.step))
                    .unwrap_or("started")
                    .to_owned(),
            ),
            run: Some(advance.run_status(task.run).to_owned()),
            initial_tasks: None,
        };
    }
    // What was refused, and what a failure may have cancelled, is looked up.
    let unsure: Vec<_> = if has_moved_others
        || fates.iter().any(|fate| matches!(fate, Fate::Ended { .. }))
        || (0..advance.runs.len()).any(|run| advance.is_failing(run))
    {
        (0..receipts.len()).collect()
    } else {
        (0..receipts.len())
            .filter(|&no| !receipts[no].accepted)
            .collect()
    };
    if !unsure.is_empty() {
        let tasks: Vec<_> = unsure.iter().map(|&no| &receipts[no].task).collect();
        for (no, standing) in unsure.iter().zip(receipt::standings(&tasks)?) {
            receipts[*no].standing = standing;
        }
    }
    Ok(receipts)
}
