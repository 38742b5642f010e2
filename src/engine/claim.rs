//! Handing out tasks.
//!
//! Three index walks ([`super::walks`]), none of which meets a row of another kind or waits for a lock. First, what fell due and whose
//! lease ran out, which is rare and asked in one probe: expired attempts become due again or, when they were the last
//! ones, end their step; due tasks get their turn. Then the ready tasks are taken in order of priority and turn.
//!
//! **Turns** are start tags of start-time fair queueing (Goyal, Vin, Cheng, 1996): a task is placed one turn after the
//! task of its run whose end made it ready, and never before the head of the queue; tasks of a run that become ready
//! together follow each other. So runs take turns, whatever their size, and no counter is kept: the head of the queue is
//! the virtual time, and the clock in microseconds stands in for it when nothing is ready.

use rand::Rng;

use super::event;
use super::receipt::TaskKey;
use super::settle::{self, Settlement, Verdict};
use super::walks;
use crate::error::Result;
use crate::model::RunId;
use crate::statements;
use crate::store::subtransaction::{self, LOCK_NOT_AVAILABLE, PROGRAM_LIMIT_EXCEEDED};
use crate::store::value::ClaimedTask;
use crate::store::{Composite, Instant, Json, RowType, Session, lock};

statements! {
    FIRST_OVERDUE = "first_overdue.sql",
    TAKE_EXPIRED_TASKS = "take_expired_tasks.sql",
    PLACE_DUE_TASKS = "place_due_tasks.sql",
    TAKE_READY_TASKS = "take_ready_tasks.sql",
    START_ATTEMPTS = "start_attempts.sql",
    OPEN_FREE_RUNS = "open_free_runs.sql",
    LOCK_RUN_NOWAIT = "lock_run_nowait.sql",
    TASK_INPUT = "task_input.sql",
}

/// The most tasks that one call hands out.
pub const MAX_TASKS: i32 = 10_000;

/// Leases are below 2^53, which is where integers of JavaScript end.
const LEASES: std::ops::Range<i64> = 0..1 << 53;

pub struct Request<'a> {
    pub queue: &'a str,
    pub max_tasks: i32,
    /// Seconds; `None` is the timeout of each task's step.
    pub lease_seconds: Option<i32>,
    pub worker_id: Option<&'a str>,
    /// How many runs the call may still lock.
    pub run_locks: usize,
}

/// Claims up to `max_tasks` ready tasks of a queue.
pub fn claim(session: &Session, request: &Request) -> Result<Vec<Composite<ClaimedTask>>> {
    // While delete_flow holds the table everything is left for the next claimer.
    if request.max_tasks == 0 || !lock::try_share_runs_table()? {
        return Ok(Vec::new());
    }
    let walks = walks::start(session, request.queue)?;
    let (due, leased) = FIRST_OVERDUE
        .first(
            &[&request.queue, &session.now, &walks.due, &walks.leased],
            |row| Ok((row.opt::<Instant>(1), row.opt::<Instant>(2))),
        )?
        .unwrap_or_default();
    walks::leases_ran_out(session, request.queue, leased);
    let (has_due, has_expired) = (due.is_some(), leased.is_some());
    let expired_again = has_expired && expire(session, request, &walks)?;
    if has_due || expired_again {
        PLACE_DUE_TASKS.execute(&[
            &request.queue,
            &session.now,
            &request.max_tasks,
            &session.now.unix_micros(),
            &walks.due,
            &walks.ready.ranks,
            &walks.ready.turns,
        ])?;
    }
    take(session, request, &walks.ready)
}

