//! For those who would rather look: flows and runs as pictures.

use pgrx::prelude::*;

use super::arguments::required;
use crate::engine::{pictures, rights};
use crate::model::RunId;
use crate::store::{Svg, enter};

/// The steps of a flow's version, the latest by default, and what waits for what, as a flowchart of Mermaid. Errors as
/// `flow_graph`.
#[pg_extern(schema = "pgflow", stable)]
#[search_path(pg_catalog, pg_temp)]
fn flow_mermaid(flow_slug: Option<&str>, version: default!(Option<i32>, "NULL")) -> String {
    enter(|session| {
        rights::may_read_flow(session, flow_slug)?;
        pictures::flow_mermaid(required("flow_slug", flow_slug)?, version)
    })
}

/// A run as a flowchart of Mermaid: how each step stands, its retries, and how long it took. Errors as `get_run`.
#[pg_extern(schema = "pgflow", stable)]
#[search_path(pg_catalog, pg_temp)]
fn run_mermaid(run_id: Option<RunId>) -> String {
    enter(|session| {
        rights::may_see(session, run_id)?;
        pictures::run_mermaid(required("run_id", run_id)?, session.now)
    })
}

/// The steps of a flow's version, the latest by default, and what waits for what, as an image. Errors as `flow_graph`.
#[pg_extern(schema = "pgflow", stable, requires = ["pictures"])]
#[search_path(pg_catalog, pg_temp)]
fn flow_svg(flow_slug: Option<&str>, version: default!(Option<i32>, "NULL")) -> Svg {
    enter(|session| {
        rights::may_read_flow(session, flow_slug)?;
        pictures::flow_svg(required("flow_slug", flow_slug)?, version).map(Svg)
    })
}

/// A run as an image: how each step stands, the progress of maps, retries, errors, and how long it took. Errors as
/// `get_run`.
#[pg_extern(schema = "pgflow", stable, requires = ["pictures"])]
#[search_path(pg_catalog, pg_temp)]
fn run_svg(run_id: Option<RunId>) -> Svg {
    enter(|session| {
        rights::may_see(session, run_id)?;
        pictures::run_svg(required("run_id", run_id)?, session.now).map(Svg)
    })
}
