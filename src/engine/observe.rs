//! Looking without touching.

use crate::error::{Error, Result};
use crate::model::RunId;
use crate::statements;
use crate::store::Json;

statements! {
    GET_RUN = "get_run.sql",
    CHECK_INTEGRITY = "check_integrity.sql",
}

/// A run with its steps: `{"run": {…}, "steps": […]}`.
pub fn get_run(run_id: RunId) -> Result<Json> {
    GET_RUN
        .read(&[&run_id], |row| Ok(row.keep(1)))?
        .pop()
        .flatten()
        .ok_or_else(|| Error::run_not_found(run_id))
}

/// Every violated invariant, with the run that violates it.
pub fn check_integrity() -> Result<Vec<(RunId, String)>> {
    CHECK_INTEGRITY.survey(|row| Ok((row.get(1)?, row.get(2)?)))
}
