//! Looking without touching.

use crate::error::{Error, Result};
use crate::model::RunId;
use crate::statements;
use crate::store::Json;
use crate::store::subtransaction::{self, PROGRAM_LIMIT_EXCEEDED};

statements! {
    GET_RUN = "get_run.sql",
    CHECK_INTEGRITY = "check_integrity.sql",
}

/// A run with its steps: `{"run": {…}, "steps": […]}`.
pub fn get_run(run_id: RunId) -> Result<Json> {
    subtransaction::attempt(&[PROGRAM_LIMIT_EXCEEDED], || {
        GET_RUN.read(&[&run_id], |row| Ok(row.keep(1)))
    })?
    .map_err(|reason| Error::Invalid {
        message: format!("run \"{run_id}\" is too large for one object"),
        detail: Some(format!("PostgreSQL says: {reason}.")),
        hint: Some("Read tables runs and step_states instead.".to_owned()),
    })?
    .pop()
    .flatten()
    .ok_or_else(|| Error::run_not_found(run_id))
}

/// Every violated invariant, with the run that violates it; without one when it is about a definition.
pub fn check_integrity() -> Result<Vec<(Option<RunId>, String)>> {
    CHECK_INTEGRITY.survey(|row| Ok((row.opt(1), row.get(2)?)))
}
