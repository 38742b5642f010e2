//! The only place that tells the outside what happened.

use crate::model::{Executor, Step};
use crate::store::{latch, wake};

/// A task of the step is ready, or is due later, when the transaction commits.
pub fn task_queued(step: &Step, is_ready: bool) {
    if step.executor == Executor::Worker && is_ready {
        wake::at_commit(&step.queue);
    } else {
        // A delayed task of a worker too: waiting workers are told when it falls due.
        latch::set_at_commit();
    }
}

/// Tasks of a queue are ready for workers when the transaction commits.
pub fn tasks_ready(queue: &str) {
    wake::at_commit(queue);
}

/// Something that held tasks of a queue back does so no longer when the transaction commits.
pub fn queue_has_room(queue: &str) {
    wake::at_commit(queue);
    latch::set_at_commit();
}
