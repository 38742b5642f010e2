//! Who may do what.
//!
//! The caller is the role in force at the call. A superuser may do everything, and so may whoever has the rights of the
//! extension's owner. Everybody else needs a **capability** ([`Capability`]), granted to the caller or to a role whose
//! rights it inherits, and mostly a right to the thing itself:
//!
//! | to | asks for |
//! | --- | --- |
//! | define, [`may_define`] | author; and to change, delete or keep a flow, to be its owner ([`super::define`]) |
//! | start runs of a flow, [`may_run`] | client or author who owns the flow or was granted it by `grant_run`; operator |
//! | read a definition, [`may_read_flow`] | the same; otherwise there is no such flow |
//! | read a run, [`may_see`] | client or author who made it; author who owns the flow; operator |
//! | move a run, [`may_move`]: cancel, retry, fork, start a step | author who owns the flow; operator |
//! | claim from a queue, [`may_claim`] | worker who was granted the queue by `grant_queue` |
//! | settle a task, [`may_settle`] | worker who was granted the step's queue and has a lease; author who owns the flow; operator |
//! | complete an external step, [`may_complete`] | any of the four who was granted the step by `grant_step`, behind a gateway not in runs of other users of its role; author who owns the flow; operator |
//! | operate, [`may_operate`]: limit, pause, prune, upkeep | operator |
//!
//! **What is not seen is not there.** A call about a run that the caller may not see finds no such run (PT404); one about a
//! run that it sees and may not touch is denied (42501). A worker sees the runs that have a step in one of its queues, as
//! far as calls go; what it may read in tables is less, see `sql/policies.sql`.
//!
//! **What it costs.** Nothing to who may do everything: a look at the role graph, which PostgreSQL keeps. To others one
//! small statement a call. The queues of a worker are kept ([`served`]): a claim costs it no statement, and results that it
//! has leased one that looks where the tasks are.
//!
//! **The schema of 0.1.0** has no grants: who may execute a function there may use it on everything, as in 0.1.0.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::complete_step::Completer;
use super::receipt;
use super::run_flow::Creator;
use super::settle::{Settlement, Verdict};
use crate::error::{Error, Result, quoted};
use crate::model::{Definition, Executor, RunId, StepNo};
use crate::statements;
use crate::store::role::{self, Behalf, Role};
use crate::store::{Instant, Row, Session, Statement, grants, has_grants};

statements! {
    CAPABILITIES = "capabilities.sql",
    FLOW_RIGHTS = "flow_rights.sql",
    QUEUE_RIGHTS = "queue_rights.sql",
    TASK_RIGHTS = "task_rights.sql",
    STEP_RIGHTS = "step_rights.sql",
    SERVES_RUN = "serves_run.sql",
    OWNED_FLOWS = "owned_flows.sql",
    RUNNABLE_FLOWS = "runnable_flows.sql",
    SERVED_QUEUES = "served_queues.sql",
    QUEUES_OF_TASKS = "queues_of_tasks.sql",
}

/// The names of the roles whose grants count for a role.
type Roles = Rc<Vec<String>>;

/// What a role may be in general, see `grant_access`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Runs flows that it was granted and sees its own runs.
    Client,
    /// Claims and settles tasks in queues that it was granted.
    Worker,
    /// Defines flows, and looks after their runs.
    Author,
    /// Sees and moves all runs.
    Operator,
}

use Capability::{Author, Client, Operator, Worker};

impl Capability {
    pub const ALL: [Self; 4] = [Client, Worker, Author, Operator];

    pub const fn name(self) -> &'static str {
        match self {
            Client => "client",
            Worker => "worker",
            Author => "author",
            Operator => "operator",
        }
    }
}

/// The capabilities of a role.
struct Capabilities(Vec<String>);

impl Capabilities {
    /// Reads the column that each statement about rights begins with.
    fn of(row: &Row) -> Result<Self> {
        row.get(1).map(Self)
    }

    fn has(&self, capability: Capability) -> bool {
        self.0.iter().any(|name| name == capability.name())
    }

    fn has_any(&self, capabilities: &[Capability]) -> bool {
        capabilities.iter().any(|&capability| self.has(capability))
    }

    /// Refuses a role that has none of these.
    fn demand(&self, role: Role, capabilities: &[Capability]) -> Result<()> {
        if self.has_any(capabilities) {
            return Ok(());
        }
        let names: Vec<_> = (capabilities.iter())
            .map(|capability| format!("\"{}\"", capability.name()))
            .collect();
        Err(Error::Denied {
            object: "this function of pgflow".to_owned(),
            detail: format!(
                "Role {} was not granted capability {}.",
                quoted(&role::name(role)),
                names.join(" or ")
            ),
        })
    }
}

