//! `flow_graph`: the static shape of a version.

use crate::error::{Error, Result, quoted};
use crate::statements;
use crate::store::Json;

statements! {
    FLOW_GRAPH = "flow_graph.sql",
}

/// The shape of a version, the latest by default, in the memory of the caller.
pub fn flow_graph(flow_slug: &str, version: Option<i32>) -> Result<Json> {
    let graph = FLOW_GRAPH.read(&[&flow_slug, &version], |row| {
        row.keep(1)
            .ok_or_else(|| Error::Internal("a graph is null".into()))
    })?;
    (graph.into_iter().next()).ok_or_else(|| not_found(flow_slug, version))
}

/// There is no such flow or no such version of it.
pub fn not_found(flow_slug: &str, version: Option<i32>) -> Error {
    match version {
        None => Error::flow_not_found(flow_slug),
        Some(version) => Error::not_found(
            "flow version",
            format!(
                "There is no version {version} of flow {}.",
                quoted(flow_slug)
            ),
        ),
    }
}
