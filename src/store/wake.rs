//! The wake-up call to workers that wait.
//!
//! NOTIFY takes a database-wide lock at commit, so a busy system must not pay for it. A worker that found nothing holds
//! its queue's advisory lock in share mode while it waits; just before a commit that made tasks ready, each queue's lock
//! is tried once, and only a refusal leads to a notification. It is a hint: a worker that misses one polls.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::{CString, c_char};

use pgrx::{PgXactCallbackEvent, pg_sys, register_xact_callback};

use super::lock;

/// The channel; the payload is the queue.
const CHANNEL: &std::ffi::CStr = c"pgflow_tasks";

thread_local! {
    static QUEUES: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Remembers that tasks of a queue become ready when this transaction commits.
pub fn at_commit(queue: &str) {
    QUEUES.with_borrow_mut(|queues| {
        if !queues.contains(queue) {
            queues.insert(queue.to_owned());
        }
    });
    if !REGISTERED.replace(true) {
        register_xact_callback(PgXactCallbackEvent::PreCommit, notify_waiting);
        register_xact_callback(PgXactCallbackEvent::Commit, forget);
        register_xact_callback(PgXactCallbackEvent::Abort, forget);
        // A prepared transaction cannot notify; its workers poll.
        register_xact_callback(PgXactCallbackEvent::Prepare, forget);
    }
}

fn forget() {
    REGISTERED.set(false);
    QUEUES.with_borrow_mut(BTreeSet::clear);
}

/// Sends what is to be sent; done by itself before the commit.
pub(super) fn notify_waiting() {
    for queue in QUEUES.take() {
        if lock::has_waiting_worker(&queue) {
            notify(&queue);
        }
    }
}

fn notify(queue: &str) {
    unsafe extern "C-unwind" {
        fn Async_Notify(channel: *const c_char, payload: *const c_char);
    }
    let Ok(payload) = CString::new(queue) else {
        return;
    };
    // SAFETY: both strings outlive the call, which copies them.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| Async_Notify(CHANNEL.as_ptr(), payload.as_ptr()));
    }
}
