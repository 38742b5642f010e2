//! `define_flow`: a whole flow at once.

use std::collections::HashMap;

use super::define::{self, Flow, Opened};
use crate::error::Result;
use crate::model::document::{self, Document};
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
    let document = document::read(&text).map_err(|problems| define::refuse(&problems))?;
    let made = define::lock_or_make(
        session,
        &document.flow_slug,
        document.description.as_deref(),
        &document.options,
    )?;
    let (version, changed) = match made {
        Some(flow) => change(session, &flow, &document)?,
        None => {
            define::put_steps(session, &document.flow_slug, 1, 0, &document.steps)?;
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
    let same_shape = has_shape(flow, document)?;
    if same_shape && flow.description == document.description {
        return Ok((flow.version, false));
    }
    let version = if same_shape {
        flow.version
    } else {
        replace_steps(session, flow, document)?
    };
    define::touch(session, flow, version, document.description.as_deref())?;
    Ok((version, true))
}

/// Whether the latest version has the options and steps of the document, in whatever order.
fn has_shape(flow: &Flow, document: &Document) -> Result<bool> {
    if define::options(flow)? != document.options {
        return Ok(false);
    }
    let stored = STEP_SHAPES.query(&[&flow.slug, &flow.version], define::step_shape)?;
    if stored.len() != document.steps.len() {
        return Ok(false);
    }
    let steps: HashMap<_, _> = document
        .steps
        .iter()
        .map(|step| (&step.step_slug, step))
        .collect();
    Ok(stored
        .iter()
        .all(|step| steps.get(&step.step_slug) == Some(&step)))
}

fn replace_steps(session: &Session, flow: &Flow, document: &Document) -> Result<i32> {
    let version = match define::open(session, flow, &document.options)? {
        Opened::Next(version) => version,
        Opened::InPlace(version) => {
            DELETE_DEPS.execute(&[&flow.slug, &version])?;
            DELETE_STEPS.execute(&[&flow.slug, &version])?;
            version
        }
    };
    define::put_steps(session, &flow.slug, version, 0, &document.steps)?;
    Ok(version)
}
