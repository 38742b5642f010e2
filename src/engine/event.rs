//! The only place that tells the outside what happened.

use super::doorbell;
use super::walks::Lane;
use crate::model::{Executor, Step};
use crate::store::{latch, wake};

/// A task of the step is ready, or is due later, when the transaction commits.
pub fn task_queued(step: &Step, is_ready: bool) {
    if is_ready {
        tasks_ready(Lane::of(step));
    } else {
        // For workers too: those that wait are told when it falls due.
        latch::set_at_commit();
    }
}

/// Something that is no task falls due for the background workers when the transaction commits, or later.
pub fn upkeep_due() {
    latch::set_at_commit();
}

/// Tasks of an executor in a queue are ready when the transaction commits.
pub fn tasks_ready(lane: Lane) {
    if lane.executor == Executor::Worker {
        wake::at_commit(lane.queue);
    } else {
        latch::set_at_commit();
        if lane.executor == Executor::Http {
            doorbell::at_commit(lane.queue);
        }
    }
}

/// A task of the step was settled: the next ones of its queue may have waited for that.
pub fn task_settled(step: &Step) {
    if step.executor == Executor::Http {
        doorbell::at_commit(&step.queue);
    }
}

/// Somebody claimed from the queue, and has swept what is due there.
pub fn claimed(lane: Lane) {
    if lane.executor == Executor::Worker {
        doorbell::at_commit(lane.queue);
    }
}

/// Something that held tasks of a queue back does so no longer when the transaction commits.
pub fn queue_has_room(queue: &str) {
    wake::at_commit(queue);
    latch::set_at_commit();
    doorbell::at_commit(queue);
}
