//! A manual step is started by hand.

use super::advance::Advance;
use super::runs::Run;
use super::{MAX_RUN_LOCKS, aftermath, start};
use crate::error::{Error, Result};
use crate::model::RunId;
use crate::statements;
use crate::store::value::StepStateRow;
use crate::store::{Composite, Session};

statements! {
    STEP_STATE = "step_state.sql",
    UNRESOLVED_DEPS = "unresolved_deps.sql",
}

/// Starts a pending step whose deps are resolved; one that has started or ended is returned unchanged.
pub fn start_step(
    session: &Session,
    run_id: RunId,
    step_slug: &str,
) -> Result<Composite<StepStateRow>> {
    let run = Run::lock(run_id)?;
    let step = run
        .definition
        .step_no(step_slug)
        .ok_or_else(|| Error::step_not_found(step_slug))?;
    let (is_pending, remaining_deps) = STEP_STATE
        .first(&[&run_id, &step_slug], |row| {
            Ok((row.get::<bool>(2)?, row.get::<i32>(3)?))
        })?
        .ok_or_else(|| Error::step_not_found(step_slug))?;
    if is_pending {
        if remaining_deps > 0 {
            let deps = UNRESOLVED_DEPS.query(
                &[
                    &run_id,
                    &step_slug,
                    &run.definition.flow_slug,
                    &run.definition.version,
                ],
                |row| row.get::<String>(1),
            )?;
            return Err(Error::conflict(
                "step has unresolved deps",
                format!(
                    "Step \"{step_slug}\" waits for \"{}\".",
                    deps.join("\", \"")
                ),
            ));
        }
        let mut advance = Advance::new(session);
        let no = advance.add(run.moving(session));
        start::start(&mut advance, vec![(no, step)])?;
        advance.drive()?;
        aftermath::follow(session, advance.aftermath, &mut { MAX_RUN_LOCKS - 1 })?;
    }
    STEP_STATE
        .first(&[&run_id, &step_slug], |row| row.composite(1))?
        .ok_or_else(|| Error::step_not_found(step_slug))
}
