//! What the policies of the tables ask, see `sql/policies.sql`: each answer holds for a whole query.

use super::Capability::{Author, Client};
use super::{capabilities_of, limited};
use crate::error::Result;
use crate::statements;
use crate::store::role::{self, Behalf};
use crate::store::{Session, Statement, has_grants};

statements! {
    OWNED_FLOWS = "owned_flows.sql",
    RUNNABLE_FLOWS = "runnable_flows.sql",
    SERVED_QUEUES = "served_queues.sql",
}

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
