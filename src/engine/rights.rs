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

mod flows;
mod queues;
mod runs;
mod seen;

use std::rc::Rc;

pub use flows::{may_read_flow, may_run, role_may_run};
pub use queues::may_claim;
pub use runs::{
    if_settler, may_complete, may_move, may_see, may_settle, may_settle_one, sender_may_complete,
};
pub use seen::{on_behalf_of, owned_flows, runnable_flows, seen_creators, served_queues};

use crate::error::{Error, Result, quoted};
use crate::statements;
use crate::store::role::{self, Role};
use crate::store::{Row, Session, has_grants};

statements! {
    CAPABILITIES = "capabilities.sql",
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
