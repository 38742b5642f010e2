//! Leases that ran out: their attempts end, and what falls due with them is settled by whoever asks the queue next.
//! A claimer waits for nobody here, so what needs a lock that is not free is left for the next one.

use super::aftermath::{self, Aftermath};
use super::claim::Request;
use super::events;
use super::receipt::TaskKey;
use super::settle::{self, Settlement, Verdict};
use super::walks;
use crate::error::Result;
use crate::statements;
use crate::store::subtransaction::{self, LOCK_NOT_AVAILABLE};
use crate::store::{Json, Session, lock};

statements! {
    TAKE_EXPIRED_TASKS = "take_expired_tasks.sql",
    LOCK_RUN_NOWAIT = "lock_run_nowait.sql",
}

/// Ends the attempts whose lease ran out. Returns whether some of their tasks are due again.
pub fn expire(session: &Session, request: &Request, walks: &walks::Start) -> Result<bool> {
    let mut aftermath = Aftermath::default();
    let again: Vec<_> = take_expired(session, request, walks, request.max_tasks, false)?
        .into_iter()
        .map(|(settlement, _)| settlement)
        .collect();
    if !again.is_empty() {
        // No step ends, so no run's lock is needed; the live rows are ours.
        aftermath.append(settle::settle_unlocked(session, &again)?);
    }
    // Beyond the locks that a call may hold, they are left for the next claimer.
    let most = request
        .max_tasks
        .min(i32::try_from(request.run_locks).unwrap_or(i32::MAX));
    let last = take_expired(session, request, walks, most, true)?;
    let mut run_locks = request.run_locks - last.len();
    for (settlement, is_external) in last {
        let settled = settle_without_waiting(session, settlement, is_external)?;
        aftermath.append(settled.unwrap_or_default());
    }
    aftermath::follow(session, aftermath, &mut run_locks)?;
    Ok(!again.is_empty())
}

/// Takes expired attempts, and says of each whether it is at an external step.
fn take_expired(
    session: &Session,
    request: &Request,
    walks: &walks::Start,
    most: i32,
    last_attempts: bool,
) -> Result<Vec<(Settlement, bool)>> {
    TAKE_EXPIRED_TASKS.query(
        &[
            &request.lane.queue,
            &session.now,
            &most,
            &last_attempts,
            &walks.leased,
        ],
        |row| {
            let settlement = Settlement {
                task: TaskKey {
                    run_id: row.get(1)?,
                    step_slug: row.get(2)?,
                    task_index: row.get(3)?,
                },
                lease: row.opt(4),
                verdict: match row.opt::<Json>(5) {
                    Some(due) => Verdict::Complete(Some(due)),
                    None => Verdict::Expire,
                },
            };
            Ok((settlement, row.get(6)?))
        },
    )
}

/// Settles a task of ours if that needs no lock that someone else holds; else leaves everything as it was.
pub fn settle_without_waiting(
    session: &Session,
    settlement: Settlement,
    is_external: bool,
) -> Result<Option<Aftermath>> {
    let run_id = settlement.task.run_id;
    let settled = subtransaction::attempt(&[LOCK_NOT_AVAILABLE], || {
        if !lock::try_lock_run(run_id) {
            return Ok(None);
        }
        // The end of a step may end its run, which touches every live task of it.
        LOCK_RUN_NOWAIT.execute(&[&run_id])?;
        let settlement = if is_external {
            events::overdue(session, settlement)?
        } else {
            Some(settlement)
        };
        match settlement {
            Some(settlement) => settle::settle_locked(session, &[settlement]).map(Some),
            None => Ok(Some(Aftermath::default())),
        }
    })?;
    Ok(settled.ok().flatten())
}
