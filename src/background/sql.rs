//! A process that does the tasks of executor `sql`, one at a time.

use std::time::{Duration, Instant as Clock};

use pgrx::prelude::*;
use pgrx::{FromDatum, pg_sys};

use super::process;
use crate::engine::lanes::{self, Waiting};
use crate::engine::sql_tasks::{self, Claimed};
use crate::engine::walks::Lane;
use crate::model::Executor;
use crate::statements;
use crate::store::transaction::{self, Failure};
use crate::store::{door, has_extension};

statements! {
    CLOSE_CURSORS = "close_cursors.sql",
    DISCARD_TEMPORARY_TABLES = "discard_temporary_tables.sql",
    DEALLOCATE_STATEMENTS = "deallocate_statements.sql",
    FORGET_CHANNELS = "forget_channels.sql",
    UNLOCK_ALL = "unlock_all.sql",
}

/// How many tasks it claims at once, as long as they are quick; those that have to wait are handed back.
const MOST_TASKS: i32 = 32;
/// A batch that took longer is not quick.
const QUICK: Duration = Duration::from_millis(20);
/// How long the others of a batch wait for a slow one.
const PATIENCE: Duration = Duration::from_millis(50);
/// After so many batches of one queue it looks for others.
const BATCHES: u32 = 8;
/// It is woken when there is something to do; this is how often it looks whether it still has a main.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

#[pg_guard]
#[unsafe(no_mangle)]
pub extern "C-unwind" fn pgflow_sql(database: pg_sys::Datum) {
    process::take_signals();
    // SAFETY: the argument is what `Helper::begin` made of it.
    let database = unsafe { pg_sys::Oid::from_datum(database, false) };
    process::connect(database);
    let main = pgrx::bgworkers::BackgroundWorker::get_extra()
        .parse()
        .unwrap_or(0);
    let mut worker = Worker {
        id: format!("{}{}", super::WORKER_ID, process::pid()),
        batch: 1,
        queue: None,
        batches: 0,
        owner: None,
    };
    while process::is_alive(main) {
        process::heed_signals();
        match worker.work() {
            Ok(true) => {}
            Ok(false) => {
                process::report(None);
                process::sleep(LONGEST_SLEEP, None);
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
    /// The queue that it took tasks from last, and how many batches.
    queue: Option<String>,
    batches: u32,
    /// The role whose handler ran last.
    owner: Option<String>,
}

impl Worker {
    /// Does some tasks. False if there were none.
    fn work(&mut self) -> Result<bool, Failure> {
        let tasks = self.claim()?;
        if tasks.is_empty() {
            return Ok(false);
        }
        let begun = Clock::now();
        for (done, task) in tasks.iter().enumerate() {
            if done > 0 && begun.elapsed() > PATIENCE {
                let rest = &tasks[done..];
                transaction::run(|| door::act(|session| sql_tasks::release(session, rest)))?;
                break;
            }
            process::report(Some(&format!(
                "step {} of flow {}, run {}, task {}, attempt {}",
                task.step_slug, task.flow_slug, task.run_id, task.task_index, task.attempt
            )));
            self.perform(task);
            process::heed_signals();
        }
        self.batch = if begun.elapsed() < QUICK {
            (self.batch * 2).min(MOST_TASKS)
        } else {
            1
        };
        Ok(true)
    }

    /// Claims from the queue it is at, or from the next one that has tasks.
    fn claim(&mut self) -> Result<Vec<Claimed>, Failure> {
        process::report(Some("claiming"));
        if let Some(queue) = self.queue.take_if(|_| self.batches < BATCHES) {
            let tasks = self.claim_from(&queue)?;
            if !tasks.is_empty() {
                self.batches += 1;
                self.queue = Some(queue);
                return Ok(tasks);
            }
        }
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
        for queue in queues {
            let tasks = self.claim_from(&queue)?;
            if !tasks.is_empty() {
                self.batches = 1;
                self.queue = Some(queue);
                return Ok(tasks);
            }
        }
        Ok(Vec::new())
    }

    fn claim_from(&self, queue: &str) -> Result<Vec<Claimed>, Failure> {
        let lane = Lane {
            queue,
            executor: Executor::Sql,
        };
        transaction::run(|| {
            // A claim that is lost with the server is only a task that is claimed again.
            process::commit_without_waiting();
            door::act(|session| sql_tasks::claim(session, lane, self.batch, &self.id))
        })
    }

    fn perform(&mut self, task: &Claimed) {
        let ended = (self.clean_up(task)).and_then(|()| sql_tasks::perform(task));
        if let Err(failure) = ended {
            // The lease ends, and the task is done again.
            log!(
                "pgflow sql: step \"{}\" of run \"{}\" was left: {failure}",
                task.step_slug,
                task.run_id
            );
        }
    }

    /// What the handlers of one role leave in the session is not for another one's.
    fn clean_up(&mut self, task: &Claimed) -> Result<(), Failure> {
        if self.owner.as_ref() == Some(&task.flow_owner) {
            return Ok(());
        }
        if self.owner.replace(task.flow_owner.clone()).is_none() {
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
        })
    }
}
