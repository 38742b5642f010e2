//! Heartbeats: who has asked which queue for tasks lately.
//!
//! A claim that names its worker keeps the worker's row fresh, once in ten seconds at most in each backend. It waits for
//! nobody: what it cannot have, it leaves. At REPEATABLE READ it writes nothing at all, since a heartbeat must not be
//! what such a transaction fails of. Nothing in the engine rests on heartbeats; they are for those who watch.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant as Clock};

use super::claim::Request;
use crate::error::Result;
use crate::statements;
use crate::store::{Session, door};

statements! {
    SEE_WORKER = "see_worker.sql",
    FORGET_WORKERS = "forget_workers.sql",
}

const HEARTBEAT: Duration = Duration::from_secs(10);
/// Seconds for which a worker that is not seen is remembered: a day.
const KEPT: f64 = 86_400.0;
/// A backend that sees a new worker forgets old ones, at most this often.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// An id longer than this, in bytes, does not fit into the index.
const LONGEST_ID: usize = 1000;
/// How many workers a backend remembers; then it starts afresh.
const REMEMBERED: usize = 1000;

struct Seen {
    at: Clock,
    /// What it got since then.
    tasks: i64,
}

#[derive(Default)]
struct Memory {
    /// By queue and worker.
    workers: HashMap<String, HashMap<String, Seen>>,
    swept: Option<Clock>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// A worker has asked for tasks and got so many.
pub fn seen(session: &Session, request: &Request, tasks: usize) -> Result<()> {
    let Some(worker_id) = request.worker_id else {
        return Ok(());
    };
    if worker_id.len() > LONGEST_ID || door::has_fixed_snapshot() {
        return Ok(());
    }
    let queue = request.lane.queue;
    let Some(tasks) = MEMORY.with_borrow_mut(|memory| memory.beat(queue, worker_id, tasks)) else {
        return Ok(());
    };
    let executor = request.lane.executor.as_str();
    let is_new = SEE_WORKER.first(
        &[&worker_id, &queue, &executor, &session.now, &tasks],
        |_| Ok(()),
    )?;
    if is_new.is_some() && MEMORY.with_borrow_mut(Memory::is_time_to_sweep) {
        sweep(session)?;
    }
    Ok(())
}

impl Memory {
    /// Counts the tasks of a worker. Returns how many it got in all when a heartbeat is due.
    fn beat(&mut self, queue: &str, worker_id: &str, tasks: usize) -> Option<i64> {
        let tasks = i64::try_from(tasks).unwrap_or_default();
        let known = (self.workers.get_mut(queue)).and_then(|workers| workers.get_mut(worker_id));
        let seen = match known {
            Some(seen) if seen.at.elapsed() < HEARTBEAT => {
                seen.tasks += tasks;
                return None;
            }
            Some(seen) => std::mem::replace(&mut seen.tasks, 0) + tasks,
            None => tasks,
        };
        if self.workers.values().map(HashMap::len).sum::<usize>() >= REMEMBERED {
            self.workers.clear();
        }
        let workers = self.workers.entry(queue.to_owned()).or_default();
        let now = Seen {
            at: Clock::now(),
            tasks: 0,
        };
        workers.insert(worker_id.to_owned(), now);
        Some(seen)
    }

    fn is_time_to_sweep(&mut self) -> bool {
        let is_time = self.swept.is_none_or(|at| at.elapsed() >= SWEEP_INTERVAL);
        if is_time {
            self.swept = Some(Clock::now());
        }
        is_time
    }
}

/// Forgets workers that were not seen for a day.
pub fn sweep(session: &Session) -> Result<()> {
    FORGET_WORKERS.execute(&[&session.now.plus_seconds(-KEPT)])
}
