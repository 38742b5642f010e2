//! What a background worker does each time it wakes, once.

use super::children;
use crate::error::Result;
use crate::statements;
use crate::store::{Instant, Session};

statements! {
    QUEUES_OF_FLOW_TASKS = "queues_of_flow_tasks.sql",
}

/// How many children are started for a queue before the next one has its turn.
const MAX_CHILDREN: i32 = 100;

/// Starts children and does errands. Returns when there is something to do again.
pub fn run(session: &Session) -> Result<Option<Instant>> {
    let mut is_busy = false;
    for queue in QUEUES_OF_FLOW_TASKS.query(&[&session.now], |row| row.get::<String>(1))? {
        is_busy |= children::start(session, &queue, MAX_CHILDREN)? > 0;
    }
    let errands = children::sweep(session)?;
    Ok(if is_busy { Some(session.now) } else { errands })
}
