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

use std::collections::HashMap;

use rand::Rng;

use super::aftermath::{self, Aftermath};
use super::event;
use super::receipt::TaskKey;
use super::settle::{self, Settlement, Verdict};
use super::walks::{self, Lane};
use super::{definitions, expire, limits, workers};
use crate::error::{Error, Result};
use crate::model::RunId;
use crate::statements;
use crate::store::subtransaction::{self, PROGRAM_LIMIT_EXCEEDED};
use crate::store::value::ClaimedTask;
use crate::store::{Composite, Instant, Json, RowType, Session, door, lock};

statements! {
    FIRST_OVERDUE = "first_overdue.sql",
    PLACE_DUE_TASKS = "place_due_tasks.sql",
    TAKE_READY_TASKS = "take_ready_tasks.sql",
    START_ATTEMPTS = "start_attempts.sql",
    INPUT_PARTS = "input_parts.sql",
    OPEN_FREE_RUNS = "open_free_runs.sql",
    TASK_INPUT = "task_input.sql",
}

/// The most tasks that one call hands out.
pub const MAX_TASKS: i32 = 10_000;

/// Leases are below 2^53, which is where integers of JavaScript end.
const LEASES: std::ops::Range<i64> = 0..1 << 53;

#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub lane: Lane<'a>,
    pub max_tasks: i32,
    /// Seconds; `None` is the timeout of each task's step.
    pub lease_seconds: Option<i32>,
    /// Seconds by which a lease outlasts that timeout: whoever does the task keeps to the timeout, and is heard.
    pub grace: i32,
    pub worker_id: Option<&'a str>,
    /// How many runs the call may still lock.
    pub run_locks: usize,
}

/// Claims up to `max_tasks` ready tasks of an executor in a queue.
pub fn claim(session: &Session, request: &Request) -> Result<Vec<Composite<ClaimedTask>>> {
    // While delete_flow holds the table everything is left for the next claimer.
    if request.max_tasks == 0 || !lock::try_share_runs_table()? {
        return Ok(Vec::new());
    }
    let swept = sweep(session, request)?;
    let ready = &swept.walks.ready;
    // An old snapshot shows neither the limits nor the pauses of now.
    let tasks = if swept.may_be_held_back || door::has_fixed_snapshot() {
        limits::claim(session, request, ready)?
    } else {
        let taken = take(session, request, ready)?;
        hand_out(session, request, taken)?
    };
    workers::seen(session, request, tasks.len())?;
    event::claimed(request.lane);
    Ok(tasks)
}

/// What a sweep found out.
pub struct Swept {
    pub walks: walks::Start,
    /// Whether the queue is limited or paused, or some flow is paused.
    pub may_be_held_back: bool,
}

/// A claimed task without its input.
pub struct Claimed {
    pub task: TaskKey,
    pub attempt: i32,
    pub lease: i64,
}

/// [`claim`] for an executor that reads the inputs itself.
pub fn claim_keys(session: &Session, request: &Request) -> Result<Vec<Claimed>> {
    let lacks = || Error::Internal("a claimed task lacks a field".into());
    (claim(session, request)?.iter())
        .map(|task| {
            Ok(Claimed {
                task: TaskKey {
                    run_id: task.field(1).ok_or_else(lacks)?,
                    step_slug: task.field(3).ok_or_else(lacks)?,
                    task_index: task.field(4).ok_or_else(lacks)?,
                },
                attempt: task.field(5).ok_or_else(lacks)?,
                lease: task.field(7).ok_or_else(lacks)?,
            })
        })
        .collect()
}

