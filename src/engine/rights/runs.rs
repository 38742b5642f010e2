//! Who may see a run, move it, settle its tasks, or complete a step of it from outside.

use std::rc::Rc;

use super::Capability::{Author, Client, Operator, Worker};
use super::queues::serves_all;
use super::{Capabilities, Capability, Roles, capabilities_of, demand, denied, limited};
use crate::engine::complete_step::Completer;
use crate::engine::run_flow::Creator;
use crate::engine::settle::{Settlement, Verdict};
use crate::error::{Error, Result, quoted};
use crate::model::{Definition, Executor, RunId, StepNo};
use crate::statements;
use crate::store::Session;
use crate::store::role;

statements! {
    TASK_RIGHTS = "task_rights.sql",
    STEP_RIGHTS = "step_rights.sql",
    SERVES_RUN = "serves_run.sql",
}

const SETTLERS: [Capability; 3] = [Worker, Author, Operator];

/// What a role may do with a run and one of its steps.
struct TaskRights {
    capabilities: Capabilities,
    exists: bool,
    made_it: bool,
    created_for: Option<String>,
    owns_flow: bool,
    executor: Option<String>,
    serves: bool,
    was_granted: bool,
}

impl TaskRights {
    fn read<'a>(
        roles: &Roles,
        tasks: impl Iterator<Item = (RunId, Option<&'a str>)>,
    ) -> Result<Vec<Self>> {
        let (run_ids, step_slugs): (Vec<_>, Vec<_>) = tasks
            .map(|(run, step)| (run, step.map(str::to_owned)))
            .unzip();
        TASK_RIGHTS.read(&[&**roles, &run_ids, &step_slugs], |row| {
            Ok(Self {
                capabilities: Capabilities::of(row)?,
                exists: row.opt::<bool>(2).is_some(),
                made_it: row.opt(2).unwrap_or(false),
                created_for: row.opt(3),
                owns_flow: row.opt(4).unwrap_or(false),
                executor: row.opt(5),
                serves: row.get(6)?,
                was_granted: row.get(7)?,
            })
        })
    }

    /// Whether the run is the role's to look after.
    fn may_move(&self) -> bool {
        self.exists
            && (self.capabilities.has(Operator) || self.capabilities.has(Author) && self.owns_flow)
    }

    /// Whether it is one that the role may read.
    fn may_see(&self) -> Result<bool> {
        if self.may_move() {
            return Ok(true);
        }
        if !self.made_it || !self.capabilities.has_any(&[Client, Author]) {
            return Ok(false);
        }
        Ok(role::on_behalf()?.owns(self.created_for.as_deref()))
    }

    /// Whether calls about it are denied, and not told that there is no such run.
    fn may_know_of(&self, roles: &Roles, run_id: RunId) -> Result<bool> {
        if self.serves() || self.may_see()? {
            return Ok(true);
        }
        if !self.exists || !self.capabilities.has(Worker) {
            return Ok(false);
        }
        let serves = SERVES_RUN.read(&[&**roles, &run_id], |row| row.get::<bool>(1))?;
        Ok(serves.contains(&true))
    }

    fn serves(&self) -> bool {
        self.serves && self.capabilities.has(Worker)
    }

    /// Users of one role behind a gateway are kept apart in the runs that the role makes; in those of others a grant to
    /// the role is one to all of them.
    fn may_complete(&self) -> Result<bool> {
        if self.may_move() {
            return Ok(true);
        }
        if !self.was_granted || self.executor.as_deref() != Some(Executor::External.as_str()) {
            return Ok(false);
        }
        Ok(!self.made_it || role::on_behalf()?.owns(self.created_for.as_deref()))
    }

    fn may_settle(&self, settlement: &Settlement) -> Result<bool> {
        if self.may_move() || self.serves() && settlement.lease.is_some() {
            return Ok(true);
        }
        Ok(matches!(settlement.verdict, Verdict::Complete(_)) && self.may_complete()?)
    }
}

/// Refuses a caller who may not read the run, as if there were none.
pub fn may_see(session: &Session, run_id: Option<RunId>) -> Result<()> {
    let capabilities = [Client, Author, Operator];
    match task_rights(session, run_id, None, &capabilities)? {
        Some(about) if !about.rights.may_see()? => Err(Error::run_not_found(about.run_id)),
        _ => Ok(()),
    }
}

/// Refuses a caller who may not cancel, retry or fork the run, or start a step of it.
pub fn may_move(session: &Session, run_id: Option<RunId>) -> Result<()> {
    match task_rights(session, run_id, None, &[Author, Operator])? {
        Some(about) if !about.rights.may_move() => {
            Err(about.refusal(session, "neither owns its flow nor is an operator")?)
        }
        _ => Ok(()),
    }
}

/// Refuses a caller who may not complete the step from outside.
pub fn may_complete(
    session: &Session,
    run_id: Option<RunId>,
    step_slug: Option<&str>,
) -> Result<()> {
    let about = match task_rights(session, run_id, step_slug, &Capability::ALL)? {
        Some(about) if !about.rights.may_complete()? => about,
        _ => return Ok(()),
    };
    let slug = step_slug.unwrap_or_default();
    let why = format!("was not granted to complete its step {}", quoted(slug));
    Err(match about.refusal(session, &why)? {
        // Of a run that it may know of.
        Error::Denied { .. } if about.rights.executor.is_none() => Error::step_not_found(slug),
        refusal => refusal,
    })
}

