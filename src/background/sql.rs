//! A process that does the tasks of executor `sql`, one at a time.

use std::collections::HashMap;
use std::time::{Duration, Instant as Clock};

use pgrx::prelude::*;
use pgrx::{FromDatum, pg_sys};

use super::process;
use crate::engine::claimed::{self, Claimed};
use crate::engine::lanes::{self, Waiting};
use crate::engine::limits;
use crate::engine::sql_tasks;
use crate::engine::walks::Lane;
use crate::model::{Executor, StepNo};
use crate::settings;
use crate::statements;
use crate::store::transaction::{self, Failure};
use crate::store::{Instant, door, has_extension};

statements! {
    CLOSE_CURSORS = "close_cursors.sql",
    DISCARD_TEMPORARY_TABLES = "discard_temporary_tables.sql",
    DEALLOCATE_STATEMENTS = "deallocate_statements.sql",
    FORGET_CHANNELS = "forget_channels.sql",
    UNLOCK_ALL = "unlock_all.sql",
}

/// How many tasks it claims at once; those that would have to wait for slow ones are handed back.
const MOST_TASKS: i32 = 32;
/// A handler that takes less is quick.
const QUICK: Duration = Duration::from_millis(1);
/// How long the others of a batch wait for a slow one.
const PATIENCE: Duration = Duration::from_millis(50);
/// How many steps it remembers the pace of; then it starts afresh.
const REMEMBERED: usize = 1000;
/// How long a batch of quick ones may take: what becomes ready in another queue waits for its end.
const LONGEST_BATCH: Duration = Duration::from_millis(15);
/// After so long at one queue it looks for others: when it was woken meanwhile, because something became ready somewhere, and
/// in any case.
const TURN_WHEN_WOKEN: Duration = Duration::from_millis(10);
const TURN: Duration = Duration::from_millis(100);
/// It is woken when there is something to do; this is how often it looks whether it still has a main, in seconds.
const LONGEST_SLEEP: f64 = 5.0;
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pgflow_sql(database: pg_sys::Datum) {
    process::take_signals();
    // SAFETY: the argument is what `Helper::begin` made of it.
    let database = unsafe { pg_sys::Oid::from_datum(database, false) };
    process::connect(database);
    // What `Helper::begin` handed over: the process that began this one, and its number among those.
    let extra = pgrx::bgworkers::BackgroundWorker::get_extra();
    let (main, number) = extra.split_once(' ').unwrap_or_default();
    let (main, number) = (main.parse().unwrap_or(0), number.parse().unwrap_or(0));
    let mut worker = Worker {
        id: format!("{}{}", super::WORKER_ID, process::pid()),
        batch: 1,
        queue: None,
        at_queue_since: Clock::now(),
        seen: Vec::new(),
        failed: HashMap::new(),
        owner: None,
        paces: HashMap::new(),
    };
    loop {
        process::heed_signals();
        if !process::is_alive(main) || number >= settings::workers_per_database() {
            return;
        }
        match worker.work() {
            Ok(None) => {}
            Ok(Some(next)) => {
                process::report(None);
                process::sleep_until(next, None);
            }
            Err(failure) => {
                log!("pgflow sql: {failure}");
                process::report(None);
                process::sleep(PAUSE_AFTER_FAILURE, None);
            }
        }
    }
}

struct Worker {
    id: String,
    /// How many tasks it claims next.
    batch: i32,
    /// The queue that it took tasks from last, and since when it is at it.
    queue: Option<String>,
    at_queue_since: Clock,
    /// The queues that had tasks ready when it looked last.
    seen: Vec<String>,
    /// Queues that could not be claimed from, and when that was tried.
    failed: HashMap<String, Clock>,
    /// The role whose handler ran last.
    owner: Option<String>,
    /// How long a task of a step took lately.
    paces: HashMap<(i64, StepNo), Duration>,
}

impl Worker {
    /// Does some tasks. If there were none, returns when to look again.
    fn work(&mut self) -> Result<Option<Instant>, Failure> {
        let mut tasks = self.claim()?;
        if tasks.is_empty() {
            return self.next_room().map(Some);
        }
        // Quick ones, and behind them one that may take long: others like it would wait here while another worker is idle.
        tasks.sort_by_key(|task| (!self.is_quick(task), task.step_key()));
        let quick = tasks.iter().filter(|task| self.is_quick(task)).count();
        let (mut rest, slow) = tasks.split_at(tasks.len().min(quick + 1));
        let kept = rest.len();
        if !slow.is_empty() {
            release(slow);
        }
        let begun = Clock::now();
        while !rest.is_empty() {
            if rest.len() < kept && begun.elapsed() > PATIENCE {
                release(rest);
                break;
            }
            let together = self.together(rest);
            let done = self.perform(&rest[..together]);
            rest = &rest[done..];
            process::heed_signals();
        }
        let kept = i32::try_from(kept).unwrap_or(MOST_TASKS);
        let took = begun.elapsed();
        self.batch = if took > PATIENCE {
            1
        } else if took > LONGEST_BATCH {
            (kept / 2).max(1)
        } else if took < LONGEST_BATCH / 2 && slow.is_empty() {
            (self.batch * 2).min(MOST_TASKS)
        } else {
            kept
        };
        Ok(None)
    }