/// The names of the roles whose grants count for a role; `None` for one that may do everything.
fn limited(role: Role) -> Result<Option<Roles>> {
    if role::may_do_everything(role) || !has_grants() {
        return Ok(None);
    }
    role::all_of(role).map(Some)
}

fn denied(session: &Session, object: String, what: &str) -> Error {
    Error::Denied {
        object,
        detail: format!("Role {} {what}.", quoted(&role::name(session.caller))),
    }
}

// Whatever the thing is.

fn demand(session: &Session, capabilities: &[Capability]) -> Result<()> {
    let Some(roles) = limited(session.caller)? else {
        return Ok(());
    };
    capabilities_of(&roles)?.demand(session.caller, capabilities)
}

fn capabilities_of(roles: &Roles) -> Result<Capabilities> {
    let found = CAPABILITIES.read(&[&**roles], Capabilities::of)?;
    Ok(found.into_iter().next().unwrap_or(Capabilities(Vec::new())))
}

/// Definitions of one's own.
pub fn may_define(session: &Session) -> Result<()> {
    demand(session, &[Author])
}

/// Queues, upkeep, and all runs at once.
pub fn may_operate(session: &Session) -> Result<()> {
    demand(session, &[Operator])
}

/// What its owner or an operator does with a flow or its schedules; whether it is theirs is asked later.
pub fn may_look_after_flows(session: &Session) -> Result<()> {
    demand(session, &[Author, Operator])
}

/// To send events; which steps they complete is asked for each.
pub fn may_send_events(session: &Session) -> Result<()> {
    demand(session, &Capability::ALL)
}

/// Whether the caller sees and moves all runs.
pub fn is_operator(session: &Session) -> Result<bool> {
    match limited(session.caller)? {
        None => Ok(true),
        Some(roles) => Ok(capabilities_of(&roles)?.has(Operator)),
    }
}

/// Who gives and takes capabilities.
pub fn may_grant_access(session: &Session) -> Result<()> {
    if role::may_do_everything(session.caller) {
        return Ok(());
    }
    Err(denied(
        session,
        "capabilities of pgflow".to_owned(),
        "is neither a superuser nor the owner of the extension",
    ))
}

// Flows.

/// What a role may do with a flow.
struct FlowRights {
    capabilities: Capabilities,
    exists: bool,
    owns: bool,
    was_granted: bool,
}

impl FlowRights {
    fn read(roles: &Roles, flow_slug: Option<&str>) -> Result<Option<Self>> {
        let found = FLOW_RIGHTS.read(&[&**roles, &flow_slug], |row| {
            Ok(Self {
                capabilities: Capabilities::of(row)?,
                exists: row.opt::<bool>(2).is_some(),
                owns: row.opt(2).unwrap_or(false),
                was_granted: row.get(3)?,
            })
        })?;
        Ok(found.into_iter().next())
    }

    fn may_run(&self) -> bool {
        self.capabilities.has(Operator)
            || self.capabilities.has_any(&[Client, Author]) && (self.owns || self.was_granted)
    }
}

/// Refuses a caller who may not start runs of the flow; of one that does not exist nothing is said.
pub fn may_run(session: &Session, flow_slug: Option<&str>) -> Result<()> {
    let Some(rights) = flow_rights(session, flow_slug)? else {
        return Ok(());
    };
    (rights.capabilities).demand(session.caller, &[Client, Author, Operator])?;
    if rights.may_run() || !rights.exists {
        return Ok(());
    }
    Err(denied(
        session,
        format!("flow {}", quoted(flow_slug.unwrap_or_default())),
        "was not granted to run it",
    ))
}

/// Refuses a caller who may not read the flow, as if there were none.
pub fn may_read_flow(session: &Session, flow_slug: Option<&str>) -> Result<()> {
    let Some(rights) = flow_rights(session, flow_slug)? else {
        return Ok(());
    };
    (rights.capabilities).demand(session.caller, &[Client, Author, Operator])?;
    match flow_slug {
        Some(flow_slug) if !rights.may_run() => Err(Error::flow_not_found(flow_slug)),
        _ => Ok(()),
    }
}

fn flow_rights(session: &Session, flow_slug: Option<&str>) -> Result<Option<FlowRights>> {
    match limited(session.caller)? {
        None => Ok(None),
        Some(roles) => FlowRights::read(&roles, flow_slug),
    }
}

/// Whether a role may start runs of a flow when it does not call itself: the owner of a schedule, or of a flow that has
/// the other one for a step.
pub fn role_may_run(role: &str, flow_slug: &str) -> Result<bool> {
    let Some(role) = role::by_name(role)? else {
        return Ok(false);
    };
    match limited(role)? {
        None => Ok(true),
        Some(roles) => {
            Ok(FlowRights::read(&roles, Some(flow_slug))?.is_some_and(|rights| rights.may_run()))
        }
    }
}

// Queues.

