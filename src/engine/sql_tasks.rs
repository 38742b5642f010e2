//! The tasks of executor `sql`: claimed by a background worker, done by a function of the flow's owner.
//!
//! A claim commits first, so that whatever a handler does to the server burns an attempt. A second transaction commits what
//! the handler did together with the task's completion, or neither. If the completion is refused, because the lease is no
//! longer the task's or the run has ended, everything is rolled back. Tasks of one step whose handler is known to be quick
//! share that transaction: most of the time that they take is waiting for the disk. If one of them fails, all of it is
//! rolled back, and each is done by itself.

use std::cell::Cell;
use std::time::{Duration, Instant as Clock};

use super::claimed::Claimed;
use super::define;
use super::settle::{self, Verdict};
use crate::error::{Error, Result, quoted};
use crate::model::FunctionName;
use crate::model::problem::Fault;
use crate::store::handler::{self, Unfit};
use crate::store::transaction::{self, Failure};
use crate::store::{door, role};

/// How many seconds the lease of a task outlasts its step's timeout: the handler is cancelled first.
pub const GRACE: i32 = 30;

/// Does claimed tasks of one step in one transaction; if anything is wrong with one of them, nothing of it is done, and each
/// is done by itself. Begins no further task when `patience` is over, so that their leases do not run out unbegun.
/// Returns how many it came to, and the time spent in handlers.
pub fn perform(
    tasks: &[Claimed],
    patience: Duration,
) -> std::result::Result<(usize, Duration), Failure> {
    let begun = Clock::now();
    let mut spent = Duration::ZERO;
    let (done, undone) = perform_together(tasks, patience, &mut spent);
    match (undone, tasks) {
        (Undone::Not, _) => return Ok((done, spent)),
        (Undone::Refused, [task]) => {
            // Refused once more if someone else has the task; a handler that ended its own run still has it.
            fail(
                task,
                "the handler's own doing ended the task before it was completed",
            )?;
        }
        (Undone::Failed(failure), [task]) => fail(task, &failure.to_string())?,
        (_, tasks) => {
            let mut alone = 0;
            for task in tasks {
                if alone > 0 && begun.elapsed() > patience {
                    break;
                }
                spent += perform(std::slice::from_ref(task), patience)?.1;
                alone += 1;
            }
            return Ok((alone, spent));
        }
    }
    Ok((1, spent))
}

/// Why a transaction was rolled back.
enum Undone {
    Not,
    /// The completion of a task was refused.
    Refused,
    Failed(Failure),
}

fn perform_together(
    tasks: &[Claimed],
    patience: Duration,
    spent: &mut Duration,
) -> (usize, Undone) {
    let refused = Cell::new(false);
    let mut count = 0;
    let mut session = None;
    let mut handler = None;
    let done = transaction::run(|| {
        let mut batch = Vec::with_capacity(tasks.len());
        for task in tasks {
            if count > 0 && *spent > patience {
                break;
            }
            let handler = match &handler {
                Some((step, handler)) if *step == task.step_key() => handler,
                _ => {
                    let found = door::act(|_| Handler::of(task))?;
                    &handler.insert((task.step_key(), found)).1
                }
            };
            session.get_or_insert_with(|| handler::Session::begin(handler.owner));
            let begun = Clock::now();
            let output = handler::call(handler.function, task.input.json(), handler.timeout);
            *spent += begun.elapsed();
            count += 1;
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
        if let Some((_, handler)) = &handler {
            transaction::set_timeout_of_triggers(handler.timeout);
        }
        Ok(())
    });
    // After the commit: triggers that were deferred to it are the handler's work too.
    drop(session);
    let undone = match done {
        Ok(()) => Undone::Not,
        Err(_) if refused.get() => Undone::Refused,
        Err(failure) => Undone::Failed(failure),
    };
    (count, undone)
}

fn fail(task: &Claimed, message: &str) -> std::result::Result<(), Failure> {
    let settlement = task.settlement(Verdict::Fail {
        message: message.to_owned(),
        retryable: true,
        retry_after: None,
    });
    transaction::run(|| door::act(|session| settle::settle(session, &[settlement]).map(drop)))
}

/// What does the tasks of a step.
struct Handler {
    owner: handler::Role,
    function: handler::Function,
    /// The seconds it may take.
    timeout: i32,
}

impl Handler {
    fn of(task: &Claimed) -> Result<Self> {
        let owner = owner(task.flow_slug())?;
        let target = task.step().target.as_deref().unwrap_or_default();
        let function = find(owner, target)?
            .map_err(|fault| Error::invalid_with_hint(fault.message, fault.hint))?;
        Ok(Self {
            owner,
            function,
            timeout: task.step().timeout,
        })
    }
}

/// The role that the tasks of a flow are done as.
pub fn owner(flow_slug: &str) -> Result<handler::Role> {
    let name = define::owner(flow_slug)?;
    role::by_name(&name)?.ok_or_else(|| Error::Denied {
        object: format!("flow {}", quoted(flow_slug)),
        detail: format!("Its owner, role {}, does not exist.", quoted(&name)),
    })
}

/// The function that a target names; an error when the flow's owner may not have it called.
pub fn find(
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