/// Refuses a batch with a result that the caller may not settle. Returns which results are of runs that it may know of;
/// the others are about nothing.
pub fn may_settle(session: &Session, batch: &[Settlement]) -> Result<Vec<bool>> {
    let Some(roles) = limited(session.caller)? else {
        return Ok(vec![true; batch.len()]);
    };
    if batch.is_empty() {
        capabilities_of(&roles)?.demand(session.caller, &SETTLERS)?;
        return Ok(Vec::new());
    }
    if serves_all(session, &roles, batch)? {
        return Ok(vec![true; batch.len()]);
    }
    let tasks = (batch.iter()).map(|result| {
        let task = &result.task;
        (task.run_id, Some(task.step_slug.as_str()))
    });
    let rights = TaskRights::read(&roles, tasks)?;
    if let Some(first) = rights.first() {
        (first.capabilities).demand(session.caller, &SETTLERS)?;
    }
    let mut known = Vec::with_capacity(batch.len());
    for (result, rights) in batch.iter().zip(rights) {
        if rights.may_settle(result)? {
            known.push(true);
            continue;
        }
        let slug = quoted(&result.task.step_slug);
        let why = if rights.serves() {
            format!("settles its step {slug} only by the lease of a task")
        } else {
            format!("was not granted the queue of its step {slug}")
        };
        let about = About {
            roles: Rc::clone(&roles),
            run_id: result.task.run_id,
            rights,
        };
        match about.refusal(session, &why)? {
            Error::NotFound { .. } => known.push(false),
            // Nothing can be done to a step that is not there.
            _ if about.rights.executor.is_none() => known.push(true),
            denied => return Err(denied),
        }
    }
    Ok(known)
}

/// What was asked for in a call that settles; a call that makes no sense is explained to those only who may settle at all.
pub fn if_settler<T>(session: &Session, asked: Result<T>) -> Result<T> {
    if asked.is_err() {
        demand(session, &SETTLERS)?;
    }
    asked
}

/// [`may_settle`] for one result.
pub fn may_settle_one(session: &Session, settlement: &Settlement) -> Result<()> {
    if may_settle(session, std::slice::from_ref(settlement))? == [false] {
        return Err(Error::run_not_found(settlement.task.run_id));
    }
    Ok(())
}

/// Whether whoever sent an event, now or before, may complete a step with it.
pub fn sender_may_complete(
    sender: &Completer,
    definition: &Definition,
    step: StepNo,
    creator: &Creator,
) -> Result<bool> {
    let Some(role) = role::by_name(&sender.role)? else {
        return Ok(false);
    };
    let Some(roles) = limited(role)? else {
        return Ok(true);
    };
    let is_its_own =
        !roles.contains(&creator.created_by) || sender.behalf.owns(creator.created_for.as_deref());
    let step = &definition.steps[step];
    let found = STEP_RIGHTS.read(&[&*roles, &definition.flow_slug, &step.slug], |row| {
        Ok((
            Capabilities::of(row)?,
            row.get::<bool>(2)?,
            row.get::<bool>(3)?,
        ))
    })?;
    Ok(found.iter().any(|(capabilities, owns_flow, was_granted)| {
        capabilities.has(Operator)
            || capabilities.has(Author) && *owns_flow
            || capabilities.has_any(&Capability::ALL)
                && *was_granted
                && is_its_own
                && step.executor == Executor::External
    }))
}

/// A run that a call is about, and what its caller may do with it.
struct About {
    roles: Roles,
    run_id: RunId,
    rights: TaskRights,
}

/// What a caller who may not do everything may do with a run and a step of it.
fn task_rights(
    session: &Session,
    run_id: Option<RunId>,
    step_slug: Option<&str>,
    capabilities: &[Capability],
) -> Result<Option<About>> {
    let Some(roles) = limited(session.caller)? else {
        return Ok(None);
    };
    let Some(run_id) = run_id else {
        capabilities_of(&roles)?.demand(session.caller, capabilities)?;
        return Ok(None);
    };
    let rights = TaskRights::read(&roles, std::iter::once((run_id, step_slug)))?
        .pop()
        .ok_or_else(|| Error::Internal("a run has no rights".into()))?;
    rights.capabilities.demand(session.caller, capabilities)?;
    Ok(Some(About {
        roles,
        run_id,
        rights,
    }))
}

impl About {
    /// How a caller is refused who may not do something to the run: what it may not know of is not there.
    fn refusal(&self, session: &Session, why: &str) -> Result<Error> {
        let Self {
            roles,
            run_id,
            rights,
        } = self;
        if !rights.may_know_of(roles, *run_id)? {
            return Ok(Error::run_not_found(run_id));
        }
        Ok(denied(session, format!("run \"{run_id}\""), why))
    }
}
