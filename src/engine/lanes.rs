//! What there is to do for the background workers: which queues have something due, and when the next thing is.

use super::walks::Lane;
use crate::error::Result;
use crate::model::Executor;
use crate::statements;
use crate::store::Instant;

statements! {
    OPEN_LANES = "open_lanes.sql",
}

/// What waits in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Tasks that are ready.
    Ready,
    /// Tasks that are ready later; the first at this time.
    Delayed(Instant),
    /// Tasks that are under way: leases, external steps with a timeout, timers; the first is over at this time.
    Started(Instant),
}

/// An executor in a queue, and what waits there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    pub queue: String,
    /// Any, when it is about what is under way: that is looked after for all executors of a queue together.
    pub executor: Executor,
    pub waiting: Waiting,
}

impl Open {
    pub fn lane(&self) -> Lane<'_> {
        Lane {
            queue: &self.queue,
            executor: self.executor,
        }
    }
}

/// Everything that waits, but what is ready for workers and what never falls due.
pub fn open() -> Result<Vec<Open>> {
    OPEN_LANES.query(&[], |row| {
        let at = row.opt::<Instant>(3);
        Ok(Open {
            queue: row.get(1)?,
            executor: super::definitions::executor(&row.get::<String>(2)?)?,
            waiting: match row.get::<String>(4)?.as_str() {
                "ready" => Waiting::Ready,
                "delayed" => Waiting::Delayed(at.unwrap_or(Instant::INFINITY)),
                _ => Waiting::Started(at.unwrap_or(Instant::INFINITY)),
            },
        })
    })
}
