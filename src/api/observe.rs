//! For those who watch: one run at a glance, and whether all invariants hold.

use pgrx::prelude::*;

use super::arguments::required;
use crate::engine::{observe, rights};
use crate::model::RunId;
use crate::store::{Json, enter, look};

/// A run with its steps, as one object.
#[pg_extern(schema = "pgflow", stable)]
#[search_path(pg_catalog, pg_temp)]
fn get_run(run_id: Option<RunId>) -> Json {
    look(|session| {
        rights::may_see(session, run_id)?;
        observe::get_run(required("run_id", run_id)?)
    })
}

/// Every violated invariant of the engine; `run_id` is null when it is about a definition.
#[pg_extern(schema = "pgflow", stable)]
#[search_path(pg_catalog, pg_temp)]
fn check_integrity()
-> TableIterator<'static, (name!(run_id, Option<RunId>), name!(problem, String))> {
    TableIterator::new(enter(|session| {
        rights::may_operate(session)?;
        observe::check_integrity()
    }))
}
