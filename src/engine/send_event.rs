//! An event is sent: every step that waits for it completes.
//!
//! The sender takes the locks of the runs that wait, then that of the event, and looks again: a run that began to wait
//! meanwhile is not locked, and locks are taken in order or not at all, so all of them are given back and it starts
//! over. From then on nobody begins to wait unseen, see [`super::events`].
//!
//! More runs may wait than a call may lock. The first ones are settled; the event is kept open for the others, and their
//! tasks are made overdue, so that whoever sweeps their queues hands it to them. A task whose row someone else holds is
//! made overdue by [`super::events::sweep`].

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::advance::Advance;
use super::complete_step::Completer;
use super::events;
use super::receipt::TaskKey;
use super::run_flow::{Creator, LONGEST_KEY};
use super::settle::{self, Settlement, Verdict};
use super::{MAX_RUN_LOCKS, aftermath, definitions};
use crate::error::{Error, Result, quoted};
use crate::model::{RunId, domain};
use crate::store::lock::{self, Hold};
use crate::store::role::Behalf;
use crate::store::{Instant, Json, Session, door};
use crate::{settings, statements};

statements! {
    WAITING_RUNS = "waiting_runs.sql",
    WAITERS_OF_EVENT = "waiters_of_event.sql",
    INSERT_EVENT = "insert_event.sql",
    REFUSE_STALE_WAITER = "refuse_stale_waiter.sql",
}

/// How often a sender starts over for runs that began to wait meanwhile; then they are left to those who sweep.
const PATIENCE: usize = 10;

/// How many old events go with each that is sent.
const SWEPT: i32 = 10;

pub struct Request<'a> {
    pub name: &'a str,
    pub payload: Option<Json>,
    /// The key of the runs that it is for; `None` for those that have none.
    pub key: Option<&'a str>,
}

/// Sends an event and returns how many steps took it.
pub fn send_event(session: &Session, request: &Request) -> Result<i64> {
    check(request)?;
    lock::share_runs_table()?;
    let Request { name, payload, key } = *request;
    let event_key = lock::event_key(name, key);
    let (runs, has_more) = lock_waiting_runs(event_key, name, key)?;
    let sender = Completer::of(session)?;
    let batch = settlements(event_key, request, &runs, &sender)?;

    // The clock now: runs that were created while this call waited for locks existed when the event was taken.
    let sent_at = Instant::now();
    let is_taken = has_more || !batch.is_empty();
    // Whom a gateway without a user sent it for is not known later, and so neither what it may complete then.
    let may_be_kept = sender.behalf != Behalf::Sub(None);
    if may_be_kept && (has_more || settings::event_retention() > 0) {
        INSERT_EVENT.execute(&[
            &event_key,
            &name,
            &key,
            &payload,
            &sent_at,
            &sender.role,
            &sender.behalf.sub(),
            &is_taken.then_some(sent_at),
            &has_more,
        ])?;
    }

    let mut advance = Advance::new(session);
    let settled = settle::settle_inside(&mut advance, &batch)?;
    if settled.len() < batch.len() && door::has_fixed_snapshot() {
        return refuse_stale_snapshot(&batch, &settled);
    }
    advance.drive()?;
    let mut run_locks = MAX_RUN_LOCKS.saturating_sub(runs.len());
    aftermath::follow(session, advance.aftermath, &mut run_locks)?;

    // Last, since whoever settles one of these may wait for this call, and this call may wait for nobody then.
    if has_more && may_be_kept {
        events::look_again(session, event_key, name, key, &runs, sent_at)?;
    }
    if !door::has_fixed_snapshot() {
        events::delete_old(session, SWEPT)?;
    }
    let steps: HashSet<_> = (settled.iter())
        .map(|&no| (batch[no].task.run_id, batch[no].task.step_slug.as_str()))
        .collect();
    Ok(steps.len() as i64)
}

fn check(request: &Request) -> Result<()> {
    domain::event(request.name)
        .map_err(|fault| Error::invalid_with_hint(fault.message, fault.hint))?;
    match request.key {
        Some(key) if key.is_empty() || key.len() > LONGEST_KEY => Err(Error::invalid_with_hint(
            format!("key {} is out of range", quoted(key)),
            format!("A key has 1 to {LONGEST_KEY} bytes."),
        )),
        _ => Ok(()),
    }
}

/// Takes the locks of the runs that wait, and that of the event. Says whether there are more.
fn lock_waiting_runs(event_key: i64, name: &str, key: Option<&str>) -> Result<(Vec<RunId>, bool)> {
    // One more than can be locked tells that there are more.
    let find = || {
        WAITING_RUNS.latest(
            &[&event_key, &name, &key, &(MAX_RUN_LOCKS as i64 + 1)],
            |row| row.get::<RunId>(1),
        )
    };
    let mut runs = find()?;
    for attempt in 1.. {
        runs.truncate(MAX_RUN_LOCKS);
        lock::lock_runs(runs.iter().copied());
        lock::lock_event(event_key);
        let found = find()?;
        let locked: HashSet<_> = runs.iter().collect();
        let has_more = found.iter().any(|run| !locked.contains(run));
        if !has_more || runs.len() == MAX_RUN_LOCKS || attempt == PATIENCE {
            return Ok((runs, has_more));
        }
        lock::unlock_event(event_key);
        lock::unlock_runs_as(runs.iter().map(|&run| (run, Hold::Alone)));
        runs = found;
    }
    Ok((runs, false))
}

/// The settlements of all tasks that wait in these runs, but of those that the sender may not complete.
fn settlements(
    event_key: i64,
    request: &Request,
    runs: &[RunId],
    sender: &Completer,
) -> Result<Vec<Settlement>> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let waiters = WAITERS_OF_EVENT.latest(
        &[&event_key, &request.name, &request.key, &runs.to_vec()],
        |row| {
            let task = TaskKey {
                run_id: row.get(1)?,
                step_slug: row.get(2)?,
                task_index: row.get(3)?,
            };
            Ok((
                task,
                row.get::<i64>(4)?,
                row.get::<String>(5)?,
                row.get::<i32>(6)?,
                Creator {
                    created_by: row.get(7)?,
                    created_for: row.opt(8),
                },
            ))
        },
    )?;
    let mut batch = Vec::with_capacity(waiters.len());
    let mut may_complete = HashMap::new();
    for (task, definition_id, flow_slug, version, creator) in waiters {
        let definition = definitions::get(definition_id, &flow_slug, version)?;
        let step = (definition.step_no(&task.step_slug))
            .ok_or_else(|| Error::step_not_found(&task.step_slug))?;
        let may_complete = match may_complete.entry((definition_id, step, creator)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                let may_complete = sender.may_complete(&definition, step, &unknown.key().2)?;
                *unknown.insert(may_complete)
            }
        };
        if may_complete {
            batch.push(Settlement {
                task,
                lease: None,
                verdict: Verdict::Complete(request.payload),
            });
        }
    }
    Ok(batch)
}

/// Has PostgreSQL refuse a transaction that does not see all who wait.
fn refuse_stale_snapshot(batch: &[Settlement], settled: &[usize]) -> Result<i64> {
    let settled: HashSet<_> = settled.iter().collect();
    for (no, Settlement { task, .. }) in batch.iter().enumerate() {
        if !settled.contains(&no) {
            REFUSE_STALE_WAITER.execute(&[&task.run_id, &task.step_slug, &task.task_index])?;
        }
    }
    Err(Error::Internal(
        "a step waits that cannot be settled".into(),
    ))
}
