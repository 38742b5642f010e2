//! For operators: limits and pauses.

use pgrx::datum::Interval;
use pgrx::prelude::*;

use super::arguments::{required, within};
use crate::engine::pausing::{self, Limits};
use crate::engine::rights;
use crate::error::Result;
use crate::store::value::QueueRow;
use crate::store::{Composite, enter};

/// Limits a queue; null is no limit.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn limit_queue(
    queue: Option<&str>,
    max_running: default!(Option<i32>, "NULL"),
    max_started: default!(Option<i32>, "NULL"),
    period: default!(Option<Interval>, "'1 minute'"),
    max_running_per_key: default!(Option<i32>, "NULL"),
    max_started_per_key: default!(Option<i32>, "NULL"),
) -> Composite<QueueRow> {
    enter(|session| {
        rights::may_operate(session)?;
        let limits = Limits {
            max_running: limit("max_running", max_running)?,
            max_running_per_key: limit("max_running_per_key", max_running_per_key)?,
            max_started: limit("max_started", max_started)?,
            max_started_per_key: limit("max_started_per_key", max_started_per_key)?,
            period: required("period", period)?,
        };
        pausing::limit_queue(required("queue", queue)?, &limits)
    })
}

/// Hands out nothing of a queue until it is resumed.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn pause_queue(queue: Option<&str>) {
    enter(|session| {
        rights::may_operate(session)?;
        pausing::pause_queue(required("queue", queue)?)
    })
}

/// Ends the pause of a queue.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn resume_queue(queue: Option<&str>) {
    enter(|session| {
        rights::may_operate(session)?;
        pausing::resume_queue(required("queue", queue)?)
    })
}

/// Hands out no task of a flow, in whatever queue, until it is resumed.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn pause_flow(flow_slug: Option<&str>) {
    enter(|session| {
        rights::may_look_after_flows(session)?;
        pausing::pause_flow(session, required("flow_slug", flow_slug)?)
    })
}

/// Ends the pause of a flow.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn resume_flow(flow_slug: Option<&str>) {
    enter(|session| {
        rights::may_look_after_flows(session)?;
        pausing::resume_flow(session, required("flow_slug", flow_slug)?)
    })
}

fn limit(argument: &str, value: Option<i32>) -> Result<Option<i32>> {
    value
        .map(|value| within(argument, value, 0..=i32::MAX))
        .transpose()
}
