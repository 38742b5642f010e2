//! A new run that goes on from an ended one.
//!
//! Steps that are completed or skipped, and neither named nor downstream of a named one, keep their state and output;
//! the others run again, on the same version. The origin is left as it is, and the fork does not depend on it.

use std::collections::HashSet;
use std::rc::Rc;

use super::advance::{Advance, MovingRun};
use super::runs::Run;
use super::{event, run_timeouts};
use crate::error::{Error, Result, quoted};
use crate::model::{RunId, StepNo, StepType};
use crate::statements;
use crate::store::{Json, Session, role};

statements! {
    RESOLVED_STEPS = "resolved_steps.sql",
    FORK_PAYLOAD_TYPE = "fork_payload_type.sql",
    INSERT_FORK = "insert_fork.sql",
}

/// Starts the fork and returns its id.
pub fn fork_run(
    session: &Session,
    run_id: RunId,
    from_step_slugs: &[String],
    payload: Option<Json>,
) -> Result<RunId> {
    let origin = Run::lock(run_id)?;
    if !origin.has_ended() {
        return Err(Error::conflict(
            "run has not ended",
            format!("Run \"{run_id}\" is {}.", origin.status),
        ));
    }
    let definition = &origin.definition;
    let named = (from_step_slugs.iter())
        .map(|slug| (definition.step_no(slug)).ok_or_else(|| Error::step_not_found(slug)))
        .collect::<Result<Vec<StepNo>>>()?;
    let mut again: HashSet<StepNo> = definition.downstream(named.clone()).into_iter().collect();
    again.extend(named);
    let mut kept = vec![false; definition.steps.len()];
    for slug in RESOLVED_STEPS.query(&[&run_id], |row| row.get::<String>(1))? {
        let no = (definition.step_no(&slug)).ok_or_else(|| Error::step_not_found(&slug))?;
        kept[no] = !again.contains(&no);
    }
    check_payload(&origin, payload)?;

    let id = RunId::new();
    let remaining_deps: Vec<i32> = (definition.steps.iter())
        .map(|step| step.deps.iter().map(|&dep| i32::from(!kept[dep])).sum())
        .collect();
    let remaining_leaves: i32 = (definition.leaves())
        .map(|leaf| i32::from(!kept[leaf]))
        .sum();
    let slugs: Vec<_> = definition.steps.iter().map(|s| s.slug.as_str()).collect();
    INSERT_FORK.execute(&[
        &run_id,
        &id,
        &payload,
        &role::name(session.caller),
        &role::created_for()?,
        &session.now,
        &remaining_leaves,
        &payload.is_some_and(|payload| {
            payload.size() as i64 > super::run_flow::largest_part(definition)
        }),
        &slugs,
        &kept,
        &remaining_deps,
    ])?;

    run_timeouts::put_deadlines(session, definition, [id], None)?;

    event::run_changed(session, &definition.flow_slug, id, "started");
    let mut advance = Advance::new(session);
    let no = advance.add(MovingRun::new(id, Rc::clone(definition), origin.priority));
    for step in 0..definition.steps.len() {
        if !kept[step] && remaining_deps[step] == 0 {
            advance.step_ready(no, step);
        }
    }
    advance.may_be_over(no);
    // A fork is nobody's child and has none yet: nothing is left to be done to other runs.
    advance.drive()?;
    Ok(id)
}

/// A root map needs an array, also one that is kept: its tasks are the elements of its run's payload.
fn check_payload(origin: &Run, payload: Option<Json>) -> Result<()> {
    let root_map = (origin.definition.steps.iter())
        .find(|step| step.step_type == StepType::Map && step.deps.is_empty());
    let Some(step) = root_map else {
        return Ok(());
    };
    let kind = FORK_PAYLOAD_TYPE
        .first(&[&origin.id, &payload], |row| row.get::<String>(1))?
        .ok_or_else(|| Error::run_not_found(origin.id))?;
    if kind == "array" {
        return Ok(());
    }
    Err(Error::invalid_with_hint(
        format!("payload is of type \"{kind}\" and not an array"),
        format!(
            "Step {} is a map without deps: it has a task for each element of the payload.",
            quoted(&step.slug)
        ),
    ))
}
