//! Events that were sent before somebody waits for them: which one a waiter gets, and who takes it first.

use std::collections::HashSet;

use super::complete_step::Completer;
use super::run_flow::Creator;
use crate::error::Result;
use crate::model::{Definition, StepNo};
use crate::store::role::Behalf;
use crate::store::{Instant, Json, Session};
use crate::{settings, statements};

statements! {
    LOOK_FOR_EVENTS = "look_for_events.sql",
    TAKE_EVENTS = "take_events.sql",
}

/// What is waited for, and by whose run.
pub struct Wait {
    pub event_key: i64,
    pub name: String,
    pub key: Option<String>,
    /// When the run was created, and by whom.
    pub created_at: Instant,
    pub creator: Creator,
}

/// An event that a waiter gets.
pub struct Kept {
    pub id: i64,
    pub payload: Json,
    pub sender: Completer,
    is_taken: bool,
}

/// The kept event for each waiter, if there is one; `step_of` names the step that a waiter is at.
pub fn look<'a>(
    session: &Session,
    waits: impl Iterator<Item = &'a Wait>,
    step_of: impl Fn(usize) -> (&'a Definition, StepNo),
) -> Result<Vec<Option<Kept>>> {
    let waits: Vec<_> = waits.collect();
    let mut kept: Vec<Option<Kept>> = waits.iter().map(|_| None).collect();
    for (no, found) in look_beyond(session, &waits, &Refused::default())? {
        kept[no] = Some(found);
    }
    for (no, kept) in kept.iter_mut().enumerate() {
        let (definition, step) = step_of(no);
        let mut refused = Refused::default();
        while let Some(found) = kept
            && !found
                .sender
                .may_complete(definition, step, &waits[no].creator)?
        {
            refused.add(&found.sender);
            *kept = (look_beyond(session, &waits[no..=no], &refused)?)
                .pop()
                .map(|(_, next)| next);
        }
    }
    Ok(kept)
}

/// Senders who may not complete the step, with the users of gateways that they sent for: whatever they sent is passed
/// over at once, however much it is.
#[derive(Default)]
struct Refused {
    roles: Vec<String>,
    subs: Vec<Option<String>>,
}

impl Refused {
    fn add(&mut self, sender: &Completer) {
        self.roles.push(sender.role.clone());
        self.subs.push(sender.behalf.sub().map(str::to_owned));
    }
}

/// Looks at what is committed by now, whatever the snapshot of the transaction, and passes over what was `refused`.
fn look_beyond(
    session: &Session,
    waits: &[&Wait],
    refused: &Refused,
) -> Result<Vec<(usize, Kept)>> {
    if waits.is_empty() {
        return Ok(Vec::new());
    }
    let event_keys: Vec<_> = waits.iter().map(|wait| wait.event_key).collect();
    let names: Vec<_> = waits.iter().map(|wait| wait.name.as_str()).collect();
    let keys: Vec<_> = waits.iter().map(|wait| wait.key.clone()).collect();
    let created_at: Vec<_> = waits.iter().map(|wait| wait.created_at).collect();
    LOOK_FOR_EVENTS.latest(
        &[
            &event_keys,
            &names,
            &keys,
            &created_at,
            &horizon(session.now),
            &refused.roles,
            &refused.subs,
        ],
        |row| {
            let no = usize::try_from(row.get::<i64>(1)? - 1).unwrap_or_default();
            let kept = Kept {
                id: row.get(2)?,
                payload: row.get(3)?,
                sender: Completer {
                    role: row.get(4)?,
                    // What came through a gateway without a user is not kept.
                    behalf: match row.opt(5) {
                        Some(sub) => Behalf::Sub(Some(sub)),
                        None => Behalf::Own,
                    },
                },
                is_taken: row.get(6)?,
            };
            Ok((no, kept))
        },
    )
}

/// What was sent later is kept.
fn horizon(now: Instant) -> Instant {
    match settings::event_retention() {
        0 => Instant::INFINITY,
        seconds => now.plus_seconds(-f64::from(seconds)),
    }
}

/// Takes events that nobody has taken yet. Returns those that someone else is just taking.
pub fn take<'a>(session: &Session, found: impl Iterator<Item = &'a Kept>) -> Result<HashSet<i64>> {
    let mut free: HashSet<i64> = (found.filter(|kept| !kept.is_taken))
        .map(|kept| kept.id)
        .collect();
    if !free.is_empty() {
        let ids: Vec<_> = free.iter().copied().collect();
        for id in TAKE_EVENTS.query(&[&ids, &session.now], |row| row.get::<i64>(1))? {
            free.remove(&id);
        }
    }
    Ok(free)
}
