//! Runs go when they ended longer ago than their flow keeps them.
//!
//! A walk of the runs of each such flow, oldest first, that passes over rows which someone else holds: it waits for
//! nobody, and two that meet, or `prune_runs` beside it, each delete what the other does not.

use pgrx::datum::Interval;

use super::upkeep::soon;
use super::{define, event, prune_runs};
use crate::error::Result;
use crate::statements;
use crate::store::{Instant, Session, lock};

statements! {
    SET_RETENTION = "set_retention.sql",
    RETAINED_FLOWS = "retained_flows.sql",
}

/// How many runs a call deletes, an equal share of each flow.
const MOST_RUNS: i64 = 1000;

/// How long after a look that found nothing more the next one is.
const PAUSE_SECONDS: f64 = 60.0;

/// Sets how long the runs of a flow are kept after their end; `None`: for ever.
pub fn set_retention(session: &Session, flow_slug: &str, keep: Option<Interval>) -> Result<()> {
    if let Some(keep) = keep {
        prune_runs::horizon(session, "keep", keep)?;
    }
    let flow = define::lock_existing(session, flow_slug)?;
    event::upkeep_due();
    SET_RETENTION.execute(&[&flow.slug, &keep])
}

/// Deletes runs whose time is over, and says when to look again; never, as long as every flow keeps its runs for ever.
pub fn sweep(session: &Session) -> Result<Option<Instant>> {
    let flows = RETAINED_FLOWS.query(&[&session.now], |row| {
        Ok((row.get::<String>(1)?, row.get::<Instant>(2)?))
    })?;
    if flows.is_empty() {
        return Ok(None);
    }
    if !lock::try_share_runs_table()? {
        return Ok(Some(soon(session)));
    }
    let share = (MOST_RUNS / i64::try_from(flows.len()).unwrap_or(MOST_RUNS)).max(1);
    let mut has_more = false;
    for (flow_slug, horizon) in flows {
        has_more |= prune_runs::delete(Some(&flow_slug), horizon, share)? == share;
    }
    Ok(Some(if has_more {
        session.now
    } else {
        session.now.plus_seconds(PAUSE_SECONDS)
    }))
}
