//! A claimed task comes back: completed, failed, released, or expired.
//!
//! One path for one result and for a thousand. The locks of the runs are taken in the order of their keys
//! ([`super::counting`] says which can be shared); the live rows are taken, and whoever has a matching one has the right
//! to settle; [`super::fate`] decides what becomes of each; then
//! every kind of change is one statement over all tasks of the batch, and [`super::advance`] does what follows.
//!
//! A result without a matching live row is refused: nothing changes, and the receipt says where things stand.

use std::collections::{HashMap, HashSet};

use super::advance::{Advance, MovingRun, RunNo, Skip, SkipReason};
use super::aftermath::{self, Aftermath};
use super::counting::{self, Holds};
use super::fate::{self, Fate};
use super::receipt::{self, Receipt, Standing, TaskKey};
use super::{MAX_RUN_LOCKS, definitions, event, events, gather, limits, run_flow};
use crate::error::{Error, Result};
use crate::model::{Executor, Resort, StepNo, StepType};
use crate::statements;
use crate::store::{Json, Session, Statement, lock};

statements! {
    TAKE_TASKS = "take_tasks.sql",
    LOCK_TASKS = "lock_tasks.sql",
    OPEN_RUNS = "open_runs.sql",
    OPEN_FREE_RUNS = "open_free_runs.sql",
    DELETE_LIVE_TASKS = "delete_live_tasks.sql",
    COMPLETE_TASKS = "complete_tasks.sql",
    FAIL_TASKS = "fail_tasks.sql",
    RETRY_TASKS = "retry_tasks.sql",
    RELEASE_TASKS = "release_tasks.sql",
    CANCEL_STEP_TASKS = "cancel_step_tasks.sql",
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

/// A task of the batch that may be settled: its live row is ours.
pub struct Live {
    /// The position in the batch.
    pub no: usize,
    /// Whether the live row is still there, and only locked.
    is_live: bool,
    pub run: RunNo,
    pub step: StepNo,
    pub attempt: i32,
    pub first_attempt: i32,
    pub opens_run: bool,
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
    let live = find_live(advance, batch)?;
    let fates = fate::decide(advance, batch, &live)?;

    open(open_runs, advance, &live)?;
    complete_tasks(advance, batch, &live, &fates, holds)?;
    retry_tasks(advance, batch, &live, &fates)?;
    release_tasks(advance, batch, &live, &fates)?;
    end_tasks(advance, batch, &live, &fates)?;
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

/// A live row as it was found.
struct Found {
    no: usize,
    is_live: bool,
    attempt: i32,
    first_attempt: i32,
    turn: i64,
    priority: i32,
    opens_run: bool,
    definition_id: i64,
    flow_slug: String,
    flow_version: i32,
}

/// The tasks that the batch may settle. Those it completes leave the live ones at once, whatever becomes of them;
/// for the others that is decided later.
fn find_live(advance: &mut Advance, batch: &[Settlement]) -> Result<Vec<Live>> {
    let mut seen = HashSet::with_capacity(batch.len());
    let mut twice = HashSet::new();
    for settlement in batch {
        if !seen.insert(&settlement.task) {
            twice.insert(&settlement.task);
        }
    }
    let (mut take, mut look): (Vec<_>, Vec<_>) = (0..batch.len()).partition(|&no| {
        matches!(batch[no].verdict, Verdict::Complete(_)) && !twice.contains(&batch[no].task)
    });
    let mut found = find(&TAKE_TASKS, batch, &mut take, false)?;
    found.extend(find(&LOCK_TASKS, batch, &mut look, true)?);
    found.sort_unstable_by_key(|task| task.no);

    let mut settled = HashSet::new();
    let mut live = Vec::with_capacity(found.len());
    for task in found {
        let TaskKey {
            run_id, step_slug, ..
        } = &batch[task.no].task;
        // Of two results for one task the first wins.
        if twice.contains(&batch[task.no].task) && !settled.insert(&batch[task.no].task) {
            continue;
        }
        let definition = definitions::get(task.definition_id, &task.flow_slug, task.flow_version)?;
        let step = definition.step_no(step_slug).ok_or_else(|| {
            Error::Internal(format!(
                "flow \"{}\" lacks step \"{step_slug}\"",
                task.flow_slug
            ))
        })?;
        // Nobody would take a task up again that is not claimed, and nobody fails at waiting.
        let executor = definition.steps[step].executor;
        let is_refused = match batch[task.no].verdict {
            Verdict::Release => !executor.is_claimed(),
            Verdict::Fail { .. } => executor == Executor::Timer,
            _ => false,
        };
        if is_refused {
            continue;
        }
        let queue = definition.steps[step].queue.clone();
        limits::task_ended(&queue);
        event::task_settled(&definition.steps[step]);
        let run = advance.add(MovingRun::new(*run_id, definition, task.priority));
        let moving = &mut advance.runs[run];
        if (moving.turn.as_ref()).is_none_or(|(of, last)| *of != queue || *last < task.turn) {
            moving.turn = Some((queue, task.turn));
        }
        live.push(Live {
            no: task.no,
            is_live: task.is_live,
            run,
            step,
            attempt: task.attempt,
            first_attempt: task.first_attempt,
            opens_run: task.opens_run,
        });
    }
    Ok(live)
}

/// Runs a statement that finds the live rows of these members of the batch.
fn find(
    statement: &Statement,
    batch: &[Settlement],
    members: &mut [usize],
    is_live: bool,
) -> Result<Vec<Found>> {
    if members.is_empty() {
        return Ok(Vec::new());
    }
    members.sort_by_key(|&no| {
        let task = &batch[no].task;
        (task.run_id, &task.step_slug, task.task_index)
    });
    let (ids, slugs, indexes) = receipt::columns(members.iter().map(|&no| &batch[no].task));
    let leases: Vec<_> = members.iter().map(|&no| batch[no].lease).collect();
    statement.query(&[&ids, &slugs, &indexes, &leases], |row| {
        let ordinal = usize::try_from(row.get::<i64>(1)? - 1).unwrap_or_default();
        Ok(Found {
            no: members[ordinal],
            is_live,
            attempt: row.get(2)?,
            first_attempt: row.get(3)?,
            turn: row.get(4)?,
            priority: row.get(5)?,
            opens_run: row.get(6)?,
            definition_id: row.get(7)?,
            flow_slug: row.get(8)?,
            flow_version: row.get(9)?,
        })
    })
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

/// The tasks of one fate, as columns: their keys and attempts.
struct Columns {
    ids: Vec<crate::model::RunId>,
    slugs: Vec<String>,
    indexes: Vec<i32>,
    attempts: Vec<i32>,
}

impl Columns {
    fn of(batch: &[Settlement], tasks: &[&Live]) -> Self {
        let (ids, slugs, indexes) = receipt::columns(tasks.iter().map(|t| &batch[t.no].task));
        Self {
            ids,
            slugs,
            indexes,
            attempts: tasks.iter().map(|task| task.attempt).collect(),
        }
    }
}

fn with_fate<'a>(live: &'a [Live], fates: &[Fate], which: fn(&Fate) -> bool) -> Vec<&'a Live> {
    (live.iter().zip(fates))
        .filter_map(|(task, fate)| which(fate).then_some(task))
        .collect()
}

fn complete_tasks(
    advance: &mut Advance,
    batch: &[Settlement],
    live: &[Live],
    fates: &[Fate],
    holds: Option<&Holds>,
) -> Result<()> {
    let tasks = with_fate(live, fates, |fate| matches!(fate, Fate::Completed));
    if tasks.is_empty() {
        return Ok(());
    }
    let outputs: Vec<Option<Json>> = tasks
        .iter()
        .map(|task| match batch[task.no].verdict {
            Verdict::Complete(output) => output,
            _ => None,
        })
        .collect();
    let is_map =
        |task: &Live| advance.runs[task.run].definition.steps[task.step].step_type == StepType::Map;
    let is_single: Vec<_> = tasks.iter().map(|task| !is_map(task)).collect();
    let still_live: Vec<_> = (tasks.iter().copied())
        .filter(|task| task.is_live)
        .collect();
    if !still_live.is_empty() {
        let columns = Columns::of(batch, &still_live);
        DELETE_LIVE_TASKS.execute(&[&columns.ids, &columns.slugs, &columns.indexes])?;
    }
    let columns = Columns::of(batch, &tasks);
    COMPLETE_TASKS.execute(&[
        &columns.ids,
        &columns.slugs,
        &columns.indexes,
        &columns.attempts,
        &outputs,
        &is_single,
        &advance.session.now,
    ])?;

    let mut counts: HashMap<(RunNo, StepNo), i32> = HashMap::new();
    let mut large = Vec::new();
    for ((task, output), is_single) in tasks.iter().zip(outputs).zip(is_single) {
        if is_single {
            advance.step_completed(task.run, task.step);
            let run = &advance.runs[task.run];
            let size = output.map_or(0, |output| output.size() as i64);
            if size > run_flow::largest_part(&run.definition) {
                large.push(run.id);
            }
        } else if !holds.is_some_and(|holds| holds.is_shared(advance.runs[task.run].id)) {
            *counts.entry((task.run, task.step)).or_default() += 1;
        }
    }
    gather::mark_large(&large)?;
    counting::count_down(advance, counts)
}

fn retry_tasks(
    advance: &Advance,
    batch: &[Settlement],
    live: &[Live],
    fates: &[Fate],
) -> Result<()> {
    let tasks = with_fate(live, fates, |fate| matches!(fate, Fate::Retried(_)));
    if tasks.is_empty() {
        return Ok(());
    }
    let due: Vec<_> = (fates.iter())
        .filter_map(|fate| match fate {
            Fate::Retried(due) => Some(*due),
            _ => None,
        })
        .collect();
    let columns = Columns::of(batch, &tasks);
    let (statuses, messages): (Vec<_>, Vec<_>) = (tasks.iter())
        .map(|t| end_of_attempt(&batch[t.no].verdict))
        .unzip();
    RETRY_TASKS.execute(&[
        &columns.ids,
        &columns.slugs,
        &columns.indexes,
        &columns.attempts,
        &statuses,
        &messages,
        &due,
        &advance.session.now,
    ])?;
    for (task, due) in tasks.iter().zip(due) {
        event::task_queued(
            advance.step(task.run, task.step),
            due <= advance.session.now,
        );
    }
    Ok(())
}

fn end_of_attempt(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Fail { message, .. } | Verdict::Reject(message) => ("failed", message.clone()),
        Verdict::Expire => ("expired", "the lease ran out".to_owned()),
        Verdict::Complete(_) | Verdict::Release => ("failed", String::new()),
    }
}

