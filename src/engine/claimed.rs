//! Tasks in the hands of a background worker: claimed, and handed back when it does not come to them.

use std::collections::HashMap;
use std::rc::Rc;

use super::receipt::TaskKey;
use super::runs::Run;
use super::settle::{self, Settlement, Verdict};
use super::walks::Lane;
use super::{MAX_RUN_LOCKS, claim, define};
use crate::error::{Error, Result};
use crate::model::{Definition, RunId, Step, StepNo};
use crate::store::{Instant, Json, KeptJson, Session};

/// A task that a background worker has claimed. It outlives the transaction of the claim.
pub struct Claimed {
    pub run_id: RunId,
    pub definition: Rc<Definition>,
    pub flow_owner: String,
    step: StepNo,
    pub task_index: i32,
    pub attempt: i32,
    pub input: KeptJson,
    pub lease: i64,
    pub lease_expires_at: Instant,
}

impl Claimed {
    pub fn step(&self) -> &Step {
        &self.definition.steps[self.step]
    }

    pub fn flow_slug(&self) -> &str {
        &self.definition.flow_slug
    }

    /// The step, in a version of a flow.
    pub fn step_key(&self) -> (i64, StepNo) {
        (self.definition.id, self.step)
    }

    pub fn settlement(&self, verdict: Verdict) -> Settlement {
        Settlement {
            task: TaskKey {
                run_id: self.run_id,
                step_slug: self.step().slug.clone(),
                task_index: self.task_index,
            },
            lease: Some(self.lease),
            verdict,
        }
    }
}

/// Claims tasks for a background worker, with leases that outlast the timeout of their step by `grace` seconds; to be called
/// in a transaction.
pub fn claim(
    session: &Session,
    lane: Lane,
    max_tasks: i32,
    grace: i32,
    worker_id: &str,
) -> Result<Vec<Claimed>> {
    claim_within(session, lane, max_tasks, grace, worker_id, MAX_RUN_LOCKS)
}

/// [`claim`] for a transaction that has done something before: it may lock so many runs.
pub fn claim_within(
    session: &Session,
    lane: Lane,
    max_tasks: i32,
    grace: i32,
    worker_id: &str,
    run_locks: usize,
) -> Result<Vec<Claimed>> {
    let request = claim::Request {
        lane,
        max_tasks,
        lease_seconds: None,
        grace,
        worker_id: Some(worker_id),
        run_locks,
    };
    let lacks = || Error::Internal("a claimed task lacks a field".into());
    let mut owners: HashMap<String, String> = HashMap::new();
    claim::claim(session, &request)?
        .iter()
        .map(|task| {
            let run_id = task.field(1).ok_or_else(lacks)?;
            let step_slug: String = task.field(3).ok_or_else(lacks)?;
            let definition = Run::find(run_id)?.definition;
            let flow_owner = match owners.get(&definition.flow_slug) {
                Some(owner) => owner.clone(),
                None => define::owner(&definition.flow_slug)?,
            };
            owners.insert(definition.flow_slug.clone(), flow_owner.clone());
            Ok(Claimed {
                run_id,
                step: (definition.step_no(&step_slug))
                    .ok_or_else(|| Error::step_not_found(&step_slug))?,
                definition,
                flow_owner,
                task_index: task.field(4).ok_or_else(lacks)?,
                attempt: task.field(5).ok_or_else(lacks)?,
                input: task.field::<Json>(6).ok_or_else(lacks)?.keep(),
                lease: task.field(7).ok_or_else(lacks)?,
                lease_expires_at: task.field(8).ok_or_else(lacks)?,
            })
        })
        .collect()
}

/// Hands tasks back that were not begun; to be called in a transaction.
pub fn release(session: &Session, tasks: &[Claimed]) -> Result<()> {
    let batch: Vec<_> = (tasks.iter())
        .map(|task| task.settlement(Verdict::Release))
        .collect();
    settle::settle(session, &batch).map(drop)
}
