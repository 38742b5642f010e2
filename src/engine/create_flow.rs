//! `create_flow`: a flow and the options of its latest version.

use super::define;
use crate::error::{Error, Result};
use crate::model::shape::Options;
use crate::model::slug;
use crate::statements;
use crate::store::value::FlowRow;
use crate::store::{Composite, Session};

statements! {
    FLOW_ROW = "flow_row.sql",
}

/// Makes the flow, or gives it these options and this description. Steps stay.
pub fn create_flow(
    session: &Session,
    flow_slug: &str,
    description: Option<&str>,
    mut options: Options,
) -> Result<Composite<FlowRow>> {
    define::refuse_arguments(|report| {
        if let Err(fault) = slug::check(flow_slug) {
            report("flow_slug", None, fault);
        }
        options.check(report);
    })?;
    if let Some(flow) = define::lock_or_make(session, flow_slug, description, &options)? {
        let stored = define::options(&flow)?;
        // Only a document says anything about these.
        options.executor.clone_from(&stored.executor);
        options.target.clone_from(&stored.target);
        options.run_timeout = stored.run_timeout;
        if options != stored {
            let version = define::open_with_steps(session, &flow, &options)?;
            define::touch(session, &flow, version, description)?;
        } else if flow.description.as_deref() != description {
            define::touch(session, &flow, flow.version, description)?;
        }
    }
    FLOW_ROW
        .first(&[&flow_slug], |row| row.composite(1))?
        .ok_or_else(|| Error::Internal(format!("flow \"{flow_slug}\" is gone")))
}
