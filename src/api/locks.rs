//! The advisory locks, for those who look after a database or write a worker.

use pgrx::prelude::*;

use super::arguments::required;
use crate::engine::rights;
use crate::model::RunId;
use crate::store::{enter, lock};

/// The key of a run's advisory lock.
#[pg_extern(schema = "pgflow_locks", immutable, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
fn run_key(run_id: RunId) -> i64 {
    lock::run_key(run_id)
}

/// The key of the advisory lock under which workers wait for tasks of a queue.
#[pg_extern(schema = "pgflow_locks", immutable, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
fn queue_key(queue: &str) -> i64 {
    lock::queue_key(queue)
}

/// The key of the advisory lock under which listeners hear of changes.
#[pg_extern(schema = "pgflow_locks", immutable, parallel_safe)]
#[search_path(pg_catalog, pg_temp)]
fn events_key() -> i64 {
    lock::events_key()
}

/// Takes a run's lock until the transaction ends: nothing moves the run meanwhile.
#[pg_extern(schema = "pgflow_locks")]
#[search_path(pg_catalog, pg_temp)]
fn lock_run(run_id: Option<RunId>) {
    enter(|session| {
        rights::may_operate(session)?;
        lock::lock_runs([required("run_id", run_id)?]);
        Ok(())
    })
}
