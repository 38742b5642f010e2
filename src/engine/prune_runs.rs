//! Old runs go.

use pgrx::datum::Interval;

use crate::error::{Error, Result, quoted};
use crate::model::RunId;
use crate::statements;
use crate::store::{Instant, Session, lock};

statements! {
    PRUNE_HORIZON = "prune_horizon.sql",
    PRUNE_RUNS = "prune_runs.sql",
}

/// Deletes up to `max_runs` runs that ended longer ago than `older_than`, the oldest first, and returns how many.
///
/// Run ids sort by time, so the walk along the primary key ends at the first id that is too young to have ended then.
pub fn prune_runs(session: &Session, older_than: Interval, max_runs: i32) -> Result<i64> {
    lock::share_runs_table()?;
    let horizon = horizon(session, "older_than", older_than)?;
    Ok(PRUNE_RUNS
        .first(
            &[&too_young(horizon), &horizon, &i64::from(max_runs)],
            |row| row.get(1),
        )?
        .unwrap_or(0))
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

/// The least id of a run that is too young to have ended before the horizon.
pub fn too_young(horizon: Instant) -> RunId {
    RunId::least_at(horizon.unix_millis() + 1)
}
