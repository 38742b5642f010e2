//! The only place that tells the outside what happened.

use crate::store::wake;

/// Tasks of a queue become ready when the transaction commits.
pub fn tasks_ready(queue: &str) {
    wake::at_commit(queue);
}
