//! Old runs go.
//!
//! Ended runs are locked in one statement and deleted with all that belongs to them in the next. Between the snapshot of
//! the first and its lock a run may have been retried and have ended again: only a statement that begins after the lock
//! sees the attempts that this added.

use pgrx::datum::Interval;

use crate::error::{Error, Result, quoted};
use crate::model::RunId;
use crate::statements;
use crate::store::{Instant, Session, lock};

statements! {
    PRUNE_HORIZON = "prune_horizon.sql",
    LOCK_ENDED_RUNS = "lock_ended_runs.sql",
    LOCK_ENDED_RUNS_OF_FLOW = "lock_ended_runs_of_flow.sql",
    DELETE_RUNS = "delete_runs.sql",
}

/// How many runs are locked and deleted at a time.
const RUNS_AT_A_TIME: i64 = 10_000;

/// Deletes up to `max_runs` runs that ended longer ago than `older_than`, the oldest first, and returns how many.
pub fn prune_runs(session: &Session, older_than: Interval, max_runs: i32) -> Result<i64> {
    lock::share_runs_table()?;
    let horizon = horizon(session, "older_than", older_than)?;
    delete(None, horizon, i64::from(max_runs))
}

/// Deletes up to `max_runs` runs of a flow, or of all, that ended before the horizon, the oldest first, and returns how
/// many. The caller shares the table of runs.
///
/// Run ids sort by time, so the walk along the primary key ends at the first id that is too young to have ended then.
pub fn delete(flow_slug: Option<&str>, horizon: Instant, max_runs: i64) -> Result<i64> {
    let too_young = RunId::least_at(horizon.unix_millis() + 1);
    let mut last = RunId::least_at(0);
    let mut deleted = 0;
    while deleted < max_runs {
        let most = RUNS_AT_A_TIME.min(max_runs - deleted);
        let runs = match flow_slug {
            None => {
                LOCK_ENDED_RUNS.query(&[&last, &horizon, &too_young, &most], |row| row.get(1))?
            }
            Some(flow_slug) => LOCK_ENDED_RUNS_OF_FLOW
                .query(&[&last, &horizon, &too_young, &most, &flow_slug], |row| {
                    row.get(1)
                })?,
        };
        let Some(&youngest) = runs.last() else {
            break;
        };
        last = youngest;
        deleted += DELETE_RUNS
            .first(&[&runs], |row| row.get::<i64>(1))?
            .unwrap_or(0);
    }
    Ok(deleted)
}

/// The moment that lies an interval back; an error when it is negative or absurd.
pub fn horizon(session: &Session, argument: &str, interval: Interval) -> Result<Instant> {
    let (horizon, given) = PRUNE_HORIZON
        .first(&[&session.now, &interval], |row| {
            Ok((row.opt::<Instant>(1), row.get::<String>(2)?))
        })?
        .unwrap_or_default();
    horizon.ok_or_else(|| {
        Error::invalid_with_hint(
            format!("{argument} {} is out of range", quoted(&given)),
            "It must be from nothing to a thousand years.",
        )
    })
}
