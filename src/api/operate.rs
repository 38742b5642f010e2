//! For operators: upkeep.

use pgrx::datum::Interval;
use pgrx::prelude::*;

use super::arguments::{required, within};
use crate::engine::{prune_runs, upkeep};
use crate::store::{Instant, enter};

/// Deletes old runs and returns how many.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn prune_runs(older_than: Option<Interval>, max_runs: default!(Option<i32>, 10000)) -> i64 {
    enter(|session| {
        let max_runs = within("max_runs", required("max_runs", max_runs)?, 0..=i32::MAX)?;
        prune_runs::prune_runs(session, required("older_than", older_than)?, max_runs)
    })
}

/// Does what the background worker does, once, and returns when there is something to do again.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn run_upkeep() -> Option<Instant> {
    enter(upkeep::run)
}
