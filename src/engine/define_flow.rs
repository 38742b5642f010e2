//! `define_flow`: a whole flow at once.

use std::collections::HashMap;

use super::define::{self, Flow, Opened, StoredStep};
use super::targets;
use crate::error::Result;
use crate::model::document::{self, Document};
use crate::model::shape::StepShape;
use crate::statements;
use crate::store::{Json, Session};

statements! {
    STEP_SHAPES = "step_shapes.sql",
    DELETE_STEPS = "delete_steps.sql",
    DELETE_DEPS = "delete_deps.sql",
}

/// What `define_flow` answers.
pub struct Defined {
    pub flow_slug: String,
    /// The latest version, which has the shape of the document.
    pub version: i32,
    pub changed: bool,
}

/// Makes the flow what the document says; steps it does not name are gone.
pub fn define_flow(session: &Session, definition: Json) -> Result<Defined> {
    let text = define::json_text(definition)?;
    let document = match document::read(&text) {
        Ok(document) => document,
        Err(mut faulty) => {
            targets::add_faults(session, &faulty.steps, target_of, &mut faulty.problems)?;
            return Err(define::refuse(&faulty.problems));
        }
    };
    let made = define::lock_or_make(
        session,
        &document.flow_slug,
        document.description.as_deref(),
        &document.options,
    )?;
    let (version, changed) = match made {
        Some(flow) => change(session, &flow, &document)?,
        None => {
            write_all(session, &document.flow_slug, 1, &document.steps)?;
            (1, true)
        }
    };
    Ok(Defined {
        flow_slug: document.flow_slug,
        version,
        changed,
    })
}

fn change(session: &Session, flow: &Flow, document: &Document) -> Result<(i32, bool)> {
    let stored = STEP_SHAPES.query(&[&flow.slug, &flow.version], StoredStep::read)?;
    let same_shape =
        define::options(flow)? == document.options && same_steps(&stored, &document.steps);
    if same_shape && flow.description == document.description {
        return Ok((flow.version, false));
    }
    let version = if same_shape {
        flow.version
    } else {
        match define::open(session, flow, &document.options)? {
            Opened::InPlace(version) => {
                replace(session, flow, version, &stored, &document.steps)?;
                version
            }
            Opened::Next(version) => {
                write_all(session, &flow.slug, version, &document.steps)?;
                version
            }
        }
    };
    define::touch(session, flow, version, document.description.as_deref())?;
    Ok((version, true))
}

/// Whether the steps are those that are stored, in whatever order.
fn same_steps(stored: &[StoredStep], steps: &[StepShape]) -> bool {
    let stored = by_slug(stored);
    stored.len() == steps.len()
        && steps.iter().all(|step| {
            stored
                .get(step.step_slug.as_str())
                .is_some_and(|s| s.shape == *step)
        })
}

fn by_slug(stored: &[StoredStep]) -> HashMap<&str, &StoredStep> {
    stored
        .iter()
        .map(|step| (step.shape.step_slug.as_str(), step))
        .collect()
}

fn write_all(session: &Session, flow_slug: &str, version: i32, steps: &[StepShape]) -> Result<()> {
    check_targets(flow_slug, steps)?;
    let places: Vec<_> = (0..).zip(steps).collect();
    define::put_steps(session, flow_slug, version, &places)?;
    define::insert_deps(flow_slug, version, steps)
}

fn check_targets(flow_slug: &str, steps: &[StepShape]) -> Result<()> {
    targets::check(flow_slug, steps, target_of)
}

fn target_of(step: usize) -> String {
    format!("$.steps[{step}].target")
}

/// Turns the steps of an open version into those of the document, and leaves alone what stays the same.
fn replace(
    session: &Session,
    flow: &Flow,
    version: i32,
    stored: &[StoredStep],
    steps: &[StepShape],
) -> Result<()> {
    check_targets(&flow.slug, steps)?;
    let mut gone = by_slug(stored);
    let mut written = Vec::new();
    let mut same_deps = true;
    for (place, step) in (0..).zip(steps) {
        let before = gone.remove(step.step_slug.as_str());
        same_deps &= before.is_some_and(|before| before.shape.deps_slugs == step.deps_slugs);
        if before.is_none_or(|before| before.place != place || before.shape != *step) {
            written.push((place, step));
        }
    }
    same_deps &= gone.is_empty();
    let gone: Vec<&str> = gone.into_keys().collect();

    if !same_deps {
        DELETE_DEPS.execute(&[&flow.slug, &version])?;
    }
    if !gone.is_empty() {
        DELETE_STEPS.execute(&[&flow.slug, &version, &gone])?;
    }
    define::put_steps(session, &flow.slug, version, &written)?;
    if !same_deps {
        define::insert_deps(&flow.slug, version, steps)?;
    }
    Ok(())
}