fn release_tasks(
    advance: &Advance,
    batch: &[Settlement],
    live: &[Live],
    fates: &[Fate],
) -> Result<()> {
    let tasks = with_fate(live, fates, |fate| matches!(fate, Fate::Released));
    if tasks.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(batch, &tasks);
    RELEASE_TASKS.execute(&[
        &columns.ids,
        &columns.slugs,
        &columns.indexes,
        &columns.attempts,
        &advance.session.now,
    ])?;
    for task in tasks {
        event::task_queued(advance.step(task.run, task.step), true);
    }
    Ok(())
}

/// Ends tasks that are not tried again, and their steps with them.
fn end_tasks(
    advance: &mut Advance,
    batch: &[Settlement],
    live: &[Live],
    fates: &[Fate],
) -> Result<()> {
    let tasks = with_fate(live, fates, |fate| matches!(fate, Fate::Ended { .. }));
    if tasks.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(batch, &tasks);
    let statuses: Vec<_> = (tasks.iter())
        .map(|task| end_of_attempt(&batch[task.no].verdict).0)
        .collect();
    let mut messages = Vec::new();
    let mut failures = Vec::new();
    let mut skips = Vec::new();
    let mut maps = Vec::new();
    let mut seen = HashSet::new();
    for (task, fate) in live.iter().zip(fates) {
        let Fate::Ended { message, resort } = fate else {
            continue;
        };
        messages.push(message.clone());
        if !seen.insert((task.run, task.step)) {
            continue;
        }
        if advance.runs[task.run].definition.steps[task.step].step_type == StepType::Map {
            maps.push((task.run, task.step));
        }
        match resort {
            Resort::Fail => failures.push((task.run, task.step, message.clone())),
            resort => skips.push(Skip {
                run: task.run,
                step: task.step,
                reason: SkipReason::HandlerFailed,
                error_message: Some(message.clone()),
                cascade: *resort == Resort::SkipCascade,
            }),
        }
    }
    FAIL_TASKS.execute(&[
        &columns.ids,
        &columns.slugs,
        &columns.indexes,
        &columns.attempts,
        &statuses,
        &messages,
        &advance.session.now,
    ])?;
    if !maps.is_empty() {
        let ids: Vec<_> = maps.iter().map(|map| advance.runs[map.0].id).collect();
        let slugs: Vec<_> = maps.iter().map(|m| advance.slug(m.0, m.1)).collect();
        advance.lock_live_tasks(&ids, &slugs)?;
        CANCEL_STEP_TASKS.execute(&[&ids, &slugs, &advance.session.now])?;
        events::end_waits_of_steps(advance, &maps)?;
        for &(run, step) in &maps {
            if advance.step(run, step).executor == Executor::Flow {
                advance.aftermath.children_of(advance.runs[run].id);
            }
        }
    }
    advance.skip_steps(skips)?;
    advance.fail_steps(failures)
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
