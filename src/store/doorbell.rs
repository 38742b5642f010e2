//! What a transaction does for its queues just before it commits.
//!
//! The queues are gathered while it lasts; the work on them comes behind everything else, deferred triggers included, and
//! so behind every lock that the transaction waits for. It runs with search_path pinned, since no function of pgflow is
//! under way, and behind the door. It may fail without failing the transaction: what it did for that queue is undone, and
//! the client is told by a warning. A prepared transaction does none of it, because nobody knows when it will commit.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use pgrx::{PgXactCallbackEvent, pg_sys, register_xact_callback, warning};

use super::door::{self, Session};
use super::pinned::Pinned;
use super::{notices, subtransaction, wake};
use crate::error::Result;

/// The work on a queue.
pub type Ring = fn(&Session, queue: &str) -> Result<()>;

/// The work on a queue may be what gathers the next. After so many rounds they are left to other transactions.
const ROUNDS: usize = 4;

thread_local! {
    static QUEUES: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Has `ring` done for a queue just before this transaction commits.
pub fn at_commit(queue: &str, ring: Ring) {
    QUEUES.with_borrow_mut(|queues| {
        if !queues.contains(queue) {
            queues.insert(queue.to_owned());
        }
    });
    if !REGISTERED.replace(true) {
        register_xact_callback(PgXactCallbackEvent::PreCommit, move || ring_all(ring));
        register_xact_callback(PgXactCallbackEvent::Commit, forget);
        register_xact_callback(PgXactCallbackEvent::Abort, forget);
        register_xact_callback(PgXactCallbackEvent::Prepare, forget);
    }
}

fn forget() {
    REGISTERED.set(false);
    QUEUES.with_borrow_mut(BTreeSet::clear);
}

fn ring_all(ring: Ring) {
    // SAFETY: pushed and popped in pairs; an error ends the transaction, and the snapshot with it.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    let pinned = Pinned::settings();
    for _ in 0..ROUNDS {
        let queues = QUEUES.take();
        if queues.is_empty() {
            break;
        }
        for queue in queues {
            let rung =
                subtransaction::shield(|| door::act_for_itself(|session| ring(session, &queue)));
            if let Err(undone) = rung
                && !undone.by_others
            {
                let reason = undone.message;
                warning!("HTTP steps of queue \"{queue}\" were not called: {reason}");
            }
        }
    }
    pinned.give_back();
    // SAFETY: what was pushed above.
    unsafe { pg_sys::PopActiveSnapshot() };
    // Whoever waits for what became ready meanwhile, or listens: the callbacks that tell them may have run already.
    wake::notify_waiting();
    notices::notify();
}
