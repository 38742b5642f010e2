//! `schedule_flow` and `unschedule_flow`: what runs by the clock.

use super::{event, rights, run_flow};
use crate::engine::define;
use crate::error::{Error, Result, quoted};
use crate::model::cron::{self, Cron};
use crate::model::domain::{self, CATCH_UP};
use crate::statements;
use crate::store::value::ScheduleRow;
use crate::store::{Composite, Instant, Json, Session, role};

statements! {
    HOLD_FLOW = "hold_flow.sql",
    INSERT_SCHEDULE = "insert_schedule.sql",
    LOCK_SCHEDULE = "lock_schedule.sql",
    SCHEDULE_OWNER = "schedule_owner.sql",
    REPLACE_SCHEDULE = "replace_schedule.sql",
    DELETE_SCHEDULE = "delete_schedule.sql",
}

/// What is asked of `schedule_flow`.
pub struct Schedule<'a> {
    pub name: &'a str,
    pub flow_slug: &'a str,
    pub cron: &'a str,
    pub payload: Json,
    pub time_zone: &'a str,
    pub catch_up: &'a str,
    pub priority: i32,
    pub key: Option<&'a str>,
}

/// Makes the schedule, or makes it what is asked for; it then ticks from now on.
pub fn schedule_flow(session: &Session, asked: &Schedule) -> Result<Composite<ScheduleRow>> {
    check(asked)?;
    rights::may_run(session, Some(asked.flow_slug))?;
    // Before the schedule, as delete_flow does.
    if HOLD_FLOW.first(&[&asked.flow_slug], |_| Ok(()))?.is_none() {
        return Err(Error::flow_not_found(asked.flow_slug));
    }
    let time_zone = cron::zone_name(asked.time_zone).map_err(internal)?;
    let next = Cron::parse(asked.cron, &time_zone)
        .map_err(internal)?
        .next_after(session.now.unix_micros())
        .map(Instant::from_unix_micros);
    loop {
        let found = LOCK_SCHEDULE.first(
            &[
                &asked.name,
                &asked.flow_slug,
                &asked.cron,
                &asked.payload,
                &time_zone,
                &asked.catch_up,
                &asked.priority,
                &asked.key,
            ],
            |row| {
                Ok((
                    row.get::<String>(1)?,
                    row.get::<bool>(2)?,
                    row.composite(3)?,
                ))
            },
        )?;
        let Some((owner, is_same, row)) = found else {
            let made = INSERT_SCHEDULE.first(
                &[
                    &asked.name,
                    &asked.flow_slug,
                    &asked.cron,
                    &asked.payload,
                    &time_zone,
                    &asked.catch_up,
                    &asked.priority,
                    &asked.key,
                    &next,
                    &role::name(session.caller),
                    &session.now,
                ],
                |row| row.composite(1),
            )?;
            match made {
                Some(row) => {
                    event::upkeep_due();
                    return Ok(row);
                }
                // Someone else made it meanwhile. It is found in the next round, unless it is removed before.
                None => continue,
            }
        };
        demand(session, asked.name, &owner)?;
        if is_same {
            return Ok(row);
        }
        event::upkeep_due();
        return REPLACE_SCHEDULE
            .first(
                &[
                    &asked.name,
                    &asked.flow_slug,
                    &asked.cron,
                    &asked.payload,
                    &time_zone,
                    &asked.catch_up,
                    &asked.priority,
                    &asked.key,
                    &next,
                    &session.now,
                ],
                |row| row.composite(1),
            )?
            .ok_or_else(|| Error::Internal(format!("schedule \"{}\" is gone", asked.name)));
    }
}

/// Removes a schedule; its runs stay.
pub fn unschedule_flow(session: &Session, name: &str) -> Result<()> {
    let owner = SCHEDULE_OWNER
        .first(&[&name], |row| row.get::<String>(1))?
        .ok_or_else(|| {
            Error::not_found(
                "schedule",
                format!("There is no schedule {}.", quoted(name)),
            )
        })?;
    if !rights::is_operator(session)? {
        demand(session, name, &owner)?;
    }
    DELETE_SCHEDULE.execute(&[&name])
}

fn check(asked: &Schedule) -> Result<()> {
    define::refuse_arguments(|report| {
        let mut note = |argument, checked| {
            if let Err(fault) = checked {
                report(argument, None, fault);
            }
        };
        note("name", domain::schedule(asked.name));
        note("cron", Cron::parse(asked.cron, "UTC").map(drop));
        note("time_zone", cron::zone_name(asked.time_zone).map(drop));
        note("catch_up", CATCH_UP.check(asked.catch_up));
    })?;
    asked
        .key
        .map_or(Ok(()), |key| run_flow::check_key("key", key))
}

/// What was checked before is wrong after all.
fn internal(fault: crate::model::problem::Fault) -> Error {
    Error::Internal(fault.message)
}

fn demand(session: &Session, name: &str, owner: &str) -> Result<()> {
    if role::acts_as(session.caller, owner)? {
        return Ok(());
    }
    Err(Error::Denied {
        object: format!("schedule {}", quoted(name)),
        detail: format!("The schedule belongs to role {}.", quoted(owner)),
    })
}
