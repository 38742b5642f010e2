//! The only place that tells the outside what happened.

use std::collections::HashMap;

use super::definitions;
use super::doorbell;
use super::runs::Run;
use super::walks::Lane;
use crate::error::Result;
use crate::model::{Definition, Executor, RunId, Step};
use crate::statements;
use crate::store::changes::{self, Change};
use crate::store::{Session, latch, wake};

statements! {
    REACHED_STEPS = "reached_steps.sql",
}

/// A task of the step is ready, or is due later, when the transaction commits.
pub fn task_queued(step: &Step, is_ready: bool) {
    if is_ready {
        tasks_ready(Lane::of(step));
    } else {
        // For workers too: those that wait are told when it falls due.
        latch::set_at_commit();
    }
}

/// Something that is no task falls due for the background workers when the transaction commits, or later.
pub fn upkeep_due() {
    latch::set_at_commit();
}

/// Tasks of an executor in a queue are ready when the transaction commits.
pub fn tasks_ready(lane: Lane) {
    if lane.executor == Executor::Worker {
        wake::at_commit(lane.queue);
    } else {
        latch::set_at_commit();
        if lane.executor == Executor::Http {
            doorbell::at_commit(lane.queue);
        }
    }
}

/// A task of the step was settled: the next ones of its queue may have waited for that.
pub fn task_settled(step: &Step) {
    if step.executor == Executor::Http {
        doorbell::at_commit(&step.queue);
    }
}

/// Somebody claimed from the queue, and has swept what is due there.
pub fn claimed(lane: Lane) {
    if lane.executor == Executor::Worker {
        doorbell::at_commit(lane.queue);
    }
}

/// Something that held tasks of a queue back does so no longer when the transaction commits.
pub fn queue_has_room(queue: &str) {
    wake::at_commit(queue);
    latch::set_at_commit();
    doorbell::at_commit(queue);
}

/// A run has come to a status.
pub fn run_changed(session: &Session, flow_slug: &str, run_id: RunId, status: &'static str) {
    note(session, flow_slug, run_id, None, status);
}

/// A step of a run that is not pending has come to a status.
pub fn step_changed(
    session: &Session,
    flow_slug: &str,
    run_id: RunId,
    step_slug: &str,
    status: &'static str,
) {
    note(session, flow_slug, run_id, Some(step_slug), status);
}

fn note(
    session: &Session,
    flow_slug: &str,
    run_id: RunId,
    step_slug: Option<&str>,
    status: &'static str,
) {
    if let Some(flow) = changes::published(flow_slug) {
        changes::note(Change {
            flow,
            run_id,
            step_slug: step_slug.map(str::to_owned),
            status,
            at: session.now,
        });
    }
}

/// A run that was pending has started. What its steps came to before is told after it: nobody hears of a step before
/// its run.
pub fn run_opened(session: &Session, definition: &Definition, run_id: RunId) -> Result<()> {
    run_changed(session, &definition.flow_slug, run_id, "started");
    steps_reached(session, definition, run_id)
}

/// [`run_opened`] where the definition is not at hand.
pub fn run_of_flow_opened(session: &Session, flow_slug: &str, run_id: RunId) -> Result<()> {
    if changes::published(flow_slug).is_none() {
        return Ok(());
    }
    let run = Run::find(run_id)?;
    run_opened(session, &run.definition, run_id)
}

/// A run has ended early, and its unfinished steps with it, or while it was pending: they are told first.
pub fn run_ended(
    session: &Session,
    definition: &Definition,
    run_id: RunId,
    status: &'static str,
) -> Result<()> {
    steps_reached(session, definition, run_id)?;
    run_changed(session, &definition.flow_slug, run_id, status);
    Ok(())
}

/// [`run_ended`] where the definition is not at hand.
pub fn run_of_flow_ended(
    session: &Session,
    (definition_id, flow_slug, version): (i64, &str, i32),
    run_id: RunId,
    status: &'static str,
) -> Result<()> {
    if changes::published(flow_slug).is_none() {
        return Ok(());
    }
    let definition = definitions::get(definition_id, flow_slug, version)?;
    run_ended(session, &definition, run_id, status)
}

fn steps_reached(session: &Session, definition: &Definition, run_id: RunId) -> Result<()> {
    if changes::published(&definition.flow_slug).is_none() {
        return Ok(());
    }
    let mut reached = HashMap::new();
    for (slug, status) in REACHED_STEPS.query(&[&run_id], |row| {
        Ok((row.get::<String>(1)?, row.get::<String>(2)?))
    })? {
        if let (Some(step), Some(status)) = (definition.step_no(&slug), told(&status)) {
            reached.insert(step, status);
        }
    }
    for step in definition.in_order(reached.keys().copied().collect()) {
        let slug = &definition.steps[step].slug;
        step_changed(session, &definition.flow_slug, run_id, slug, reached[&step]);
    }
    Ok(())
}

/// The statuses of a step that are told.
fn told(status: &str) -> Option<&'static str> {
    ["started", "completed", "failed", "skipped", "cancelled"]
        .into_iter()
        .find(|told| *told == status)
}
