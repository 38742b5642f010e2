//! For operators: upkeep.

use pgrx::datum::Interval;
use pgrx::prelude::*;

use super::arguments::{required, within};
use crate::background;
use crate::engine::realtime::{self, Audience};
use crate::engine::{prune_runs, retention, rights, upkeep};
use crate::store::{Instant, enter};

/// Deletes old runs and returns how many.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn prune_runs(older_than: Option<Interval>, max_runs: default!(Option<i32>, 10000)) -> i64 {
    enter(|session| {
        rights::may_operate(session)?;
        let max_runs = within("max_runs", required("max_runs", max_runs)?, 0..=i32::MAX)?;
        prune_runs::prune_runs(session, required("older_than", older_than)?, max_runs)
    })
}

/// Keeps the runs of a flow for some time after their end, and no longer; null keeps them for ever.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn set_retention(flow_slug: Option<&str>, keep: Option<Interval>) {
    enter(|session| {
        rights::may_define(session)?;
        retention::set_retention(session, required("flow_slug", flow_slug)?, keep)
    })
}

/// Publishes the changes of a flow's runs and steps, or does so no longer.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn set_realtime(
    flow_slug: Option<&str>,
    enabled: default!(Option<bool>, true),
    private: default!(Option<bool>, true),
) {
    enter(|session| {
        rights::may_define(session)?;
        let private = required("private", private)?;
        let mode = required("enabled", enabled)?.then_some(if private {
            Audience::Private
        } else {
            Audience::Public
        });
        realtime::set_realtime(session, required("flow_slug", flow_slug)?, mode)
    })
}

/// Adds the tables of runs and steps to a publication of logical replication.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn publish(publication: Option<&str>, with_tasks: default!(Option<bool>, false)) {
    enter(|session| {
        rights::may_operate(session)?;
        let with_tasks = required("with_tasks", with_tasks)?;
        realtime::publish(session, required("publication", publication)?, with_tasks)
    })
}

/// Does once what the background worker does, for servers that have none, and returns when there is something to do next.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn run_upkeep() -> Option<Instant> {
    enter(|session| {
        rights::may_operate(session)?;
        upkeep::run(session)
    })
}

/// Starts the background workers of this database.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn start_background() {
    enter(|session| {
        rights::may_operate(session)?;
        background::start()
    });
}
