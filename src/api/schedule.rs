//! For those who run flows by the clock.

use pgrx::prelude::*;

use super::arguments::required;
use crate::engine::{rights, schedule_flow};
use crate::store::value::ScheduleRow;
use crate::store::{Composite, Json, enter};

/// Runs a flow whenever a cron expression ticks in a time zone.
///
/// `catch_up` says what becomes of ticks that were missed while nothing ticked: `none` start a run, `one` does (the
/// latest), or `all` do. Runs are created by the role that made the schedule, and have its payload, priority and key.
///
/// The schedule of that name is replaced, and ticks from now on; equal arguments change nothing.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
#[allow(clippy::too_many_arguments)]
fn schedule_flow(
    name: Option<&str>,
    flow_slug: Option<&str>,
    cron: Option<&str>,
    payload: default!(Option<Json>, "'{}'"),
    time_zone: default!(Option<&str>, "'UTC'"),
    catch_up: default!(Option<&str>, "'none'"),
    priority: default!(Option<i32>, 0),
    key: default!(Option<&str>, "NULL"),
) -> Composite<ScheduleRow> {
    enter(|session| {
        rights::may_look_after_flows(session)?;
        let asked = schedule_flow::Schedule {
            name: required("name", name)?,
            flow_slug: required("flow_slug", flow_slug)?,
            cron: required("cron", cron)?,
            payload: required("payload", payload)?,
            time_zone: required("time_zone", time_zone)?,
            catch_up: required("catch_up", catch_up)?,
            priority: required("priority", priority)?,
            key,
        };
        schedule_flow::schedule_flow(session, &asked)
    })
}

/// Removes a schedule. Its runs stay.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn unschedule_flow(name: Option<&str>) {
    enter(|session| {
        rights::may_look_after_flows(session)?;
        schedule_flow::unschedule_flow(session, required("name", name)?)
    })
}
