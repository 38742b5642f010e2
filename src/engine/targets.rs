//! What the targets of steps must be, as far as only the server can say: that a function is there and allowed, and that a
//! URL is one that may be called. Checked when a step is defined, so that a mistake is not found at midnight.

use std::collections::HashSet;

use super::{define, sql_tasks};
use crate::error::{Error, Result};
use crate::http;
use crate::model::problem::{Fault, Problem, Problems};
use crate::model::shape::StepShape;
use crate::store::{Session, handler};

/// Refuses steps whose targets cannot be called; `place` names the target of the step at a position.
pub fn check(flow_slug: &str, steps: &[StepShape], place: impl Fn(usize) -> String) -> Result<()> {
    let mut problems = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        if let Err(fault) = check_step(step, || sql_tasks::owner(flow_slug))? {
            problems.push(Problem::new(place(n), fault));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(define::refuse(&Problems(problems)))
}

/// Adds what is wrong with the targets of steps that are refused anyhow: everything is told at once. What has a fault
/// already has no second one.
pub fn add_faults(
    session: &Session,
    steps: &[StepShape],
    place: impl Fn(usize) -> String,
    problems: &mut Problems,
) -> Result<()> {
    let faulty: HashSet<_> = problems.0.iter().map(|known| known.place.clone()).collect();
    for (n, step) in steps.iter().enumerate() {
        let place = place(n);
        if faulty.contains(&place) {
            continue;
        }
        match check_step(step, || Ok(session.caller)) {
            Ok(Err(fault)) => problems.0.push(Problem::new(place, fault)),
            // That the owner may not execute the function is told when it is the only thing that is wrong.
            Ok(Ok(())) | Err(Error::Denied { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn check_step(
    step: &StepShape,
    owner: impl FnOnce() -> Result<handler::Role>,
) -> Result<std::result::Result<(), Fault>> {
    let target = step.target.as_deref().unwrap_or_default();
    Ok(match step.executor.as_str() {
        "sql" => sql_tasks::find(owner()?, target)?.map(drop),
        "http" => http::check_url(target),
        _ => Ok(()),
    })
}