    /// Claims from the queue it is at, or from the next one that has tasks.
    fn claim(&mut self) -> Result<Vec<Claimed>, Failure> {
        process::report(Some("claiming"));
        let at_queue = self.at_queue_since.elapsed();
        let goes_on = at_queue < TURN_WHEN_WOKEN || (at_queue < TURN && !process::is_woken());
        if let Some(queue) = self.queue.take_if(|_| goes_on) {
            let tasks = self.claim_from(&queue);
            if !tasks.is_empty() {
                self.queue = Some(queue);
                return Ok(tasks);
            }
        }
        // Before it looks: what is ready later than that wakes it again.
        process::forget_wake_up();
        let mut queues: Vec<String> = transaction::run(|| {
            door::act(|_| {
                if !has_extension() {
                    return Ok(Vec::new());
                }
                lanes::open()
            })
        })?
        .into_iter()
        .filter(|open| open.executor == Executor::Sql && open.waiting == Waiting::Ready)
        .map(|open| open.queue)
        .collect();
        // The one after the last comes first.
        if let Some(last) = &self.queue {
            queues.sort_unstable_by_key(|queue| (queue <= last, queue.clone()));
        }
        self.seen.clone_from(&queues);
        for queue in queues {
            let tasks = self.claim_from(&queue);
            if !tasks.is_empty() {
                self.at_queue_since = Clock::now();
                self.queue = Some(queue);
                return Ok(tasks);
            }
        }
        Ok(Vec::new())
    }

    /// When queues that have tasks ready but hand out none of them may do so again.
    fn next_room(&self) -> Result<Instant, Failure> {
        transaction::run(|| {
            door::act(|session| {
                let pause = if self.failed.is_empty() {
                    LONGEST_SLEEP
                } else {
                    PAUSE_AFTER_FAILURE.as_secs_f64()
                };
                let mut next = session.now.plus_seconds(pause);
                for queue in &self.seen {
                    next = next.min(limits::next_room(session, queue)?.unwrap_or(next));
                }
                Ok(next)
            })
        })
    }

    /// Claims from a queue; nothing for a while if that failed, so that the others go on.
    fn claim_from(&mut self, queue: &str) -> Vec<Claimed> {
        let failed_at = self.failed.get(queue);
        if failed_at.is_some_and(|at| at.elapsed() < PAUSE_AFTER_FAILURE) {
            return Vec::new();
        }
        self.failed.remove(queue);
        self.try_claim_from(queue).unwrap_or_else(|failure| {
            log!("pgflow sql: queue \"{queue}\": {failure}");
            self.failed.insert(queue.to_owned(), Clock::now());
            Vec::new()
        })
    }

    fn try_claim_from(&self, queue: &str) -> Result<Vec<Claimed>, Failure> {
        let lane = Lane {
            queue,
            executor: Executor::Sql,
        };
        transaction::run(|| {
            // A claim that is lost with the server is only a task that is claimed again; but see `perform`.
            process::commit_without_waiting();
            door::act(|session| {
                claimed::claim(session, lane, self.batch, sql_tasks::GRACE, &self.id)
            })
        })
    }

    /// How many of the tasks share a transaction: those of one step, if it is quick.
    fn together(&self, tasks: &[Claimed]) -> usize {
        let Some(first) = tasks.first() else { return 0 };
        let same = (tasks.iter()).take_while(|task| task.step_key() == first.step_key());
        if self.is_quick(first) {
            same.count()
        } else {
            1
        }
    }

    /// Whether the step of a task is known to be quick.
    fn is_quick(&self, task: &Claimed) -> bool {
        (self.paces.get(&task.step_key())).is_some_and(|pace| *pace < QUICK)
    }

    /// Does tasks of one step, and returns how many of them it came to.
    fn perform(&mut self, tasks: &[Claimed]) -> usize {
        let Some(task) = tasks.first() else { return 0 };
        process::report(Some(&format!(
            "step {} of flow {}, run {}, task {}, attempt {}",
            task.step().slug,
            task.flow_slug(),
            task.run_id,
            task.task_index,
            task.attempt
        )));
        if !self.paces.contains_key(&task.step_key()) {
            // Whatever the handler does to the server, the attempt is to be burnt; later on it has shown what it does.
            process::wait_for_disk();
        }
        let performed = (self.clean_up(task)).and_then(|()| sql_tasks::perform(tasks, PATIENCE));
        let (done, spent) = match performed {
            Ok(performed) => performed,
            Err(failure) => {
                // The lease ends, and the task is done again.
                log!(
                    "pgflow sql: step \"{}\" of run \"{}\" was left: {failure}",
                    task.step().slug,
                    task.run_id
                );
                return 1;
            }
        };
        if self.paces.len() >= REMEMBERED {
            self.paces.clear();
        }
        let pace = spent / u32::try_from(done).unwrap_or(1).max(1);
        self.paces.insert(task.step_key(), pace);
        done
    }

    /// What the handlers of one role leave in the session is not for another one's.
    fn clean_up(&mut self, task: &Claimed) -> Result<(), Failure> {
        if self.owner.as_ref() == Some(&task.flow_owner) {
            return Ok(());
        }
        if self.owner.is_none() {
            self.owner = Some(task.flow_owner.clone());
            return Ok(());
        }
        transaction::run(|| {
            door::act(|_| {
                CLOSE_CURSORS.execute(&[])?;
                DISCARD_TEMPORARY_TABLES.execute(&[])?;
                DEALLOCATE_STATEMENTS.execute(&[])?;
                FORGET_CHANNELS.execute(&[])?;
                UNLOCK_ALL.execute(&[])
            })
        })?;
        // Not before: what could not be cleaned up stays the former role's.
        self.owner = Some(task.flow_owner.clone());
        Ok(())
    }
}

/// Hands tasks back that were not begun. If that fails, their leases end by themselves.
fn release(tasks: &[Claimed]) {
    let released = transaction::run(|| door::act(|session| claimed::release(session, tasks)));
    if let Err(failure) = released {
        log!("pgflow sql: {} tasks were left: {failure}", tasks.len());
    }
}