fn take(
    session: &Session,
    request: &Request,
    ready: &walks::Ranges,
) -> Result<Vec<Composite<ClaimedTask>>> {
    let row_type = RowType::open()?;
    let mut rng = rand::rng();
    let leases: Vec<i64> = (0..request.max_tasks)
        .map(|_| rng.random_range(LEASES))
        .collect();
    let mut taken = TAKE_READY_TASKS.query(
        &[
            &request.queue,
            &request.max_tasks,
            &session.now,
            &request.lease_seconds,
            &request.worker_id,
            &leases,
            &ready.ranks,
            &ready.turns,
            &ready.before,
        ],
        |row| {
            Ok(Taken {
                run_id: row.get(1)?,
                flow_slug: row.get(2)?,
                step_slug: row.get(3)?,
                task_index: row.get(4)?,
                attempt: row.get(5)?,
                lease: row.get(6)?,
                lease_expires_at: row.get(7)?,
                place: (row.get(8)?, row.get(9)?, row.get(10)?, row.get(11)?),
                opens_run: row.get(12)?,
                attempts_found: row.get(13)?,
                item: row.opt(14),
                is_large: row.opt(15).unwrap_or(false),
                payload: row.opt(16),
                deps: row.opt(17).zip(row.opt(18)).into_iter().collect(),
            })
        },
    )?;
    taken.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
    taken.dedup_by(|next, task| {
        let is_same = next.order() == task.order();
        if is_same {
            task.deps.append(&mut next.deps);
        }
        is_same
    });
    let wanted = usize::try_from(request.max_tasks).unwrap_or_default();
    let first = taken.first().map(|task| (task.place.0, task.place.1));
    walks::taken(request.queue, first, taken.len(), wanted);
    if (taken.first()).is_some_and(|task| task.attempts_found < taken.len() as i64) {
        start_attempts(session, request, &taken)?;
    }
    let opened: Vec<_> = (taken.iter().filter(|task| task.opens_run))
        .map(|task| task.run_id)
        .collect();
    if !opened.is_empty() {
        OPEN_FREE_RUNS.execute(&[&opened, &session.now])?;
    }
    let mut tasks = Vec::with_capacity(taken.len());
    for task in taken {
        match task.input() {
            Some(input) => tasks.push(task.with_input(&row_type, input)?),
            None => tasks.extend(with_large_input(session, &row_type, &task)?),
        }
    }
    Ok(tasks)
}

/// A task that was just leased.
struct Taken {
    run_id: RunId,
    flow_slug: String,
    step_slug: String,
    task_index: i32,
    attempt: i32,
    lease: i64,
    lease_expires_at: Instant,
    /// The rank and turn, when it became ready, and the index of its step.
    place: (i32, i64, Instant, i32),
    opens_run: bool,
    /// The same for all tasks of a claim.
    attempts_found: i64,
    /// The element of a map task.
    item: Option<Json>,
    /// Whether the input may be too large to build with the others; then what it is made of is not here.
    is_large: bool,
    payload: Option<Json>,
    /// The outputs of the deps that completed.
    deps: Vec<(String, Json)>,
}

impl Taken {
    /// By place in the queue; for two different tasks never the same.
    fn order(&self) -> impl Ord + '_ {
        (self.place, self.task_index, self.run_id, &self.step_slug)
    }

    /// The input, unless it is too large or may be.
    fn input(&self) -> Option<Json> {
        if let Some(item) = self.item {
            let index = Json::number(self.task_index);
            return Json::object(vec![("item", item), ("index", index)]);
        }
        let payload = self.payload.filter(|_| !self.is_large)?;
        let mut members = Vec::with_capacity(1 + self.deps.len());
        members.push(("run", payload));
        members.extend(
            self.deps
                .iter()
                .map(|(slug, output)| (slug.as_str(), *output)),
        );
        Json::object(members)
    }

    /// As the worker gets it.
    fn with_input(
        &self,
        row_type: &RowType<ClaimedTask>,
        input: Json,
    ) -> Result<Composite<ClaimedTask>> {
        row_type.row(&[
            &self.run_id,
            &self.flow_slug,
            &self.step_slug,
            &self.task_index,
            &self.attempt,
            &input,
            &self.lease,
            &self.lease_expires_at,
        ])
    }
}

