//! Who may claim from a queue. What a worker serves is kept by its session: a claim costs it no statement.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::Capability::Worker;
use super::{Capabilities, Roles, denied, limited};
use crate::engine::receipt;
use crate::engine::settle::Settlement;
use crate::error::{Error, Result, quoted};
use crate::statements;
use crate::store::role::{self, Role};
use crate::store::{Instant, Session, grants};

statements! {
    QUEUE_RIGHTS = "queue_rights.sql",
    SERVED_QUEUES = "served_queues.sql",
    QUEUES_OF_TASKS = "queues_of_tasks.sql",
}

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
pub fn serves_all(session: &Session, roles: &Roles, batch: &[Settlement]) -> Result<bool> {
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