/// The part of a claim that hands out nothing: ends attempts whose lease ran out, resolves timers, and gives tasks that
/// fell due their turn.
pub fn sweep(session: &Session, request: &Request) -> Result<Swept> {
    let lane = request.lane;
    let walks = walks::start(session, lane)?;
    let (due, leased, may_be_held_back) = FIRST_OVERDUE
        .first(
            &[
                &lane.queue,
                &session.now,
                &walks.due,
                &walks.leased,
                &lane.executor.as_str(),
            ],
            |row| {
                Ok((
                    row.opt::<Instant>(1),
                    row.opt::<Instant>(2),
                    row.get::<bool>(3)?,
                ))
            },
        )?
        .unwrap_or_default();
    walks::leases_ran_out(session, lane, leased);
    let (has_due, has_expired) = (due.is_some(), leased.is_some());
    let expired_again = has_expired && expire::expire(session, request, &walks)?;
    if has_due || expired_again {
        PLACE_DUE_TASKS.execute(&[
            &lane.queue,
            &session.now,
            &request.max_tasks,
            &session.now.unix_micros(),
            &walks.due,
            &walks.ready.ranks,
            &walks.ready.turns,
            &lane.executor.as_str(),
        ])?;
    }
    Ok(Swept {
        walks,
        may_be_held_back,
    })
}

/// As many new leases.
pub fn leases(count: usize) -> Vec<i64> {
    let mut rng = rand::rng();
    (0..count).map(|_| rng.random_range(LEASES)).collect()
}

/// Leases the next ready tasks.
pub fn take(session: &Session, request: &Request, ready: &walks::Ranges) -> Result<Vec<Taken>> {
    let wanted = usize::try_from(request.max_tasks).unwrap_or_default();
    let mut rows = TAKE_READY_TASKS.query(
        &[
            &request.lane.queue,
            &request.max_tasks,
            &session.now,
            &request.lease_seconds,
            &rand::rng().random_range(LEASES),
            &ready.ranks,
            &ready.turns,
            &ready.before,
            &request.lane.executor.as_str(),
            &request.grace,
        ],
        |row| {
            let task = Taken {
                run_id: row.get(1)?,
                flow_slug: row.get(3)?,
                step_slug: row.get(5)?,
                task_index: row.get(6)?,
                attempt: row.get(7)?,
                lease: row.get(8)?,
                lease_expires_at: row.get(9)?,
                place: (row.get(10)?, row.get(11)?),
                opens_run: row.get(14)?,
                input: row.opt(15).map_or(Input::Unread, Input::Item),
            };
            let definition = (row.get::<i64>(2)?, row.get::<i32>(4)?);
            Ok(Row {
                ready_at: row.get(12)?,
                step_index: row.get(13)?,
                definition,
                task,
            })
        },
    )?;
    rows.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
    read_inputs(&mut rows)?;
    let taken: Vec<_> = rows.into_iter().map(|row| row.task).collect();
    let first = taken.first().map(|task| task.place);
    walks::taken(request.lane, first, taken.len(), wanted);
    Ok(taken)
}

/// A task that was just leased, and what nobody else needs to know of it.
struct Row {
    ready_at: Instant,
    step_index: i32,
    /// The id and version of its run's definition.
    definition: (i64, i32),
    task: Taken,
}

impl Row {
    /// The place of the task in its queue, no two have the same.
    fn order(&self) -> impl Ord + '_ {
        let Taken {
            place,
            task_index,
            run_id,
            step_slug,
            ..
        } = &self.task;
        let (ready_at, step_index) = (self.ready_at, self.step_index);
        (place, ready_at, step_index, task_index, run_id, step_slug)
    }
}

