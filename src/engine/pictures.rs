//! Pictures of flows and runs. What is drawn is read by itself, without payloads and outputs: a run too large for
//! `get_run` can still be looked at.

use std::collections::HashMap;

use super::flow_graph;
use crate::error::{Error, Result};
use crate::model::RunId;
use crate::picture::{Executor, Picture, Run, State, Status, Step, mermaid, svg};
use crate::statements;
use crate::store::{Instant, Row};

statements! {
    DRAWN_VERSION = "drawn_version.sql",
    DRAWN_STEPS = "drawn_steps.sql",
    DRAWN_DEPS = "edges.sql",
    DRAWN_RUN = "drawn_run.sql",
    DRAWN_STATES = "drawn_states.sql",
}

/// The picture of a version of a flow, the latest by default.
pub fn flow_svg(flow_slug: &str, version: Option<i32>) -> Result<String> {
    Ok(svg::svg(&flow(flow_slug, version, Deps::IfDrawn)?))
}

/// The same for Mermaid.
pub fn flow_mermaid(flow_slug: &str, version: Option<i32>) -> Result<String> {
    Ok(mermaid::mermaid(&flow(flow_slug, version, Deps::All)?))
}

/// The picture of a run as it stands.
pub fn run_svg(run_id: RunId, now: Instant) -> Result<String> {
    Ok(svg::svg(&run(run_id, now, Deps::IfDrawn)?))
}

/// The same for Mermaid.
pub fn run_mermaid(run_id: RunId, now: Instant) -> Result<String> {
    Ok(mermaid::mermaid(&run(run_id, now, Deps::All)?))
}

/// Which deps a picture needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deps {
    All,
    /// None in a picture that is too large for them.
    IfDrawn,
}

fn flow(flow_slug: &str, version: Option<i32>, deps: Deps) -> Result<Picture> {
    let found = DRAWN_VERSION.read(&[&flow_slug, &version], |row| {
        Ok((row.get(1)?, row.get::<i64>(2)?))
    })?;
    let (found, dep_count) =
        (found.into_iter().next()).ok_or_else(|| flow_graph::not_found(flow_slug, version))?;
    let mut picture = Picture {
        flow_slug: flow_slug.to_owned(),
        version: found,
        dep_count: usize::try_from(dep_count).unwrap_or(0),
        ..Picture::default()
    };
    picture.steps = DRAWN_STEPS.read(&[&flow_slug, &found], |row| {
        Ok(Step {
            slug: row.get(1)?,
            executor: Executor::named(&row.get::<String>(2)?),
            target: row.opt(3),
            is_map: row.get(4)?,
            is_manual: row.get(5)?,
            ..Step::default()
        })
    })?;
    if deps == Deps::All || !picture.is_large() {
        add_deps(&mut picture)?;
    }
    Ok(picture)
}

fn add_deps(picture: &mut Picture) -> Result<()> {
    let numbers = numbers(&picture.steps);
    let deps = DRAWN_DEPS.read(&[&picture.flow_slug.as_str(), &picture.version], |row| {
        Ok((row.get(1)?, row.get(2)?))
    })?;
    for (from, to) in deps {
        let number = |slug: &String| numbers.get(slug).copied().ok_or_else(|| no_such_step(slug));
        let (from, to) = (number(&from)?, number(&to)?);
        picture.steps[to].deps.push(from);
    }
    for step in &mut picture.steps {
        step.deps.sort_unstable();
    }
    Ok(())
}

fn run(run_id: RunId, now: Instant, deps: Deps) -> Result<Picture> {
    let found = DRAWN_RUN.read(&[&run_id], |row| {
        let run = Run {
            run_id: run_id.to_string(),
            status: Status::named(&row.get::<String>(3)?),
            error_message: row.opt(4),
            took: took(row, 5, now),
        };
        Ok((row.get::<String>(1)?, row.get(2)?, run))
    })?;
    let (flow_slug, version, run) =
        (found.into_iter().next()).ok_or_else(|| Error::run_not_found(run_id))?;
    let mut picture = flow(&flow_slug, Some(version), deps)?;
    let numbers = numbers(&picture.steps);
    let states = DRAWN_STATES.read(&[&run_id], |row| {
        let state = State {
            status: Status::named(&row.get::<String>(2)?),
            error_message: row.opt(3),
            skip_reason: row.opt(4),
            is_ready: row.get(5)?,
            initial_tasks: row.opt(6),
            completed_tasks: row.opt(7).unwrap_or(0),
            attempts: row.get(8)?,
            failed_attempts: row.get(9)?,
            took: took(row, 10, now),
        };
        Ok((row.get::<String>(1)?, state))
    })?;
    for (slug, state) in states {
        let number = *numbers.get(&slug).ok_or_else(|| no_such_step(&slug))?;
        picture.steps[number].state = Some(state);
    }
    picture.run = Some(run);
    Ok(picture)
}

/// Microseconds from the time in a column to that in the next one, or until now.
fn took(row: &Row, started_at: i32, now: Instant) -> Option<i64> {
    let Instant(start) = row.opt(started_at)?;
    let Instant(end) = row.opt(started_at + 1).unwrap_or(now);
    Some(end.saturating_sub(start).max(0))
}

fn numbers(steps: &[Step]) -> HashMap<String, usize> {
    (steps.iter().enumerate())
        .map(|(number, step)| (step.slug.clone(), number))
        .collect()
}

fn no_such_step(slug: &str) -> Error {
    Error::Internal(format!(
        "step {slug:?} is not in the definition that is drawn"
    ))
}
