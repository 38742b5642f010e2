//! pgflow: durable DAG workflows inside PostgreSQL.
//!
//! [`api`] is the door: SQL functions, one file per audience. [`engine`] holds the transitions, one file per arrow of
//! the state diagram. [`model`] holds the rules, in plain Rust. [`store`] is the only place that speaks to PostgreSQL,
//! but for [`background`], the processes that call the engine by themselves.
//! [`http`] is the HTTP client of the background worker, [`picture`] draws flows and runs. What is stored stands in `sql/`.

// Tests may fail loudly.
#![cfg_attr(
    any(test, feature = "pg_test"),
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

use pgrx::prelude::*;

mod api;
mod background;
mod engine;
mod error;
mod http;
mod model;
mod picture;
mod settings;
mod store;

pgrx::pg_module_magic!(name, version);

/// What pgrx must know of to accept `schema = "…"`; `sql/schema.sql` creates them first, without IF NOT EXISTS.
#[pg_schema]
mod pgflow {}
#[pg_schema]
mod pgflow_locks {}

extension_sql_file!("../sql/schema.sql", name = "schema", bootstrap);
extension_sql_file!(
    "../sql/definitions.sql",
    name = "definitions",
    requires = ["schema"]
);
extension_sql_file!(
    "../sql/runtime.sql",
    name = "runtime",
    requires = ["definitions"]
);
extension_sql_file!(
    "../sql/schedules.sql",
    name = "schedules",
    requires = ["runtime"]
);
extension_sql_file!("../sql/queues.sql", name = "queues", requires = ["runtime"]);
extension_sql_file!(
    "../sql/pictures.sql",
    name = "pictures",
    requires = ["schema"]
);
extension_sql_file!("../sql/http.sql", name = "http", requires = ["runtime"]);
extension_sql_file!("../sql/events.sql", name = "events", requires = ["runtime"]);
extension_sql_file!(
    "../sql/children.sql",
    name = "children",
    requires = ["runtime"]
);
extension_sql_file!(
    "../sql/realtime.sql",
    name = "realtime",
    requires = ["definitions"]
);
extension_sql_file!("../sql/grants.sql", name = "grants", requires = ["runtime"]);
extension_sql_file!(
    "../sql/postgrest.sql",
    name = "postgrest",
    requires = ["runtime"]
);
// `held` calls `run_key`.
extension_sql_file!(
    "../sql/views.sql",
    name = "views",
    requires = ["runtime", run_key]
);
extension_sql_file!("../sql/stats.sql", name = "stats", requires = ["queues"]);
extension_sql_file!("../sql/access.sql", name = "access", finalize);

#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::register();
    store::planner::install();
    background::install();
}

/// Asked for by `cargo pgrx test`.
#[cfg(test)]
pub mod pg_test {
    pub fn setup(_options: Vec<&str>) {}

    pub fn postgresql_conf_options() -> Vec<&'static str> {
        Vec::new()
    }
}
