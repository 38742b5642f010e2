//! Grants are given and taken: capabilities, flows to run, queues to serve, external steps to complete.
//!
//! A grant is a row, by which the engine ([`super::rights`]) and the policies go. A capability is more than that: the role
//! also gets what PostgreSQL asks for, the right to use the schema, to call these functions and to read these tables; all
//! of it is listed in `capability_commands.sql`. Granting again what was granted makes that good again, where it was lost:
//! after an upgrade that brought new functions, or a restore of data alone.

use super::define;
use super::rights::{self, Capability};
use crate::error::{Error, Result, quoted};
use crate::model::domain;
use crate::statements;
use crate::store::{Session, grants, role, statement};

statements! {
    LOCK_ACCESS = "lock_access.sql",
    GRANT_ACCESS = "grant_access.sql",
    REVOKE_ACCESS = "revoke_access.sql",
    CAPABILITY_COMMANDS = "capability_commands.sql",
    GRANT_RUN = "grant_run.sql",
    REVOKE_RUN = "revoke_run.sql",
    GRANT_QUEUE = "grant_queue.sql",
    REVOKE_QUEUE = "revoke_queue.sql",
    GRANT_STEP = "grant_step.sql",
    REVOKE_STEP = "revoke_step.sql",
    IS_EXTERNAL_STEP = "is_external_step.sql",
}

/// Gives a role a capability, and what PostgreSQL asks for with it.
pub fn grant_access(session: &Session, role: &str, capability: &str) -> Result<()> {
    rights::may_grant_access(session)?;
    let capability = parse(capability)?;
    check_role(role)?;
    LOCK_ACCESS.execute(&[])?;
    GRANT_ACCESS.execute(&[
        &role,
        &capability.name(),
        &role::name(session.caller),
        &session.now,
    ])?;
    grants::changed();
    command(role, capability, true)
}

/// Takes a capability from a role, and what none of its others needs. It need not have it; nor does the role need to
/// exist, since a grant outlives a role that is dropped.
pub fn revoke_access(session: &Session, role: &str, capability: &str) -> Result<()> {
    rights::may_grant_access(session)?;
    let capability = parse(capability)?;
    LOCK_ACCESS.execute(&[])?;
    REVOKE_ACCESS.execute(&[&role, &capability.name()])?;
    grants::changed();
    match role::by_name(role)? {
        Some(_) => command(role, capability, false),
        None => Ok(()),
    }
}

fn command(role: &str, capability: Capability, gives: bool) -> Result<()> {
    let commands = CAPABILITY_COMMANDS.query(&[&gives, &role, &capability.name()], |row| {
        row.get::<String>(1)
    })?;
    commands
        .iter()
        .try_for_each(|command| statement::command(command))
}

fn parse(capability: &str) -> Result<Capability> {
    (Capability::ALL.into_iter())
        .find(|known| known.name() == capability)
        .ok_or_else(|| {
            Error::invalid_with_hint(
                format!("unknown capability {}", quoted(capability)),
                "It is one of client, worker, author and operator.",
            )
        })
}

fn check_role(role: &str) -> Result<()> {
    match role::by_name(role)? {
        Some(_) => Ok(()),
        None => Err(Error::invalid_with_hint(
            format!("role {} does not exist", quoted(role)),
            "Create the role first.",
        )),
    }
}

/// Lets a role run a flow.
pub fn grant_run(session: &Session, flow_slug: &str, role: &str) -> Result<()> {
    define::lock_to_look_after(session, flow_slug)?;
    check_role(role)?;
    GRANT_RUN.execute(&[&flow_slug, &role, &role::name(session.caller), &session.now])
}

pub fn revoke_run(session: &Session, flow_slug: &str, role: &str) -> Result<()> {
    define::lock_to_look_after(session, flow_slug)?;
    REVOKE_RUN.execute(&[&flow_slug, &role])
}

/// Lets a role serve a queue, which need not be any step's yet.
pub fn grant_queue(session: &Session, queue: &str, role: &str) -> Result<()> {
    check_queue(queue)?;
    check_role(role)?;
    GRANT_QUEUE.execute(&[&queue, &role, &role::name(session.caller), &session.now])?;
    grants::changed();
    Ok(())
}

pub fn revoke_queue(queue: &str, role: &str) -> Result<()> {
    check_queue(queue)?;
    REVOKE_QUEUE.execute(&[&queue, &role])?;
    grants::changed();
    Ok(())
}

fn check_queue(queue: &str) -> Result<()> {
    domain::queue(queue).map_err(|fault| Error::invalid_with_hint(fault.message, fault.hint))
}

/// Lets a role complete an external step.
pub fn grant_step(session: &Session, flow_slug: &str, step_slug: &str, role: &str) -> Result<()> {
    define::lock_to_look_after(session, flow_slug)?;
    let is_external =
        IS_EXTERNAL_STEP.first(&[&flow_slug, &step_slug], |row| Ok(row.opt::<bool>(1)))?;
    match is_external.flatten() {
        Some(true) => {}
        Some(false) => {
            return Err(Error::invalid_with_hint(
                format!("step {} is not external", quoted(step_slug)),
                "Steps of executor external are completed by who was granted them; others are worked by who serves their queue.",
            ));
        }
        None => {
            return Err(Error::not_found(
                "step",
                format!(
                    "Flow {} has no step {}.",
                    quoted(flow_slug),
                    quoted(step_slug)
                ),
            ));
        }
    }
    check_role(role)?;
    GRANT_STEP.execute(&[
        &flow_slug,
        &step_slug,
        &role,
        &role::name(session.caller),
        &session.now,
    ])
}

pub fn revoke_step(session: &Session, flow_slug: &str, step_slug: &str, role: &str) -> Result<()> {
    define::lock_to_look_after(session, flow_slug)?;
    REVOKE_STEP.execute(&[&flow_slug, &step_slug, &role])
}
