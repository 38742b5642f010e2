//! Executor `flow`: a task that is done by a run of another flow, its child.
//!
//! [`start`] claims the ready flow tasks of a queue and starts their children in the same transaction, so a started flow
//! task always has its child, whatever dies when. How the two end each other is a matter of [`super::aftermath`].
//!
//! A child takes over the key, the priority and the creator of its parent, and the task's input is its payload. A task
//! whose child cannot be started fails for good: no such flow, a payload that it cannot take, too deep a nesting. If its
//! run fails by that and is a child itself, so does the task that waits for that run.

use std::collections::{BTreeMap, HashMap};

use super::MAX_RUN_LOCKS;
pub use super::aftermath::sweep;
use super::aftermath::{self, Aftermath, PATIENCE};
use super::claim::{self, Claimed};
use super::receipt::TaskKey;
use super::rights;
use super::run_flow::{self, Parents, Request};
use super::settle::{Settlement, Verdict};
use super::walks::Lane;
use crate::error::{Error, Result, quoted};
use crate::model::{Executor, RunId};
use crate::settings;
use crate::statements;
use crate::store::subtransaction::{self, PROGRAM_LIMIT_EXCEEDED};
use crate::store::{JsonArray, Session, latch, lock};

statements! {
    FLOW_TASKS = "flow_tasks.sql",
    TASK_INPUTS = "task_inputs.sql",
    VERSION_IS_BUSY = "version_is_busy.sql",
    RELEASE_TASKS = "release_tasks.sql",
    FLOW_OWNER = "flow_owner.sql",
}

/// A flow task that was just claimed.
struct Task {
    claimed: Claimed,
    target: String,
    /// The flow that it is a task of, and who owns that.
    flow_slug: String,
    owner: String,
    priority: i32,
    /// How many runs its own run is nested in.
    depth: i32,
}

/// Claims up to `max_tasks` flow tasks of a queue and starts their children. Returns how many it claimed.
pub fn start(session: &Session, queue: &str, max_tasks: i32) -> Result<usize> {
    let claimed = claim::claim_keys(
        session,
        &claim::Request {
            lane: Lane {
                queue,
                executor: Executor::Flow,
            },
            max_tasks,
            lease_seconds: None,
            grace: 0,
            worker_id: None,
            run_locks: MAX_RUN_LOCKS / 4,
        },
    )?;
    let count = claimed.len();
    if count == 0 {
        return Ok(0);
    }
    let mut outcome = Outcome::default();
    let mut by_target: BTreeMap<String, Vec<Task>> = BTreeMap::new();
    let mut may_run = HashMap::new();
    for task in with_targets(claimed)? {
        let deepest = settings::max_flow_depth();
        if task.depth >= deepest {
            let message = format!(
                "flow {} is nested too deep: pgflow.max_flow_depth is {deepest}",
                quoted(&task.target)
            );
            outcome.failed.push((task, message));
        } else if !may_run_child(&task, &mut may_run)? {
            let message = format!(
                "role {}, the owner of flow {}, may not run flow {}",
                quoted(&task.owner),
                quoted(&task.flow_slug),
                quoted(&task.target)
            );
            outcome.failed.push((task, message));
        } else {
            by_target.entry(task.target.clone()).or_default().push(task);
        }
    }
    let run_locks = MAX_RUN_LOCKS / 4 / by_target.len().max(1);
    for (target, tasks) in by_target {
        start_runs(session, &target, tasks, run_locks, &mut outcome)?;
    }
    outcome.settle(session)?;
    Ok(count)
}

/// What is left of claimed tasks whose children were not started.
#[derive(Default)]
struct Outcome {
    failed: Vec<(Task, String)>,
    /// To be tried again: something that they need is not free.
    later: Vec<Task>,
}

fn with_targets(claimed: Vec<Claimed>) -> Result<Vec<Task>> {
    let (ids, slugs, _) = keys(claimed.iter());
    let found = FLOW_TASKS.query(&[&ids, &slugs], |row| {
        Ok((
            row.opt::<String>(1),
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.opt::<String>(5),
        ))
    })?;
    Ok((claimed.into_iter().zip(found))
        .map(
            |(claimed, (target, priority, depth, flow_slug, owner))| Task {
                claimed,
                target: target.unwrap_or_default(),
                flow_slug,
                owner: owner.unwrap_or_default(),
                priority,
                depth,
            },
        )
        .collect())
}

/// Whether the owner of a task's flow may run the flow that the task is done by. One that does not exist is said to be
/// unknown later.
fn may_run_child(task: &Task, known: &mut HashMap<(String, String), bool>) -> Result<bool> {
    let key = (task.owner.clone(), task.target.clone());
    if let Some(&may_run) = known.get(&key) {
        return Ok(may_run);
    }
    let may_run = match FLOW_OWNER.first(&[&task.target], |row| row.get::<String>(1))? {
        None => true,
        Some(owner) => owner == task.owner || rights::role_may_run(&task.owner, &task.target)?,
    };
    known.insert(key, may_run);
    Ok(may_run)
}