/// Reads what the inputs are made of, but for the elements of maps, which came with the tasks, and for runs that are large.
fn read_inputs(rows: &mut [Row]) -> Result<()> {
    let mut nos = Vec::new();
    let mut ids = Vec::new();
    let mut deps: Vec<Option<String>> = Vec::new();
    for (no, row) in rows.iter().enumerate() {
        if matches!(row.task.input, Input::Item(_)) {
            continue;
        }
        let (id, version) = row.definition;
        let definition = definitions::get(id, &row.task.flow_slug, version)?;
        let of_step: &[_] = match definition.step_no(&row.task.step_slug) {
            Some(step) => &definition.steps[step].deps,
            None => &[],
        };
        // The payload is asked for with each dep, and alone where there is none.
        for n in 0..of_step.len().max(1) {
            nos.push(no);
            ids.push(row.task.run_id);
            deps.push(
                of_step
                    .get(n)
                    .map(|&dep| definition.steps[dep].slug.clone()),
            );
        }
    }
    if nos.is_empty() {
        return Ok(());
    }
    let parts = INPUT_PARTS.query(&[&ids, &deps], |row| {
        let no = usize::try_from(row.get::<i64>(1)? - 1).unwrap_or_default();
        Ok((no, row.get::<Json>(2)?, row.opt::<Json>(3)))
    })?;
    for (no, payload, output) in parts {
        let dep = deps[no].take().zip(output);
        match &mut rows[nos[no]].task.input {
            Input::Payload(_, deps) => deps.extend(dep),
            input => *input = Input::Payload(payload, dep.into_iter().collect()),
        }
    }
    Ok(())
}

/// What is done with tasks that were just leased before they are handed out.
pub fn hand_out(
    session: &Session,
    request: &Request,
    taken: Vec<Taken>,
) -> Result<Vec<Composite<ClaimedTask>>> {
    if !taken.is_empty() {
        start_attempts(session, request, &taken)?;
    }
    let opens: HashMap<_, _> = (taken.iter().filter(|task| task.opens_run))
        .map(|task| (task.run_id, task.flow_slug.as_str()))
        .collect();
    if !opens.is_empty() {
        let ids: Vec<_> = opens.keys().copied().collect();
        for run in OPEN_FREE_RUNS.query(&[&ids, &session.now], |row| row.get::<RunId>(1))? {
            event::run_of_flow_opened(session, opens[&run], run)?;
        }
    }
    let row_type = RowType::open()?;
    let mut tasks = Vec::with_capacity(taken.len());
    let mut aftermath = Aftermath::default();
    for task in taken {
        match task.input() {
            Some(input) => tasks.push(task.with_input(&row_type, input)?),
            None => tasks.extend(with_own_input(session, &row_type, &task, &mut aftermath)?),
        }
    }
    // The sweep may have taken all locks that the call may hold.
    aftermath::follow(session, aftermath, &mut 0)?;
    Ok(tasks)
}

/// A task that was just leased.
pub struct Taken {
    pub run_id: RunId,
    pub flow_slug: String,
    pub step_slug: String,
    pub task_index: i32,
    pub attempt: i32,
    pub lease: i64,
    pub lease_expires_at: Instant,
    /// The rank and turn.
    pub place: (i32, i64),
    pub opens_run: bool,
    pub input: Input,
}

/// What the input of a task is made of.
pub enum Input {
    /// The element of a map.
    Item(Json),
    /// The payload of the run, and the outputs of the deps that completed.
    Payload(Json, Vec<(String, Json)>),
    /// To be read for this task alone: it may be too large.
    Unread,
}

impl Taken {
    /// The input, if it has been read and is not too large.
    fn input(&self) -> Option<Json> {
        match &self.input {
            Input::Item(item) => {
                let index = Json::number(self.task_index);
                Json::object(vec![("item", *item), ("index", index)])
            }
            Input::Payload(payload, deps) => {
                let mut members = Vec::with_capacity(1 + deps.len());
                members.push(("run", *payload));
                members.extend(deps.iter().map(|(slug, output)| (slug.as_str(), *output)));
                Json::object(members)
            }
            Input::Unread => None,
        }
    }

    /// The task as a worker gets it.
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
fn with_own_input(
    session: &Session,
    row_type: &RowType<ClaimedTask>,
    task: &Taken,
    aftermath: &mut Aftermath,
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
            aftermath.append(
                match expire::settle_without_waiting(session, failure, false)? {
                    Some(more) => more,
                    None => settle::settle_unlocked(session, &[settlement(Verdict::Release)])?,
                },
            );
            Ok(None)
        }
    }
}
