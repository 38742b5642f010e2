//! A step is finished from outside: a human approved, a webhook came.

use super::receipt::{Receipt, TaskKey};
use super::rights;
use super::run_flow::Creator;
use super::runs::Run;
use super::settle::{self, Settlement, Verdict};
use crate::error::{Error, Result, quoted};
use crate::model::{Definition, RunId, StepNo, StepType};
use crate::store::role::{self, Behalf};
use crate::store::{Json, Session, lock};

/// Who completes a step: the role in force, and on whose behalf it calls.
pub struct Completer {
    pub role: String,
    pub behalf: Behalf,
}

impl Completer {
    pub fn of(session: &Session) -> Result<Self> {
        Ok(Self {
            role: role::name(session.caller),
            behalf: role::on_behalf()?,
        })
    }

    /// Whether they may complete a step from outside: now, or by an event that they sent before.
    pub fn may_complete(
        &self,
        definition: &Definition,
        step: StepNo,
        creator: &Creator,
    ) -> Result<bool> {
        rights::sender_may_complete(self, definition, step, creator)
    }
}

pub fn complete_step(
    session: &Session,
    run_id: RunId,
    step_slug: &str,
    output: Option<Json>,
) -> Result<Vec<Receipt>> {
    lock::share_runs_table()?;
    let run = Run::find(run_id)?;
    let step = run
        .definition
        .step_no(step_slug)
        .ok_or_else(|| Error::step_not_found(step_slug))?;
    if run.definition.steps[step].step_type == StepType::Map {
        return Err(Error::invalid_with_hint(
            format!("step {} is a map", quoted(step_slug)),
            "Complete each task of a map with complete_step_task.",
        ));
    }
    let settlement = Settlement {
        task: TaskKey {
            run_id,
            step_slug: step_slug.to_owned(),
            task_index: 0,
        },
        lease: None,
        verdict: Verdict::Complete(output),
    };
    settle::settle(session, &[settlement])
}
