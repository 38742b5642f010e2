//! The worker: claim a batch of tasks, do them, settle them and claim the next batch in one call.
//!
//! It may be killed at any moment. What it held then is handed out again when its lease ends, and a
//! result that comes too late is refused, because the lease it carries is no longer the task's. So a
//! step may be done more than once, but its result counts once; steps should bear being repeated.

use std::time::Duration;

use anyhow::Result;
use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, Row, Statement};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::steps;

/// Large enough to spare round trips, small enough that no worker sits on the others' work.
const BATCH: i32 = 10;

/// How long to wait for a notification. They are hints and none is sent when a retry falls due, so
/// an idle worker looks for itself this often.
const POLL: Duration = Duration::from_millis(250);

/// A claimed task: what is needed to do it and to settle it.
pub struct Task {
    run_id: Uuid,
    step_slug: String,
    task_index: i32,
    attempt: i32,
    input: Value,
    lease: i64,
}

impl Task {
    fn from_row(row: &Row) -> Result<Task> {
        Ok(Task {
            run_id: row.try_get("run_id")?,
            step_slug: row.try_get("step_slug")?,
            task_index: row.try_get("task_index")?,
            attempt: row.try_get("attempt")?,
            input: row.try_get("input")?,
            lease: row.try_get("lease")?,
        })
    }

    /// Does the task; its result is an element of the array that `settle_and_claim` takes.
    fn result(&self) -> Value {
        let mut result = json!({
            "run_id": self.run_id,
            "step_slug": self.step_slug,
            "task_index": self.task_index,
            "lease": self.lease,
        });
        match steps::perform(&self.step_slug, self.attempt, &self.input) {
            Ok(output) => result["output"] = output,
            Err(failure) => {
                result["error_message"] = failure.message.into();
                result["retryable"] = failure.retryable.into();
            }
        }
        result
    }
}

/// Works one queue until the process is killed or the connection breaks.
pub fn work(mut client: Client, queue: &str, name: &str) -> Result<()> {
    client.batch_execute("LISTEN pgflow_tasks")?;
    let claim = client.prepare(
        "SELECT run_id, step_slug, task_index, attempt, input, lease
         FROM pgflow.claim_step_tasks(queue => $1, max_tasks => $2, worker_id => $3)",
    )?;
    let settle_and_claim = client.prepare(
        "SELECT run_id, step_slug, task_index, attempt, input, lease
         FROM pgflow.settle_and_claim(results => $4, queue => $1, max_tasks => $2, worker_id => $3)",
    )?;

    let mut batch = tasks(client.query(&claim, &[&queue, &BATCH, &name])?)?;
    loop {
        while batch.is_empty() {
            batch = wait(&mut client, &claim, queue, name)?;
        }
        let results: Value = batch.iter().map(Task::result).collect();
        batch = tasks(client.query(&settle_and_claim, &[&queue, &BATCH, &name, &results])?)?;
    }
}

/// Waits for work, at most `POLL`, and returns what it claimed.
///
/// The shared lock says "somebody waits": the engine notifies only while it is held. Whatever became
/// ready before the lock was taken is found by the claim after it, so nothing is missed in between.
fn wait(client: &mut Client, claim: &Statement, queue: &str, name: &str) -> Result<Vec<Task>> {
    client.execute("SELECT pg_advisory_lock_shared(pgflow_locks.queue_key($1))", &[&queue])?;
    // Notifications that came while we were busy are old news.
    client.notifications().iter().count()?;

    let mut batch = tasks(client.query(claim, &[&queue, &BATCH, &name])?)?;
    if batch.is_empty() {
        client.notifications().timeout_iter(POLL).find(|hint| Ok(hint.payload() == queue))?;
        batch = tasks(client.query(claim, &[&queue, &BATCH, &name])?)?;
    }
    client.execute("SELECT pg_advisory_unlock_shared(pgflow_locks.queue_key($1))", &[&queue])?;
    Ok(batch)
}

fn tasks(rows: Vec<Row>) -> Result<Vec<Task>> {
    rows.iter().map(Task::from_row).collect()
}
