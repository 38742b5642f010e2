//! A process that does the tasks of executor `sql`, one at a time.

use std::collections::HashMap;
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
/// A handler that takes less is quick.
const QUICK: Duration = Duration::from_millis(1);
/// How long the others of a batch wait for a slow one.
const PATIENCE: Duration = Duration::from_millis(50);
/// How many steps it remembers the pace of; then it starts afresh.
const REMEMBERED: usize = 1000;
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
        paces: HashMap::new(),
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
    /// How long a task of a step took lately.
    paces: HashMap<(String, String), Duration>,
}

impl Worker {
    /// Does some tasks. False if there were none.
    fn work(&mut self) -> Result<bool, Failure> {
        let mut tasks = self.claim()?;
        if tasks.is_empty() {
            return Ok(false);
        }
        tasks.sort_by(|a, b| step_of(a).cmp(&step_of(b)));
        let begun = Clock::now();
        let mut rest = tasks.as_slice();
        while !rest.is_empty() {
            if rest.len() < tasks.len() && begun.elapsed() > PATIENCE {
                transaction::run(|| door::act(|session| sql_tasks::release(session, rest)))?;
                break;
            }
            let (now, later) = rest.split_at(self.together(rest));
            self.perform(now);
            rest = later;
            process::heed_signals();
        }
        self.batch = if begun.elapsed() < PATIENCE {
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

    /// How many of the tasks share a transaction: those of one step, if it is quick.
    fn together(&self, tasks: &[Claimed]) -> usize {
        let step = tasks.first().map(step_of);
        let is_quick = step
            .and_then(|(flow, step)| self.paces.get(&(flow.to_owned(), step.to_owned())))
            .is_some_and(|pace| *pace < QUICK);
        let same = tasks.iter().take_while(|task| Some(step_of(task)) == step);
        if is_quick { same.count() } else { 1 }
    }

    /// Does tasks of one step.
    fn perform(&mut self, tasks: &[Claimed]) {
        let Some(task) = tasks.first() else { return };
        process::report(Some(&format!(
            "step {} of flow {}, run {}, task {}, attempt {}",
            task.step_slug, task.flow_slug, task.run_id, task.task_index, task.attempt
        )));
        let spent = match (self.clean_up(task)).and_then(|()| sql_tasks::perform(tasks)) {
            Ok(spent) => spent,
            Err(failure) => {
                // The lease ends, and the task is done again.
                log!(
                    "pgflow sql: step \"{}\" of run \"{}\" was left: {failure}",
                    task.step_slug,
                    task.run_id
                );
                return;
            }
        };
        if self.paces.len() >= REMEMBERED {
            self.paces.clear();
        }
        let pace = spent / u32::try_from(tasks.len()).unwrap_or(1);
        let step = (task.flow_slug.clone(), task.step_slug.clone());
        self.paces.insert(step, pace);
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

fn step_of(task: &Claimed) -> (&str, &str) {
    (&task.flow_slug, &task.step_slug)
}
