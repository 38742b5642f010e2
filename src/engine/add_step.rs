//! `add_step`: one step more, or another shape for a step that is there.

use std::collections::HashMap;

use super::define::{self, Flow, StoredStep};
use super::sql_tasks;
use crate::error::{Error, Result, quoted};
use crate::model::graph;
use crate::model::problem::{Problem, Problems};
use crate::model::shape::{self, MOST_STEPS, StepShape};
use crate::statements;
use crate::store::value::StepRow;
use crate::store::{Composite, Session};

statements! {
    STEP_SHAPE = "step_shape.sql",
    STEP_ROW = "step_row.sql",
    UNKNOWN_DEPS = "unknown_deps.sql",
    COUNT_STEPS = "count_steps.sql",
    EDGES = "edges.sql",
    DELETE_DEPS_OF_STEP = "delete_deps_of_step.sql",
}

/// Gives the flow this step. A step of the same slug keeps its place in the order and its dependents.
pub fn add_step(
    session: &Session,
    flow_slug: &str,
    mut step: StepShape,
) -> Result<Composite<StepRow>> {
    define::refuse_arguments(|report| step.check(report))?;
    step.normalise();
    let flow = define::lock_existing(session, flow_slug)?;
    let slug = &step.step_slug;
    let stored = STEP_SHAPE.first(&[&flow.slug, &flow.version, slug], StoredStep::read)?;
    let mut version = flow.version;
    if stored.as_ref().is_none_or(|stored| stored.shape != step) {
        refuse_unknown_deps(&flow, &step)?;
        sql_tasks::check_targets(&flow.slug, std::slice::from_ref(&step), |_| "target".into())?;
        let place = match &stored {
            None => next_place(&flow)?,
            Some(stored) => {
                // A new step has no dependents and closes no cycle.
                if stored.shape.deps_slugs != step.deps_slugs {
                    refuse_cycle(&flow, &step)?;
                }
                stored.place
            }
        };
        version = define::open_with_steps(session, &flow, &define::options(&flow)?)?;
        DELETE_DEPS_OF_STEP.execute(&[&flow.slug, &version, slug])?;
        define::put_steps(session, &flow.slug, version, &[(place, &step)])?;
        define::insert_deps(&flow.slug, version, std::slice::from_ref(&step))?;
        define::touch(session, &flow, version, flow.description.as_deref())?;
    }
    STEP_ROW
        .first(&[&flow.slug, &version, slug], |row| row.composite(1))?
        .ok_or_else(|| Error::Internal(format!("step \"{slug}\" is gone")))
}

fn refuse_unknown_deps(flow: &Flow, step: &StepShape) -> Result<()> {
    if step.deps_slugs.is_empty() {
        return Ok(());
    }
    let unknown = UNKNOWN_DEPS.query(&[&flow.slug, &flow.version, &step.deps_slugs], |row| {
        row.get::<String>(1)
    })?;
    match unknown.as_slice() {
        [] => Ok(()),
        [first, more @ ..] => {
            let mut detail = format!("Flow {} has no step {}", quoted(&flow.slug), quoted(first));
            if !more.is_empty() {
                detail += &format!(", nor {} more of the deps", more.len());
            }
            Err(Error::not_found("dep", detail + "."))
        }
    }
}

fn next_place(flow: &Flow) -> Result<i32> {
    let count: i32 = COUNT_STEPS
        .first(&[&flow.slug, &flow.version], |row| row.get(1))?
        .unwrap_or(0);
    if usize::try_from(count).is_ok_and(|count| count >= MOST_STEPS) {
        return Err(Error::invalid_with_hint(
            format!(
                "flow {} has {count} steps, which is the most a flow may have",
                quoted(&flow.slug)
            ),
            "Make several flows of it.",
        ));
    }
    Ok(count)
}

/// The rest of the flow has no cycle, so there is one if and only if the step is in it.
fn refuse_cycle(flow: &Flow, step: &StepShape) -> Result<()> {
    let edges = EDGES.query(&[&flow.slug, &flow.version], |row| {
        Ok((row.get::<String>(1)?, row.get::<String>(2)?))
    })?;
    let mut names = Vec::new();
    let mut numbers = HashMap::new();
    let mut deps = Vec::new();
    // The step comes first, so that the cycle is told from there.
    let mut number = |name| {
        *numbers.entry(name).or_insert_with(|| {
            names.push(name);
            names.len() - 1
        })
    };
    let changed = number(step.step_slug.as_str());
    let others = edges
        .iter()
        .map(|(from, to)| (from.as_str(), to.as_str()))
        .filter(|(_, to)| *to != step.step_slug);
    let own = step
        .deps_slugs
        .iter()
        .map(|from| (from.as_str(), step.step_slug.as_str()));
    for (from, to) in others.chain(own) {
        let (from, to) = (number(from), number(to));
        deps.resize(deps.len().max(from + 1).max(to + 1), Vec::new());
        deps[to].push(from);
    }
    debug_assert_eq!(changed, 0);
    match graph::cycles(&deps).first() {
        None => Ok(()),
        Some(cycle) => {
            let fault = shape::cycle(&graph::spell(cycle, |n| names[n]));
            let problem = Problem::new("deps_slugs", fault);
            Err(define::refuse(&Problems(vec![problem])))
        }
    }
}
