//! The background workers, which make a server with nothing else running complete. They call the engine and have no rules
//! of their own; without them everything but the executors they serve keeps working.
//!
//! ```text
//! postmaster ─ pgflow launcher           one a server, when the library is preloaded
//!                └─ pgflow main          one a database that has the extension
//!                     ├─ pgflow sql      some a database: each does one task of executor `sql` at a time
//!                     └─ (a thread)      HTTP requests of executor `http`; never touches PostgreSQL
//! ```
//!
//! **launcher** ([`launcher`]) is connected to no database. It begins a main for every database, which ends at once where
//! there is no extension, and begins it again when it ended otherwise.
//!
//! **main** ([`database`]) looks after everything that falls due: leases, timers, delays, schedules, timeouts, retention,
//! child runs. Every look is a transaction of its own and short; nothing that waits happens in it.
//!
//! **sql** ([`sql`]) claims tasks and calls their functions, each in a transaction that commits both.
//!
//! All of them sleep on their latch until the next thing they know of is due. Transactions that make something due wake
//! them when they commit ([`crate::store::latch`]). What fails is reported in the server's log and tried again; it ends no
//! loop. SIGTERM ends a process wherever it is, and those that it began with it.

#![allow(unsafe_code)]

mod database;
mod http;
mod launcher;
mod process;
mod sql;
mod utility_hook;

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use pgrx::bgworkers::{BackgroundWorkerBuilder, BgWorkerStartTime, DynamicBackgroundWorker};
use pgrx::prelude::*;
use pgrx::{IntoDatum, PgAtomic, pg_shmem_init, pg_sys};

use crate::error::{Error, Result};

/// What the ids of background workers begin with as they claim tasks; the number of the process follows.
const WORKER_ID: &str = "pgflow/";

/// The type of all these processes in `pg_stat_activity.backend_type`.
const TYPE: &str = "pgflow worker";

/// What is handed to a main that no launcher began: the transaction that created the extension may not be over.
const PATIENT: &str = "patient";

/// Counts what makes it worth while to look at every database again.
static CHANGES: PgAtomic<std::sync::atomic::AtomicU64> =
    // SAFETY: the name is used once.
    unsafe { PgAtomic::new(c"pgflow changes") };

/// Called when the library is loaded.
// The macro asks for versions of PostgreSQL that pgflow has no feature for.
#[allow(unexpected_cfgs)]
pub fn install() {
    // SAFETY: a variable of the postmaster.
    if unsafe { !pg_sys::process_shared_preload_libraries_in_progress } {
        return;
    }
    pg_shmem_init!(CHANGES);
    utility_hook::install();
    BackgroundWorkerBuilder::new("pgflow launcher")
        .set_type(TYPE)
        .set_library("pgflow")
        .set_function("pgflow_launcher")
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(Some(Duration::from_secs(1)))
        .load();
}

/// Begins the main of this database, for a server that does not preload the library: it runs until the server restarts.
pub fn start() -> Result<()> {
    // SAFETY: a variable of the backend.
    let database = unsafe { pg_sys::MyDatabaseId };
    let started = main_of(database)
        .set_restart_time(Some(Duration::from_secs(5)))
        .set_extra(PATIENT)
        .load_dynamic();
    started.map(drop).map_err(|_| Error::Conflict {
        message: "no background worker is free",
        detail: "All of max_worker_processes are in use.".into(),
        hint: Some("Raise max_worker_processes, which takes a restart of the server."),
    })
}

fn main_of(database: pg_sys::Oid) -> BackgroundWorkerBuilder {
    BackgroundWorkerBuilder::new("pgflow main")
        .set_type(TYPE)
        .set_library("pgflow")
        .set_function("pgflow_main")
        .set_argument(database.into_datum())
        .enable_spi_access()
        .set_start_time(BgWorkerStartTime::RecoveryFinished)
        .set_restart_time(None)
}

thread_local! {
    /// The processes that this one began and still cares for.
    static CHILDREN: RefCell<HashMap<u64, DynamicBackgroundWorker>> = RefCell::default();
}

/// A process that this one began. It ends with this one, if it has not been let go of.
struct Child(u64);

impl Child {
    /// Begins a process; nothing if no background worker is free.
    fn begin(builder: BackgroundWorkerBuilder) -> Option<Self> {
        // SAFETY: what PostgreSQL keeps of it must outlive the transaction, if there is one.
        let context = unsafe { pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext) };
        let begun = builder.set_notify_pid(process::pid()).load_dynamic();
        // SAFETY: as it was.
        unsafe { pg_sys::MemoryContextSwitchTo(context) };
        CHILDREN.with_borrow_mut(|children| {
            let id = children.keys().max().map_or(0, |last| last + 1);
            children.insert(id, begun.ok()?);
            Some(Self(id))
        })
    }

    fn has_ended(&self) -> bool {
        use pgrx::bgworkers::BackgroundWorkerStatus::Stopped;
        CHILDREN.with_borrow(|children| {
            (children.get(&self.0)).is_none_or(|child| matches!(child.pid(), Err(Stopped)))
        })
    }

    fn end(self) {
        if let Some(child) = CHILDREN.with_borrow_mut(|children| children.remove(&self.0)) {
            child.terminate();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        CHILDREN.with_borrow_mut(|children| children.remove(&self.0));
    }
}

/// Has the processes that this one begins end when it does.
fn end_children_at_exit() {
    process::at_exit(|| {
        CHILDREN.with(|children| {
            if let Ok(mut children) = children.try_borrow_mut() {
                for (_, child) in children.drain() {
                    child.terminate();
                }
            }
        });
    });
}