fn start_attempts(session: &Session, request: &Request, taken: &[Taken]) -> Result<()> {
    let ids: Vec<_> = taken.iter().map(|task| task.run_id).collect();
    let slugs: Vec<_> = taken.iter().map(|task| task.step_slug.as_str()).collect();
    let indexes: Vec<_> = taken.iter().map(|task| task.task_index).collect();
    let attempts: Vec<_> = taken.iter().map(|task| task.attempt).collect();
    START_ATTEMPTS.execute(&[
        &ids,
        &slugs,
        &indexes,
        &attempts,
        &session.now,
        &request.worker_id,
    ])
}

/// Builds an input that may exceed what jsonb can hold; if it does, the task fails for good, or is handed back if its
/// run's lock is not free.
fn with_large_input(
    session: &Session,
    row_type: &RowType<ClaimedTask>,
    task: &Taken,
) -> Result<Option<Composite<ClaimedTask>>> {
    let built = subtransaction::attempt(&[PROGRAM_LIMIT_EXCEEDED], || {
        TASK_INPUT.first(&[&task.run_id, &task.step_slug, &task.task_index], |row| {
            row.get::<Json>(1)
        })
    })?;
    let settlement = |verdict| Settlement {
        task: TaskKey {
            run_id: task.run_id,
            step_slug: task.step_slug.clone(),
            task_index: task.task_index,
        },
        lease: Some(task.lease),
        verdict,
    };
    match built {
        Ok(input) => input
            .map(|input| task.with_input(row_type, input))
            .transpose(),
        Err(reason) => {
            let failure = settlement(Verdict::Fail {
                message: format!("the input is too large: {reason}"),
                retryable: false,
                retry_after: None,
            });
            if !settle_without_waiting(session, failure)? {
                settle::settle_unlocked(session, &[settlement(Verdict::Release)])?;
            }
            Ok(None)
        }
    }
}

/// Ends the attempts whose lease ran out. Returns whether some of their tasks are due again.
fn expire(session: &Session, request: &Request, walks: &walks::Start) -> Result<bool> {
    let again = take_expired(session, request, walks, request.max_tasks, false)?;
    if !again.is_empty() {
        // No step ends, so no run's lock is needed; the live rows are ours.
        settle::settle_unlocked(session, &again)?;
        event::tasks_ready(request.queue);
    }
    // Beyond the locks that a call may hold, they are left for the next claimer.
    let most = request
        .max_tasks
        .min(i32::try_from(request.run_locks).unwrap_or(i32::MAX));
    for settlement in take_expired(session, request, walks, most, true)? {
        settle_without_waiting(session, settlement)?;
    }
    Ok(!again.is_empty())
}

fn take_expired(
    session: &Session,
    request: &Request,
    walks: &walks::Start,
    most: i32,
    last_attempts: bool,
) -> Result<Vec<Settlement>> {
    TAKE_EXPIRED_TASKS.query(
        &[
            &request.queue,
            &session.now,
            &most,
            &last_attempts,
            &walks.leased,
        ],
        |row| {
            Ok(Settlement {
                task: TaskKey {
                    run_id: row.get(1)?,
                    step_slug: row.get(2)?,
                    task_index: row.get(3)?,
                },
                lease: row.opt(4),
                verdict: Verdict::Expire,
            })
        },
    )
}

/// Settles a task of ours if that needs no lock that someone else holds; else leaves everything as it was.
fn settle_without_waiting(session: &Session, settlement: Settlement) -> Result<bool> {
    let run_id = settlement.task.run_id;
    let settled = subtransaction::attempt(&[LOCK_NOT_AVAILABLE], || {
        if !lock::try_lock_run(run_id) {
            return Ok(false);
        }
        // The end of a step may end its run, which touches every live task of it.
        LOCK_RUN_NOWAIT.execute(&[&run_id])?;
        settle::settle_locked(session, &[settlement])?;
        Ok(true)
    })?;
    Ok(settled.unwrap_or(false))
}