/// Starts the children of tasks that have the same target.
fn start_runs(
    session: &Session,
    target: &str,
    tasks: Vec<Task>,
    run_locks: usize,
    outcome: &mut Outcome,
) -> Result<()> {
    // Whoever defines the flow just now is not waited for: the claim holds rows that others wait for.
    if VERSION_IS_BUSY.first(&[&target], |row| row.get(1))? == Some(true) {
        outcome.later.extend(tasks);
        return Ok(());
    }
    let started = subtransaction::attempt(&[PROGRAM_LIMIT_EXCEEDED], || {
        let (ids, slugs, indexes) = keys(tasks.iter().map(|task| &task.claimed));
        let payloads = TASK_INPUTS
            .first(&[&ids, &slugs, &indexes], |row| row.get::<JsonArray>(1))?
            .ok_or_else(|| Error::Internal("tasks have no inputs".into()))?;
        let request = Request {
            flow_slug: target,
            payloads,
            idempotency_keys: Vec::new(),
            priority: 0,
            start_at: None,
            key: None,
            creator: None,
            parents: Some(Parents {
                leases: tasks.iter().map(|task| task.claimed.lease).collect(),
                priorities: tasks.iter().map(|task| task.priority).collect(),
                run_ids: ids,
                step_slugs: slugs,
                task_indexes: indexes,
                run_locks,
            }),
        };
        run_flow::run_flow(session, &request).map(drop)
    });
    let reason = match started {
        Ok(Ok(())) => return Ok(()),
        // Too large for one statement, or one of them is too large at all.
        Ok(Err(_)) if tasks.len() > 1 => {
            let run_locks = run_locks / tasks.len();
            for task in tasks {
                start_runs(session, target, vec![task], run_locks, outcome)?;
            }
            return Ok(());
        }
        Ok(Err(reason)) => format!("the input is too large: {reason}"),
        Err(Error::Internal(reason)) => return Err(Error::Internal(reason)),
        // Every input is an object, so what the flow refuses in one it refuses in all.
        Err(refusal) => format!("flow {} cannot be run: {refusal}", quoted(target)),
    };
    (outcome.failed).extend(tasks.into_iter().map(|task| (task, reason.clone())));
    Ok(())
}

impl Outcome {
    fn settle(mut self, session: &Session) -> Result<()> {
        let mut by_run: BTreeMap<RunId, Vec<(Task, String)>> = BTreeMap::new();
        for (task, message) in self.failed {
            let run = task.claimed.task.run_id;
            by_run.entry(run).or_default().push((task, message));
        }
        let mut aftermath = Aftermath::default();
        for (locked, (run, failed)) in by_run.into_iter().enumerate() {
            let batch: Vec<_> = failed.iter().map(failure).collect();
            let is_free = locked < MAX_RUN_LOCKS / 4 && lock::try_lock_run(run);
            match is_free.then(|| aftermath::settle_if_free_of(session, &batch)) {
                Some(settled) => match settled? {
                    Some(mut more) => {
                        more.end_for_good(|ended| ended == run);
                        aftermath.append(more);
                    }
                    None => self.later.extend(failed.into_iter().map(|(task, _)| task)),
                },
                None => self.later.extend(failed.into_iter().map(|(task, _)| task)),
            }
        }
        give_back(session, &self.later)?;
        aftermath::follow(session, aftermath, &mut { MAX_RUN_LOCKS / 4 })?;
        Ok(())
    }
}

fn failure((task, message): &(Task, String)) -> Settlement {
    Settlement {
        task: task.claimed.task.clone(),
        lease: Some(task.claimed.lease),
        verdict: Verdict::Fail {
            message: message.clone(),
            retryable: false,
            retry_after: None,
        },
    }
}

/// Queues the same attempts again, for a little later.
fn give_back(session: &Session, tasks: &[Task]) -> Result<()> {
    if tasks.is_empty() {
        return Ok(());
    }
    let (ids, slugs, indexes) = keys(tasks.iter().map(|task| &task.claimed));
    let attempts: Vec<_> = tasks.iter().map(|task| task.claimed.attempt).collect();
    let later = session.now.plus_seconds(PATIENCE);
    RELEASE_TASKS.execute(&[&ids, &slugs, &indexes, &attempts, &later])?;
    latch::set_at_commit();
    Ok(())
}

fn keys<'a>(claimed: impl Iterator<Item = &'a Claimed>) -> (Vec<RunId>, Vec<String>, Vec<i32>) {
    super::receipt::columns(claimed.map(|claimed: &'a Claimed| -> &'a TaskKey { &claimed.task }))
}
