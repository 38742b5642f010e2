//! HTTP steps without a background worker: the transition itself rings the endpoint, through extension pg_net.
//!
//! With `pgflow.http_transport = 'pg_net'` a transaction that made HTTP tasks ready claims them just before it commits,
//! and hands each to its endpoint in a request that pg_net sends when the commit is done. The claim, the request and
//! whatever else the transaction did are one: a rollback rings nowhere.
//!
//! The ring is a doorbell. It carries the claimed task with its lease, like any request of executor `http`, and nobody
//! reads the answer: each counts as answered by 202. So the endpoint, or whoever it gives the work to, settles the task
//! by `complete_step_task` or `fail_step_task`. When a ring is lost the lease runs out, as that of any worker that died:
//! whoever sweeps the queue next makes the next attempt, and that rings again.
//!
//! **Who rings.** A lane is looked at, in the transaction that does so, when a task in it becomes ready or is settled,
//! when somebody claims from its queue, when a limit or a pause of it ends, and by `run_upkeep()`, which finds what fell
//! due by the clock; a background worker that is there does that on time. A look takes so many tasks at most, the next
//! settlement the next ones. It is a claim: it waits for nobody, and limits and pauses of the queue hold for it.
//!
//! **What goes wrong.** A ring that cannot be sent is a failed attempt, and one whose host is not allowed, or whose
//! target is no URL, fails for good. As long as there is no pg_net tasks wait, and so do they when the look itself fails,
//! as it may at REPEATABLE READ, when others have claimed from the queue since the snapshot was taken. None of it fails
//! the transition ([`crate::store::doorbell`]).

use super::aftermath::{self, Aftermath};
use super::claimed::{self, Claimed};
use super::http_tasks::{self, Request};
use super::settle::Verdict;
use super::walks::Lane;
use super::{expire, settle};
use crate::error::{Error, Result};
use crate::http;
use crate::model::Executor;
use crate::settings;
use crate::store::{Session, doorbell, pg_net, subtransaction};

/// What `step_tasks.worker_id` says of a task that was handed over so.
const WORKER_ID: &str = "pg_net";
/// How many tasks a look rings for.
const BATCH: i32 = 200;
/// How many of them it fails; each may take the lock of a run. The others are handed back.
const MOST_FAILURES: usize = 50;

/// Whether HTTP tasks are handed over so.
pub fn is_on() -> bool {
    settings::http_transport() == settings::HttpTransport::PgNet
}

/// There may be HTTP tasks in this queue to ring for when the transaction commits.
pub fn at_commit(queue: &str) {
    if is_on() {
        doorbell::at_commit(queue, |session, queue| ring(session, queue, 0).map(drop));
    }
}

/// Rings for the HTTP tasks of a queue that are ready. May lock so many runs for those whose last lease ran out. Returns
/// how many tasks it met.
pub fn ring(session: &Session, queue: &str, run_locks: usize) -> Result<usize> {
    let Some(post) = pg_net::find() else {
        return Err(Error::Conflict {
            message: "extension pg_net is missing",
            detail: "Its function net.http_post is to call HTTP steps, says pgflow.http_transport."
                .into(),
            hint: Some("Create the extension, or reset the setting."),
        });
    };
    let lane = Lane {
        queue,
        executor: Executor::Http,
    };
    let tasks = claimed::claim_within(session, lane, BATCH, 0, WORKER_ID, run_locks)?;
    let (settings, problem) = settings::http();
    let mut refused = Vec::new();
    let mut admitted = Vec::with_capacity(tasks.len());
    for task in &tasks {
        let target = task.step().target.as_deref().unwrap_or_default();
        match http::refusal(target, &settings.allowed_hosts) {
            Some(why) => refused.push((task, failure(why, false))),
            None => admitted.push(task),
        }
    }
    if let Some(problem) = problem.filter(|_| !refused.is_empty()) {
        settings::warn_of_hosts(&problem);
    }
    // Together or, if one of them cannot be sent, each by itself.
    let together =
        subtransaction::contain(|| admitted.iter().try_for_each(|task| send(task, post)));
    if together?.is_err() {
        for task in admitted {
            if let Err(why) = subtransaction::contain(|| send(task, post))? {
                refused.push((task, failure(why, true)));
            }
        }
    }
    fail(session, refused)?;
    Ok(tasks.len())
}

fn send(task: &Claimed, post: pg_net::Post) -> Result<()> {
    let Request {
        body, mut headers, ..
    } = http_tasks::request(task, 0)?;
    headers.extend(http::headers::unanswered());
    let (headers, parameters) = http_tasks::as_json(headers)?;
    let timeout_ms = task.step().timeout.saturating_mul(1000);
    let url = task.step().target.as_deref().unwrap_or_default();
    post.send(url, body, parameters, headers, timeout_ms);
    Ok(())
}

fn failure(message: String, retryable: bool) -> Verdict {
    Verdict::Fail {
        message,
        retryable,
        retry_after: None,
    }
}

/// Fails attempts at tasks that were just claimed, those whose run is free; hands the others back.
fn fail(session: &Session, failures: Vec<(&Claimed, Verdict)>) -> Result<()> {
    let mut aftermath = Aftermath::default();
    for (no, (task, verdict)) in failures.into_iter().enumerate() {
        let settled = if no < MOST_FAILURES {
            expire::settle_without_waiting(session, task.settlement(verdict), false)?
        } else {
            None
        };
        aftermath.append(match settled {
            Some(more) => more,
            None => settle::settle_unlocked(session, &[task.settlement(Verdict::Release)])?,
        });
    }
    aftermath::follow(session, aftermath, &mut 0)?;
    Ok(())
}
