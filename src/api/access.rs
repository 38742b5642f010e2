//! For those who say who may do what, and what the policies of the tables ask.

use pgrx::prelude::*;

use super::arguments::required;
use crate::engine::{grants, rights};
use crate::store::{RoleName, enter};

/// Gives a role a capability.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn grant_access(role: Option<RoleName>, capability: Option<&str>) {
    enter(|session| {
        rights::may_grant_access(session)?;
        let role = required("role", role)?;
        grants::grant_access(session, &role.0, required("capability", capability)?)
    });
}

/// Takes a capability from a role.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn revoke_access(role: Option<RoleName>, capability: Option<&str>) {
    enter(|session| {
        rights::may_grant_access(session)?;
        let role = required("role", role)?;
        grants::revoke_access(session, &role.0, required("capability", capability)?)
    });
}

/// Lets a role run a flow.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn grant_run(flow_slug: Option<&str>, role: Option<RoleName>) {
    enter(|session| {
        rights::may_look_after_flows(session)?;
        let flow_slug = required("flow_slug", flow_slug)?;
        grants::grant_run(session, flow_slug, &required("role", role)?.0)
    });
}

/// No longer lets a role run a flow.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn revoke_run(flow_slug: Option<&str>, role: Option<RoleName>) {
    enter(|session| {
        rights::may_look_after_flows(session)?;
        let flow_slug = required("flow_slug", flow_slug)?;
        grants::revoke_run(session, flow_slug, &required("role", role)?.0)
    });
}

/// Lets a role serve a queue.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn grant_queue(queue: Option<&str>, role: Option<RoleName>) {
    enter(|session| {
        rights::may_operate(session)?;
        let queue = required("queue", queue)?;
        grants::grant_queue(session, queue, &required("role", role)?.0)
    });
}

/// No longer lets a role serve a queue.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn revoke_queue(queue: Option<&str>, role: Option<RoleName>) {
    enter(|session| {
        rights::may_operate(session)?;
        let queue = required("queue", queue)?;
        grants::revoke_queue(queue, &required("role", role)?.0)
    });
}

/// Lets a role complete an external step.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn grant_step(flow_slug: Option<&str>, step_slug: Option<&str>, role: Option<RoleName>) {
    enter(|session| {
        rights::may_look_after_flows(session)?;
        let flow_slug = required("flow_slug", flow_slug)?;
        let step_slug = required("step_slug", step_slug)?;
        grants::grant_step(session, flow_slug, step_slug, &required("role", role)?.0)
    });
}

/// No longer lets a role complete an external step.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn revoke_step(flow_slug: Option<&str>, step_slug: Option<&str>, role: Option<RoleName>) {
    enter(|session| {
        rights::may_look_after_flows(session)?;
        let flow_slug = required("flow_slug", flow_slug)?;
        let step_slug = required("step_slug", step_slug)?;
        grants::revoke_step(session, flow_slug, step_slug, &required("role", role)?.0)
    });
}

/// Whether the caller sees all rows.
#[pg_extern(schema = "pgflow", stable)]
#[search_path(pg_catalog, pg_temp)]
fn sees_everything() -> bool {
    enter(rights::is_operator)
}

/// The roles whose runs the caller sees.
#[pg_extern(schema = "pgflow", stable)]
#[search_path(pg_catalog, pg_temp)]
fn seen_creators() -> Vec<String> {
    enter(rights::seen_creators)
}

/// The user of an API gateway to whose runs the caller is limited.
#[pg_extern(schema = "pgflow", stable)]
#[search_path(pg_catalog, pg_temp)]
fn on_behalf_of() -> Option<String> {
    enter(|_| rights::on_behalf_of())
}

/// The flows that the caller looks after as their owner.
#[pg_extern(schema = "pgflow", stable)]
#[search_path(pg_catalog, pg_temp)]
fn owned_flows() -> Vec<String> {
    enter(rights::owned_flows)
}

/// The flows that the caller owns or was granted to run.
#[pg_extern(schema = "pgflow", stable)]
#[search_path(pg_catalog, pg_temp)]
fn runnable_flows() -> Vec<String> {
    enter(rights::runnable_flows)
}

/// The queues that the caller may claim from.
#[pg_extern(schema = "pgflow", stable)]
#[search_path(pg_catalog, pg_temp)]
fn served_queues() -> Vec<String> {
    enter(rights::served_queues)
}

// Where these are asked: policies are made when the functions exist.
extension_sql_file!(
    "../../sql/policies.sql",
    name = "policies",
    requires = [
        "schedules",
        "queues",
        "http",
        "events",
        "children",
        "grants",
        sees_everything,
        seen_creators,
        on_behalf_of,
        owned_flows,
        runnable_flows,
        served_queues
    ]
);
