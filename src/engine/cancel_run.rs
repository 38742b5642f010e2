//! A run is called off: what is unfinished is cancelled, and workers learn it from their next receipt; so are its
//! children.

use super::runs::{self, Run};
use super::{MAX_RUN_LOCKS, advance, aftermath};
use crate::error::Result;
use crate::model::RunId;
use crate::store::value::RunRow;
use crate::store::{Composite, Session};

/// Cancels a run; one that has ended is returned unchanged.
pub fn cancel_run(
    session: &Session,
    run_id: RunId,
    reason: Option<String>,
) -> Result<Composite<RunRow>> {
    let run = Run::lock(run_id)?;
    if !run.has_ended() {
        let aftermath = advance::end_runs(session, "cancelled", &[run_id], &[reason])?;
        aftermath::follow(session, aftermath, &mut { MAX_RUN_LOCKS - 1 })?;
    }
    runs::row(run_id)
}
