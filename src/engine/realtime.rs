//! Which flows are published, and to whom. [`super::event`] notes what is to be told.

use super::define;
use crate::error::{Error, Result, quoted};
use crate::statements;
use crate::store::{Session, changes, role, statement};

statements! {
    PUT_REALTIME_FLOW = "put_realtime_flow.sql",
    DELETE_REALTIME_FLOW = "delete_realtime_flow.sql",
    PUBLICATION = "publication.sql",
    PUBLISH_TABLES = "publish_tables.sql",
}

/// Who may learn what is in a published run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Who is let into the private topic of the run, or may read it.
    Private,
    Public,
}

/// Publishes the changes of a flow's runs from now on, those under way included; `None`: no longer. The row of the flow
/// is locked, so that this does not outlive it.
pub fn set_realtime(session: &Session, flow_slug: &str, audience: Option<Audience>) -> Result<()> {
    define::lock_existing(session, flow_slug)?;
    match audience {
        Some(audience) => PUT_REALTIME_FLOW.execute(&[
            &flow_slug,
            &(audience == Audience::Private),
            &session.now,
            &role::name(session.caller),
        ])?,
        None => DELETE_REALTIME_FLOW.execute(&[&flow_slug])?,
    }
    changes::flows_changed();
    Ok(())
}

/// A flow is deleted.
pub fn forget_flow(flow_slug: &str) -> Result<()> {
    if !changes::has_table() {
        return Ok(());
    }
    let deleted = DELETE_REALTIME_FLOW.query(&[&flow_slug], |_| Ok(()))?;
    if !deleted.is_empty() {
        changes::flows_changed();
    }
    Ok(())
}

/// Adds the tables that say where runs stand to a publication, as far as they are not in it yet.
pub fn publish(session: &Session, publication: &str, with_tasks: bool) -> Result<()> {
    let found = PUBLICATION.first(&[&publication], |row| {
        Ok((row.get::<String>(1)?, row.get::<bool>(2)?))
    })?;
    let Some((owner, has_all_tables)) = found else {
        return Err(Error::not_found(
            "publication",
            format!("There is no publication {}.", quoted(publication)),
        ));
    };
    if !role::acts_as(session.caller, &owner)? {
        return Err(Error::Denied {
            object: format!("publication {}", quoted(publication)),
            detail: format!("The publication belongs to role {}.", quoted(&owner)),
        });
    }
    if has_all_tables {
        return Ok(());
    }
    for command in PUBLISH_TABLES.query(&[&publication, &with_tasks], |row| row.get::<String>(1))? {
        statement::command(&command)?;
    }
    Ok(())
}