/// The queues that a role serves, as they were read last.
struct Served {
    roles: u64,
    grants: u64,
    read_at: Instant,
    queues: Rc<Vec<String>>,
}

/// For how many seconds what was read of the tables of grants is believed, if nobody tells of a change: somebody may have
/// written to them without the functions.
const BELIEVED: f64 = 1.0;

thread_local! {
    static SERVED: RefCell<HashMap<Role, Served>> = RefCell::default();
}

/// The queues that the caller serves, in order.
fn served(session: &Session, roles: &Roles) -> Result<Rc<Vec<String>>> {
    // Looked at before the tables are: what changes meanwhile makes the answer an old one.
    let (role_changes, changes) = (role::generation(), grants::generation());
    let known = SERVED.with_borrow(|served| {
        let served = served.get(&session.caller)?;
        let is_new = (served.roles, served.grants) == (role_changes, changes);
        let is_young =
            session.now >= served.read_at && session.now < served.read_at.plus_seconds(BELIEVED);
        (is_new && is_young).then(|| Rc::clone(&served.queues))
    });
    if let Some(queues) = known {
        return Ok(queues);
    }
    // What is committed by now, even if the calling query began before: it is kept for later ones.
    let queues = Rc::new(SERVED_QUEUES.latest(&[&**roles], |row| row.get::<String>(1))?);
    let kept = Served {
        roles: role_changes,
        grants: changes,
        read_at: session.now,
        queues: Rc::clone(&queues),
    };
    SERVED.with_borrow_mut(|served| served.insert(session.caller, kept));
    Ok(queues)
}

/// Whether all of these results are by leases of tasks that are under way in queues that the caller serves.
fn serves_all(session: &Session, roles: &Roles, batch: &[Settlement]) -> Result<bool> {
    if batch.iter().any(|result| result.lease.is_none()) {
        return Ok(false);
    }
    let served = served(session, roles)?;
    if served.is_empty() {
        return Ok(false);
    }
    let (ids, slugs, indexes) = receipt::columns(batch.iter().map(|result| &result.task));
    let queues = QUEUES_OF_TASKS.read(&[&ids, &slugs, &indexes], |row| Ok(row.opt::<String>(1)))?;
    Ok((queues.iter()).all(|queue| (queue.as_ref()).is_some_and(|queue| served.contains(queue))))
}

/// Refuses a caller who may not claim from the queue.
pub fn may_claim(session: &Session, queue: Option<&str>) -> Result<()> {
    let Some(roles) = limited(session.caller)? else {
        return Ok(());
    };
    if let Some(queue) = queue
        && served(session, &roles)?
            .iter()
            .any(|served| served == queue)
    {
        return Ok(());
    }
    let found = QUEUE_RIGHTS.read(&[&*roles, &queue], |row| {
        Ok((Capabilities::of(row)?, row.get::<bool>(2)?))
    })?;
    let Some((capabilities, was_granted)) = found.into_iter().next() else {
        return Err(Error::Internal("a queue has no rights".into()));
    };
    capabilities.demand(session.caller, &[Worker])?;
    match queue {
        Some(queue) if !was_granted => Err(denied(
            session,
            format!("queue {}", quoted(queue)),
            "was not granted it",
        )),
        _ => Ok(()),
    }
}

// Runs and their steps.

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

// What policies ask, see `sql/policies.sql`.

/// The roles whose runs the caller sees, its own among them; none behind a gateway without a user.
pub fn seen_creators(session: &Session) -> Result<Vec<String>> {
    if role::on_behalf()? == Behalf::Sub(None) {
        return Ok(Vec::new());
    }
    let roles = role::all_of(session.caller)?;
    if limited(session.caller)?.is_none() || capabilities_of(&roles)?.has_any(&[Client, Author]) {
        return Ok(roles.to_vec());
    }
    Ok(Vec::new())
}

/// The user of a gateway to whom the runs that the caller sees are limited.
pub fn on_behalf_of() -> Result<Option<String>> {
    Ok(role::on_behalf()?.sub().map(str::to_owned))
}

/// The flows whose runs the caller looks after, without those that an operator does.
pub fn owned_flows(session: &Session) -> Result<Vec<String>> {
    slugs(&OWNED_FLOWS, session)
}

/// The flows that the caller may run, without those that an operator may.
pub fn runnable_flows(session: &Session) -> Result<Vec<String>> {
    slugs(&RUNNABLE_FLOWS, session)
}

/// The queues that the caller may claim from.
pub fn served_queues(session: &Session) -> Result<Vec<String>> {
    slugs(&SERVED_QUEUES, session)
}

fn slugs(statement: &Statement, session: &Session) -> Result<Vec<String>> {
    if !has_grants() {
        return Ok(Vec::new());
    }
    let roles = role::all_of(session.caller)?;
    statement.read(&[&*roles], |row| row.get(1))
}
