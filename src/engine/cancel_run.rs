//! A run is called off: what is unfinished is cancelled, and workers learn it from their next receipt.

use super::runs::{self, Run};
use super::{advance, events};
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
        advance::end_runs(session, "cancelled", &[run_id], &[reason])?;
        if run.definition.waits_for_events {
            events::end_waits_of_runs(&[run_id])?;
        }
    }
    runs::row(run_id)
}
