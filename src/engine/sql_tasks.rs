//! The tasks of executor `sql`: claimed by a background worker, done by a function of the flow's owner.
//!
//! A claim commits first, so that whatever a handler does to the server burns an attempt. A second transaction commits what
//! the handler did together with the task's completion, or neither. If the completion is refused, because the lease is no
//! longer the task's or the run has ended, everything is rolled back. Tasks of one step whose handler is known to be quick
//! share that transaction: most of the time that they take is waiting for the disk. If one of them fails, all of it is
//! rolled back, and each is done by itself.

use std::cell::Cell;
use std::collections::HashMap;
use std::time::{Duration, Instant as Clock};

use super::MAX_RUN_LOCKS;
use super::claim;
use super::define;
use super::receipt::TaskKey;
use super::runs::Run;
use super::settle::{self, Settlement, Verdict};
use super::walks::Lane;
use crate::error::{Error, Result, quoted};
use crate::model::problem::{Fault, Problem, Problems};
use crate::model::shape::StepShape;
use crate::model::{FunctionName, RunId};
use crate::store::handler::{self, Unfit};
use crate::store::transaction::{self, Failure};
use crate::store::{Json, KeptJson, Session, door, role};

/// How many seconds the lease of a task outlasts its step's timeout: the handler is cancelled first.
const GRACE: i32 = 30;

/// A task that a background worker has claimed.
pub struct Claimed {
    pub run_id: RunId,
    pub flow_slug: String,
    pub flow_version: i32,
    pub flow_owner: String,
    pub step_slug: String,
    pub task_index: i32,
    pub attempt: i32,
    pub input: KeptJson,
    pub lease: i64,
}

impl Claimed {
    pub fn settlement(&self, verdict: Verdict) -> Settlement {
        Settlement {
            task: TaskKey {
                run_id: self.run_id,
                step_slug: self.step_slug.clone(),
                task_index: self.task_index,
            },
            lease: Some(self.lease),
            verdict,
        }
    }
}

/// Claims tasks in the name of a background worker; to be called in a transaction.
pub fn claim(
    session: &Session,
    lane: Lane,
    max_tasks: i32,
    worker_id: &str,
) -> Result<Vec<Claimed>> {
    let request = claim::Request {
        lane,
        max_tasks,
        lease_seconds: None,
        grace: GRACE,
        worker_id: Some(worker_id),
        run_locks: MAX_RUN_LOCKS,
    };
    let lacks = || Error::Internal("a claimed task lacks a field".into());
    let mut owners: HashMap<String, String> = HashMap::new();
    claim::claim(session, &request)?
        .iter()
        .map(|task| {
            let run_id = task.field(1).ok_or_else(lacks)?;
            let flow_slug: String = task.field(2).ok_or_else(lacks)?;
            let flow_owner = match owners.get(&flow_slug) {
                Some(owner) => owner.clone(),
                None => define::owner(&flow_slug)?,
            };
            owners.insert(flow_slug.clone(), flow_owner.clone());
            Ok(Claimed {
                run_id,
                flow_version: Run::find(run_id)?.definition.version,
                flow_owner,
                flow_slug,
                step_slug: task.field(3).ok_or_else(lacks)?,
                task_index: task.field(4).ok_or_else(lacks)?,
                attempt: task.field(5).ok_or_else(lacks)?,
                input: task.field::<Json>(6).ok_or_else(lacks)?.keep(),
                lease: task.field(7).ok_or_else(lacks)?,
            })
        })
        .collect()
}

/// Does claimed tasks of one step in one transaction; if anything is wrong with one of them, nothing of it is done, and each
/// is done by itself. Returns the time spent in handlers.
pub fn perform(tasks: &[Claimed]) -> std::result::Result<Duration, Failure> {
    let spent = Cell::new(Duration::ZERO);
    match (tasks, perform_together(tasks, &spent)) {
        (_, Undone::Not) => {}
        ([task], Undone::Refused) => {
            // Refused once more if someone else has the task; a handler that ended its own run still has it.
            fail(
                task,
                "the handler's own doing ended the task before it was completed",
            )?;
        }
        ([task], Undone::Failed(failure)) => fail(task, &failure.to_string())?,
        (tasks, _) => {
            for task in tasks {
                spent.set(spent.get() + perform(std::slice::from_ref(task))?);
            }
        }
    }
    Ok(spent.get())
}

/// Why a transaction was rolled back.
enum Undone {
    Not,
    /// The completion of a task was refused.
    Refused,
    Failed(Failure),
}

