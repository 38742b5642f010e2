//! Who may start runs of a flow, and read what it is.

use super::Capability::{Author, Client, Operator};
use super::{Capabilities, Roles, denied, limited};
use crate::error::{Error, Result, quoted};
use crate::statements;
use crate::store::{Session, role};

statements! {
    FLOW_RIGHTS = "flow_rights.sql",
}

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
