//! Setting the limits of queues, and pausing queues and flows. [`super::limits`] says what claims make of it.

use pgrx::datum::Interval;

use super::{define, event};
use crate::error::{Error, Result};
use crate::model::domain;
use crate::statements;
use crate::store::value::QueueRow;
use crate::store::{Composite, Instant, Session, role};

statements! {
    PUT_LIMITS = "put_limits.sql",
    CHECK_PERIOD = "check_period.sql",
    FREE_QUEUE = "free_queue.sql",
    FORGET_STARTS = "forget_starts.sql",
    PAUSE_QUEUE = "pause_queue.sql",
    RESUME_QUEUE = "resume_queue.sql",
    PAUSE_FLOW = "pause_flow.sql",
    RESUME_FLOW = "resume_flow.sql",
}

/// The limits of a queue; `None` is no limit.
pub struct Limits {
    pub max_running: Option<i32>,
    pub max_running_per_key: Option<i32>,
    pub max_started: Option<i32>,
    pub max_started_per_key: Option<i32>,
    pub period: Interval,
}

impl Limits {
    fn counts_starts(&self) -> bool {
        self.max_started.is_some() || self.max_started_per_key.is_some()
    }
}

/// Gives a queue these limits instead of those it had.
pub fn limit_queue(queue: &str, limits: &Limits) -> Result<Composite<QueueRow>> {
    check_name(queue)?;
    check_period(limits.period)?;
    let row = PUT_LIMITS
        .first(
            &[
                &queue,
                &limits.max_running,
                &limits.max_running_per_key,
                &limits.max_started,
                &limits.max_started_per_key,
                &limits.period,
            ],
            |row| row.composite(1),
        )?
        .ok_or_else(|| Error::Internal("a queue was not stored".into()))?;
    if !limits.counts_starts() {
        // What is not counted any more is not forgotten by claims.
        FORGET_STARTS.execute(&[&queue, &None::<Instant>, &None::<f64>])?;
    }
    FREE_QUEUE.execute(&[&queue])?;
    event::queue_has_room(queue);
    Ok(row)
}

pub fn pause_queue(queue: &str) -> Result<()> {
    check_name(queue)?;
    PAUSE_QUEUE.execute(&[&queue])
}

pub fn resume_queue(queue: &str) -> Result<()> {
    check_name(queue)?;
    if (RESUME_QUEUE.first(&[&queue], |_| Ok(()))?).is_some() {
        FREE_QUEUE.execute(&[&queue])?;
        event::queue_has_room(queue);
    }
    Ok(())
}

/// The row of the flow is locked, so that a pause does not outlive its flow.
pub fn pause_flow(session: &Session, flow_slug: &str) -> Result<()> {
    define::lock_to_look_after(session, flow_slug)?;
    PAUSE_FLOW.execute(&[&flow_slug, &session.now, &role::name(session.caller)])
}

pub fn resume_flow(session: &Session, flow_slug: &str) -> Result<()> {
    define::lock_to_look_after(session, flow_slug)?;
    for queue in RESUME_FLOW.query(&[&flow_slug], |row| row.get::<String>(1))? {
        event::queue_has_room(&queue);
    }
    Ok(())
}

fn check_name(queue: &str) -> Result<()> {
    define::refuse_arguments(|report| {
        if let Err(fault) = domain::queue(queue) {
            report("queue", None, fault);
        }
    })
}

fn check_period(period: Interval) -> Result<()> {
    let refused = CHECK_PERIOD.first(&[&period], |row| {
        Ok((row.get::<bool>(1)?, row.get::<String>(2)?))
    })?;
    match refused {
        Some((false, given)) => Err(Error::invalid_with_hint(
            format!("period \"{given}\" is out of range"),
            "It must be from a millisecond to a year.",
        )),
        _ => Ok(()),
    }
}