fn perform_together(tasks: &[Claimed], spent: &Cell<Duration>) -> Undone {
    let refused = Cell::new(false);
    let mut session = None;
    let mut handler: Option<Handler> = None;
    let done = transaction::run(|| {
        let mut batch = Vec::with_capacity(tasks.len());
        for task in tasks {
            let handler = match &handler {
                Some(handler) if handler.flow_version == task.flow_version => handler,
                _ => handler.insert(door::act(|_| Handler::of(task))?),
            };
            session.get_or_insert_with(|| handler::Session::begin(handler.owner));
            let begun = Clock::now();
            let output = handler::call(handler.function, task.input.json(), handler.timeout);
            spent.set(spent.get() + begun.elapsed());
            batch.push(task.settlement(Verdict::Complete(output)));
        }
        let receipts = door::act(|session| settle::settle(session, &batch))?;
        refused.set(receipts.iter().any(|receipt| !receipt.accepted));
        if refused.get() {
            return Err(Error::conflict(
                "task is not yours",
                "It was taken over, or its run has ended.",
            ));
        }
        Ok(())
    });
    // After the commit: triggers that were deferred to it are the handler's work too.
    drop(session);
    match done {
        Ok(()) => Undone::Not,
        Err(_) if refused.get() => Undone::Refused,
        Err(failure) => Undone::Failed(failure),
    }
}

fn fail(task: &Claimed, message: &str) -> std::result::Result<(), Failure> {
    let settlement = task.settlement(Verdict::Fail {
        message: message.to_owned(),
        retryable: true,
        retry_after: None,
    });
    transaction::run(|| door::act(|session| settle::settle(session, &[settlement]).map(drop)))
}

/// Hands tasks back that were not begun; to be called in a transaction.
pub fn release(session: &Session, tasks: &[Claimed]) -> Result<()> {
    let batch: Vec<_> = tasks
        .iter()
        .map(|task| task.settlement(Verdict::Release))
        .collect();
    settle::settle(session, &batch).map(drop)
}

/// What does the tasks of a step.
struct Handler {
    flow_version: i32,
    owner: handler::Role,
    function: handler::Function,
    /// The seconds it may take.
    timeout: i32,
}

impl Handler {
    fn of(task: &Claimed) -> Result<Self> {
        let run = Run::find(task.run_id)?;
        let step = (run.definition.step_no(&task.step_slug))
            .map(|no| &run.definition.steps[no])
            .ok_or_else(|| Error::step_not_found(&task.step_slug))?;
        let owner = owner(&task.flow_slug)?;
        let function = find(owner, step.target.as_deref().unwrap_or_default())?
            .map_err(|fault| Error::invalid_with_hint(fault.message, fault.hint))?;
        Ok(Self {
            flow_version: run.definition.version,
            owner,
            function,
            timeout: step.timeout,
        })
    }
}

fn owner(flow_slug: &str) -> Result<handler::Role> {
    let name = define::owner(flow_slug)?;
    role::by_name(&name)?.ok_or_else(|| Error::Denied {
        object: format!("flow {}", quoted(flow_slug)),
        detail: format!("Its owner, role {}, does not exist.", quoted(&name)),
    })
}

/// The function that a target names; an error when the flow's owner may not have it called.
fn find(
    owner: handler::Role,
    target: &str,
) -> Result<std::result::Result<handler::Function, Fault>> {
    let name = match FunctionName::parse(target) {
        Ok(name) => name,
        Err(fault) => return Ok(Err(fault)),
    };
    let fault = |message| Ok(Err(Fault::new(message, FunctionName::HINT)));
    match handler::find(&name, owner)? {
        Ok(function) => Ok(Ok(function)),
        Err(Unfit::Unknown) => fault(format!(
            "there is no function {} that takes one jsonb",
            quoted(target)
        )),
        Err(Unfit::Shape) => fault(format!(
            "function {} does not return one jsonb",
            quoted(target)
        )),
        Err(Unfit::Denied) => Err(Error::Denied {
            object: format!("function {}", quoted(target)),
            detail: format!(
                "Role {}, the owner of the flow, may not execute it.",
                quoted(&role::name(owner))
            ),
        }),
    }
}

/// Refuses steps of executor `sql` whose functions are not there or not allowed to the flow's owner; `place` names the
/// target of the step at a position.
pub fn check_targets(
    flow_slug: &str,
    steps: &[StepShape],
    place: impl Fn(usize) -> String,
) -> Result<()> {
    let mut problems = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        if step.executor == "sql"
            && let Err(fault) = find(
                owner(flow_slug)?,
                step.target.as_deref().unwrap_or_default(),
            )?
        {
            problems.push(Problem::new(place(n), fault));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(define::refuse(&Problems(problems)))
}
