//! For workers: claim, settle, extend, release.

use pgrx::prelude::*;

use super::arguments::{required, seconds, within};
use crate::engine::claim::{self, MAX_TASKS};
use crate::engine::receipt::{self, TaskKey};
use crate::engine::results;
use crate::engine::rights;
use crate::engine::settle::{self, Settlement, Verdict};
use crate::engine::walks::Lane;
use crate::engine::{MAX_RUN_LOCKS, extend};
use crate::error::{Error, Result, quoted};
use crate::model::{Executor, RunId};
use crate::store::value::{ClaimedTask, TaskReceipt};
use crate::store::{Composite, Json, Rows, Session, enter};

/// Hands out ready tasks of a queue, each with a lease.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn claim_step_tasks(
    queue: Option<&str>,
    max_tasks: default!(Option<i32>, 10),
    lease_seconds: default!(Option<i32>, "NULL"),
    worker_id: default!(Option<&str>, "NULL"),
) -> Rows<ClaimedTask> {
    Rows::from(enter(|session| {
        rights::may_claim(session, queue)?;
        claim::claim(
            session,
            &claim_request(queue, max_tasks, lease_seconds, worker_id)?,
        )
    }))
}

/// Completes a claimed task with its output.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn complete_step_task(
    run_id: Option<RunId>,
    step_slug: Option<&str>,
    output: default!(Option<Json>, "NULL"),
    task_index: default!(Option<i32>, 0),
    lease: default!(Option<i64>, "NULL"),
) -> Composite<TaskReceipt> {
    enter(|session| {
        let task = rights::if_settler(session, task_key(run_id, step_slug, task_index))?;
        settle_one(session, task, lease, Verdict::Complete(output))
    })
}

/// Fails an attempt at a claimed task.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn fail_step_task(
    run_id: Option<RunId>,
    step_slug: Option<&str>,
    error_message: Option<&str>,
    task_index: default!(Option<i32>, 0),
    lease: default!(Option<i64>, "NULL"),
    retryable: default!(Option<bool>, true),
    retry_after: default!(Option<i32>, "NULL"),
) -> Composite<TaskReceipt> {
    enter(|session| {
        let task = rights::if_settler(session, task_key(run_id, step_slug, task_index))?;
        let verdict = Verdict::Fail {
            message: required("error_message", error_message)?.to_owned(),
            retryable: required("retryable", retryable)?,
            retry_after: seconds("retry_after", retry_after, 0)?,
        };
        settle_one(session, task, lease, verdict)
    })
}

/// Lets the lease of a claimed task run from now on.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn extend_step_task(
    run_id: Option<RunId>,
    step_slug: Option<&str>,
    task_index: default!(Option<i32>, 0),
    lease: default!(Option<i64>, "NULL"),
    lease_seconds: default!(Option<i32>, "NULL"),
) -> Composite<TaskReceipt> {
    enter(|session| {
        let task = rights::if_settler(session, task_key(run_id, step_slug, task_index))?;
        let lease_seconds = seconds("lease_seconds", lease_seconds, 1)?;
        rights::may_settle_one(
            session,
            &Settlement {
                task: task.clone(),
                lease,
                verdict: Verdict::Release,
            },
        )?;
        receipt::of_one(&extend::extend(session, task, lease, lease_seconds)?)
    })
}

/// Hands a claimed task back; the attempt is not burnt.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn release_step_task(
    run_id: Option<RunId>,
    step_slug: Option<&str>,
    task_index: default!(Option<i32>, 0),
    lease: default!(Option<i64>, "NULL"),
) -> Composite<TaskReceipt> {
    enter(|session| {
        let task = rights::if_settler(session, task_key(run_id, step_slug, task_index))?;
        settle_one(session, task, lease, Verdict::Release)
    })
}

/// Settles up to 1,000 claimed tasks of any number of runs in one pass.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn settle_step_tasks(results: Option<Json>) -> Rows<TaskReceipt> {
    Rows::from(enter(|session| {
        let results = rights::if_settler(session, required("results", results))?;
        let batch = results::read(results)?;
        receipt::rows(&results::settle(session, batch, &mut { MAX_RUN_LOCKS })?)
    }))
}

/// Settles claimed tasks and claims the next ones of a queue.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn settle_and_claim(
    results: Option<Json>,
    queue: Option<&str>,
    max_tasks: default!(Option<i32>, 10),
    lease_seconds: default!(Option<i32>, "NULL"),
    worker_id: default!(Option<&str>, "NULL"),
) -> Rows<ClaimedTask> {
    Rows::from(enter(|session| {
        rights::may_claim(session, queue)?;
        let mut request = claim_request(queue, max_tasks, lease_seconds, worker_id)?;
        let batch = results::read(required("results", results)?)?;
        if batch.is_empty() {
            return claim::claim(session, &request);
        }
        results::settle(session, batch, &mut request.run_locks)?;
        // Settling may have waited for locks, and leases last from when they are given.
        claim::claim(&session.later(), &request)
    }))
}

fn claim_request<'a>(
    queue: Option<&'a str>,
    max_tasks: Option<i32>,
    lease_seconds: Option<i32>,
    worker_id: Option<&'a str>,
) -> Result<claim::Request<'a>> {
    let queue = required("queue", queue)?;
    if queue.is_empty() || queue.chars().count() > 128 {
        return Err(Error::invalid_with_hint(
            format!("queue {} is out of range", quoted(queue)),
            "A queue's name has 1 to 128 characters.",
        ));
    }
    Ok(claim::Request {
        lane: Lane {
            queue,
            executor: Executor::Worker,
        },
        max_tasks: within(
            "max_tasks",
            required("max_tasks", max_tasks)?,
            0..=MAX_TASKS,
        )?,
        lease_seconds: seconds("lease_seconds", lease_seconds, 1)?,
        grace: 0,
        worker_id,
        run_locks: MAX_RUN_LOCKS,
    })
}

fn task_key(
    run_id: Option<RunId>,
    step_slug: Option<&str>,
    task_index: Option<i32>,
) -> Result<TaskKey> {
    Ok(TaskKey {
        run_id: required("run_id", run_id)?,
        step_slug: required("step_slug", step_slug)?.to_owned(),
        task_index: required("task_index", task_index)?,
    })
}

fn settle_one(
    session: &Session,
    task: TaskKey,
    lease: Option<i64>,
    verdict: Verdict,
) -> Result<Composite<TaskReceipt>> {
    let settlement = Settlement {
        task,
        lease,
        verdict,
    };
    rights::may_settle_one(session, &settlement)?;
    receipt::of_one(&settle::settle(session, &[settlement])?)
}
