//! A failed or cancelled run goes on.
//!
//! Completed and skipped steps stay. Every other step is pending again; of those whose deps are resolved, the ones that
//! had tasks before get them again at once: a map those that have not completed, everything else its only one. Attempt
//! numbers go on, and each task has a new budget of attempts. A child whose parent went on without it is on its own from
//! then on.

use std::collections::HashSet;
use std::rc::Rc;

use super::advance::{Advance, MovingRun, RunNo};
use super::counting::LARGE_MAP;
use super::runs::{self, Run};
use super::start::{self, Tasks};
use super::{MAX_RUN_LOCKS, aftermath, event, gather, run_timeouts, walks};
use crate::error::{Error, Result};
use crate::model::{RunId, StepNo, StepType};
use crate::statements;
use crate::store::value::RunRow;
use crate::store::{Composite, Session};

statements! {
    REOPEN_STEPS = "reopen_steps.sql",
    REOPEN_RUN = "reopen_run.sql",
    HOLD_PARENT_TASK = "hold_parent_task.sql",
    REQUEUE_TASKS = "requeue_tasks.sql",
}

/// Puts a failed or cancelled run back to started.
pub fn retry_run(session: &Session, run_id: RunId) -> Result<Composite<RunRow>> {
    let run = Run::lock(run_id)?;
    if !matches!(run.status.as_str(), "failed" | "cancelled") {
        return Err(Error::conflict(
            "run is neither failed nor cancelled",
            format!("Run \"{run_id}\" is {}.", run.status),
        ));
    }
    let flow_slug = &run.definition.flow_slug;
    let version = run.definition.version;
    let reopened = REOPEN_STEPS.query(&[&run_id, flow_slug, &version], |row| {
        Ok((
            row.get::<String>(1)?,
            row.get::<bool>(2)?,
            row.get::<bool>(3)?,
        ))
    })?;
    let is_awaited = (HOLD_PARENT_TASK.first(&[&run_id], |row| row.get(1))?).unwrap_or(false);
    REOPEN_RUN.execute(&[&run_id, flow_slug, &version, &session.now, &is_awaited])?;

    run_timeouts::put_deadlines(session, &run.definition, [run_id], None)?;
    event::run_changed(session, flow_slug, run_id, "started");

    let mut advance = Advance::new(session);
    let no = advance.add(MovingRun::new(
        run_id,
        Rc::clone(&run.definition),
        run.priority,
    ));
    let mut again = Vec::new();
    for (slug, is_resolved, had_tasks) in reopened {
        let step = (run.definition.step_no(&slug)).ok_or_else(|| Error::step_not_found(&slug))?;
        match (is_resolved, had_tasks) {
            (true, true) => again.push((no, step)),
            (true, false) => advance.step_ready(no, step),
            (false, _) => {}
        }
    }
    again.sort_unstable();
    requeue(&mut advance, &again)?;
    advance.may_be_over(no);
    advance.drive()?;
    aftermath::follow(session, advance.aftermath, &mut { MAX_RUN_LOCKS - 1 })?;
    runs::row(run_id)
}

/// Queues the tasks of steps of one run that had tasks before; a map with none left to do is gathered.
fn requeue(advance: &mut Advance, steps: &[(RunNo, StepNo)]) -> Result<()> {
    let Some(&(no, _)) = steps.first() else {
        return Ok(());
    };
    let definition = Rc::clone(&advance.runs[no].definition);
    let of = |&(_, step): &(RunNo, StepNo)| &definition.steps[step];
    let tasks = Tasks::of(advance, steps)?;
    let sources: Vec<_> = (steps.iter())
        .map(|step| Some(definition.steps[of(step).map_over?].slug.as_str()))
        .collect();
    let are_maps: Vec<_> = (steps.iter())
        .map(|step| of(step).step_type == StepType::Map)
        .collect();
    let queued: HashSet<String> = REQUEUE_TASKS
        .query(
            &[
                &advance.runs[no].id,
                &tasks.keys.steps,
                &tasks.executors,
                &tasks.queues,
                &tasks.timeouts,
                &tasks.step_indexes,
                &tasks.expires_at,
                &sources,
                &are_maps,
                &definition.flow_slug,
                &definition.version,
                &definition.id,
                &walks::rank(advance.runs[no].priority),
                &advance.session.now,
                &LARGE_MAP,
                &tasks.heads_from,
            ],
            |row| row.get(1),
        )?
        .into_iter()
        .collect();
    let mut gathered = Vec::new();
    let mut started = Vec::new();
    for step in steps {
        if !queued.contains(&of(step).slug) {
            gathered.push(*step);
            continue;
        }
        advance.step_started(step.0, step.1);
        started.push(*step);
    }
    start::under_way(advance, &started)?;
    gather::complete(advance, &gathered)
}
