//! Runs that take longer than the `run_timeout` of their version fail.
//!
//! A deadline is written when a run starts or starts again, and only for versions that have a timeout. Nothing is done
//! about it when the run ends: whoever sweeps drops the deadlines of ended runs as they fall due, and fails the others.

use super::advance;
use super::event;
use super::runs::Run;
use super::upkeep::soon;
use crate::error::Result;
use crate::model::{Definition, RunId};
use crate::statements;
use crate::store::subtransaction::{self, LOCK_NOT_AVAILABLE};
use crate::store::{Instant, Session, lock};

statements! {
    PUT_DEADLINES = "put_deadlines.sql",
    NEXT_DEADLINE = "next_deadline.sql",
    TAKE_DUE_DEADLINES = "take_due_deadlines.sql",
    OPEN_RUNS_OF = "open_runs_of.sql",
    LOCK_RUN_NOWAIT = "lock_run_nowait.sql",
    DELETE_DEADLINES = "delete_deadlines.sql",
}

/// How many runs a call fails at most, each in a subtransaction: a backend keeps no more than 64 of them where others
/// find them fast.
const MOST_RUNS: i32 = 50;

/// Writes when these runs fail, if their version has a timeout: counted from `start_at`, or from now.
pub fn put_deadlines(
    session: &Session,
    definition: &Definition,
    runs: impl IntoIterator<Item = RunId>,
    start_at: Option<Instant>,
) -> Result<()> {
    let Some(seconds) = definition.run_timeout else {
        return Ok(());
    };
    let runs: Vec<_> = runs.into_iter().collect();
    let due_at = start_at
        .unwrap_or(session.now)
        .plus_seconds(f64::from(seconds));
    event::upkeep_due();
    PUT_DEADLINES.execute(&[&runs, &due_at])
}

/// Fails the runs whose time is up, and says when the next one's is.
pub fn sweep(session: &Session) -> Result<Option<Instant>> {
    match next_deadline()? {
        Some(next) if next <= session.now => {}
        later => return Ok(later),
    }
    if !lock::try_share_runs_table()? {
        return Ok(Some(soon(session)));
    }
    let due = TAKE_DUE_DEADLINES.query(&[&session.now, &MOST_RUNS], |row| row.get::<RunId>(1))?;
    // A statement of its own: a retry of the run moves its deadline, so with that locked an ended run stays so.
    let open = OPEN_RUNS_OF.query(&[&due], |row| row.get::<RunId>(1))?;
    let mut done = due;
    for run in open {
        if !fail(session, run)? {
            done.retain(|&other| other != run);
        }
    }
    DELETE_DEADLINES.execute(&[&done])?;
    Ok(match next_deadline()? {
        Some(next) if next <= session.now && !done.is_empty() => Some(session.now),
        Some(next) if next <= session.now => Some(soon(session)),
        later => later,
    })
}

fn next_deadline() -> Result<Option<Instant>> {
    NEXT_DEADLINE.first(&[], |row| row.get(1))
}

/// Fails a run, unless that needs a lock that someone else holds: then false.
fn fail(session: &Session, run_id: RunId) -> Result<bool> {
    let failed = subtransaction::attempt(&[LOCK_NOT_AVAILABLE], || {
        if !lock::try_lock_run(run_id) {
            return Ok(false);
        }
        // Before it is read: nobody moves the run from here on.
        LOCK_RUN_NOWAIT.execute(&[&run_id])?;
        let run = Run::find(run_id)?;
        if !run.has_ended() {
            let seconds = run.definition.run_timeout.unwrap_or_default();
            let message = format!("the run took longer than its run_timeout of {seconds} seconds");
            advance::end_runs(session, "failed", &[run_id], &[Some(message)])?;
        }
        Ok(true)
    })?;
    Ok(failed.unwrap_or(false))
}
