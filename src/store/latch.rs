//! The wake-up call to the background workers of this database.
//!
//! A background worker sleeps on its latch until the next thing it knows of falls due. A transaction that makes something
//! due for it sets that latch when it has committed: nothing is written, no lock is taken, and nothing is paid where no
//! background worker runs but a look at the list of processes, once a second at most.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use pgrx::{PgXactCallbackEvent, pg_sys, register_xact_callback};

/// How long the list of processes found is believed. A worker that began since looks around by itself.
const BELIEVED: Duration = Duration::from_secs(1);

struct Found {
    at: Instant,
    /// Positions in the server's array of processes.
    positions: Vec<usize>,
}

thread_local! {
    static FOUND: RefCell<Option<Found>> = const { RefCell::new(None) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Sets the latches of the background workers when this transaction commits.
pub fn set_at_commit() {
    if !REGISTERED.replace(true) {
        register_xact_callback(PgXactCallbackEvent::Commit, || {
            REGISTERED.set(false);
            set();
        });
        register_xact_callback(PgXactCallbackEvent::Abort, forget);
        // Whoever commits a prepared transaction is another session; the workers find it when they look.
        register_xact_callback(PgXactCallbackEvent::Prepare, forget);
    }
}

fn forget() {
    REGISTERED.set(false);
}

/// Sets the latches now. Takes no lock and raises no error, so it may run when the transaction is over.
fn set() {
    FOUND.with_borrow_mut(|found| {
        let found = match found {
            Some(found) if found.at.elapsed() < BELIEVED => found,
            _ => found.insert(Found {
                at: Instant::now(),
                positions: background_workers(),
            }),
        };
        for &position in &found.positions {
            // SAFETY: the array lives as long as the server; setting the latch of another process than was meant wakes
            // it for nothing.
            unsafe {
                let process = process(position);
                if is_background_worker(process) {
                    pg_sys::SetLatch(&raw mut (*process).procLatch);
                }
            }
        }
    });
}

fn background_workers() -> Vec<usize> {
    // SAFETY: the array of processes in shared memory, read without a lock: what changes meanwhile is looked at again
    // before it is used.
    unsafe {
        let count = (*pg_sys::ProcGlobal).allProcCount as usize;
        (0..count)
            .filter(|&position| is_background_worker(process(position)))
            .collect()
    }
}

unsafe fn process(position: usize) -> *mut pg_sys::PGPROC {
    // SAFETY: the caller's position is below allProcCount.
    unsafe { (*pg_sys::ProcGlobal).allProcs.add(position) }
}

/// Whether the process is a background worker in this database: one of pgflow, or of some other extension.
unsafe fn is_background_worker(process: *mut pg_sys::PGPROC) -> bool {
    // SAFETY: reads three fields.
    unsafe {
        #[cfg(feature = "pg18")]
        let is_worker = !(*process).isRegularBackend;
        #[cfg(not(feature = "pg18"))]
        let is_worker = (*process).isBackgroundWorker;
        is_worker && (*process).pid != 0 && (*process).databaseId == pg_sys::MyDatabaseId
    }
}
