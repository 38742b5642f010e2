//! The ticks of schedules.
//!
//! **One run for each tick.** The row of the schedule is locked, its runs are started, and `next_run_at` moves on, all in
//! one transaction. Whoever else ticks meanwhile passes over the row, or finds the new time in it; after a crash neither
//! the run nor the new time is there. Besides, each run has the idempotency key `schedule <name> <tick>`, so that a tick
//! that comes again (a clock that was set back and a schedule that was replaced, a restored row) finds its run.
//!
//! **Nothing is waited for.** While `delete_flow` holds the table of runs, or a definer the version that a run would
//! freeze, the schedule stays due.

use super::rights;
use super::run_flow::{self, Creator};
use super::upkeep::soon;
use crate::error::{Error, Result, quoted};
use crate::model::RunId;
use crate::model::catch_up::{CatchUp, Due};
use crate::model::cron::{self, Cron};
use crate::statements;
use crate::store::{Instant, Json, JsonArray, Session, lock, role, subtransaction};

statements! {
    NEXT_TICK = "next_tick.sql",
    TAKE_DUE_SCHEDULES = "take_due_schedules.sql",
    HOLD_OPEN_VERSION = "hold_open_version.sql",
    COPIES = "copies.sql",
    MOVE_SCHEDULE = "move_schedule.sql",
}

/// How many schedules, and how many runs, a call starts at most. Each schedule is a subtransaction, and a backend keeps
/// no more than 64 of them where others find them fast.
const MOST_SCHEDULES: i32 = 50;
const MOST_RUNS: usize = 1000;

/// A schedule that is due; its row is locked.
struct Schedule {
    name: String,
    flow_slug: String,
    cron: String,
    payload: Json,
    time_zone: String,
    catch_up: CatchUp,
    priority: i32,
    key: Option<String>,
    owner: String,
    next_run_at: Instant,
}

/// Starts the runs of the schedules that are due, and says when there is more to do.
pub fn tick(session: &Session) -> Result<Option<Instant>> {
    match next_tick()? {
        Some(next) if next <= session.now => {}
        later => return Ok(later),
    }
    // Before the rows of schedules: delete_flow takes these two in this order.
    if !lock::try_share_runs_table()? {
        return Ok(Some(soon(session)));
    }
    let due = TAKE_DUE_SCHEDULES.query(&[&session.now, &MOST_SCHEDULES], |row| {
        Ok(Schedule {
            name: row.get(1)?,
            flow_slug: row.get(2)?,
            cron: row.get(3)?,
            payload: row.get(4)?,
            time_zone: row.get(5)?,
            catch_up: CatchUp::parse(&row.get::<String>(6)?),
            priority: row.get(7)?,
            key: row.opt(8),
            owner: row.get(9)?,
            next_run_at: row.get(10)?,
        })
    })?;
    let mut runs = MOST_RUNS;
    let mut has_moved = false;
    for schedule in due {
        if runs == 0 {
            break;
        }
        if is_version_free(&schedule.flow_slug)? {
            runs -= schedule.start(session, runs)?;
            has_moved = true;
        }
    }
    Ok(match next_tick()? {
        // What is still due is more than a call does, or somebody else has it.
        Some(next) if next <= session.now && has_moved => Some(session.now),
        Some(next) if next <= session.now => Some(soon(session)),
        later => later,
    })
}

fn next_tick() -> Result<Option<Instant>> {
    NEXT_TICK.first(&[], |row| row.get(1))
}

/// Whether a first run of the flow's latest version would wait for nobody.
fn is_version_free(flow_slug: &str) -> Result<bool> {
    match run_flow::current_version(flow_slug)? {
        Some((version, _, false)) => Ok(HOLD_OPEN_VERSION
            .first(&[&flow_slug, &version], |_| Ok(()))?
            .is_some()),
        // Frozen; or there is none, and the run says so.
        _ => Ok(true),
    }
}

impl Schedule {
    /// Starts the runs of the ticks that are due, at most `limit`, and moves the schedule on. Returns how many it tried.
    fn start(&self, session: &Session, limit: usize) -> Result<usize> {
        let due = match Cron::parse(&self.cron, &self.time_zone) {
            Ok(cron) => self.catch_up.due(
                &cron,
                self.next_run_at.unix_micros(),
                session.now.unix_micros(),
                limit,
            ),
            // Another release of the extension made it, or its zone has been given up. It rests until it is replaced.
            Err(fault) => {
                let rests = Due {
                    ticks: Vec::new(),
                    last: self.next_run_at.unix_micros(),
                    next: None,
                };
                self.move_on(session, &rests, None, Some(&fault.message))?;
                return Ok(0);
            }
        };
        if due.ticks.is_empty() {
            self.move_on(session, &due, None, None)?;
            return Ok(0);
        }
        match subtransaction::contain(|| self.run(session, &due.ticks))? {
            Ok(run) => self.move_on(session, &due, run, None)?,
            Err(reason) => self.move_on(session, &due, None, Some(&reason))?,
        }
        Ok(due.ticks.len())
    }

    /// Starts a run for each tick, as the schedule's owner, and returns the last.
    fn run(&self, session: &Session, ticks: &[i64]) -> Result<Option<RunId>> {
        let owner = role::by_name(&self.owner)?.ok_or_else(|| {
            Error::not_found("role", format!("There is no role {}.", quoted(&self.owner)))
        })?;
        if !rights::role_may_run(&self.owner, &self.flow_slug)? {
            return Err(Error::Denied {
                object: format!("flow {}", quoted(&self.flow_slug)),
                detail: format!(
                    "Role {}, the owner of the schedule, may not run it.",
                    quoted(&self.owner)
                ),
            });
        }
        let session = Session {
            caller: owner,
            ..*session
        };
        let keys = (ticks.iter())
            .map(|&tick| Some(format!("schedule {} {}", self.name, cron::iso(tick))))
            .collect();
        let request = run_flow::Request {
            flow_slug: &self.flow_slug,
            payloads: self.payloads(ticks.len())?,
            idempotency_keys: keys,
            priority: self.priority,
            start_at: None,
            key: self.key.as_deref(),
            parents: None,
            creator: Some(Creator {
                created_by: self.owner.clone(),
                created_for: None,
            }),
        };
        Ok(run_flow::run_flow(&session, &request)?.pop())
    }

    fn payloads(&self, count: usize) -> Result<JsonArray> {
        if count == 1 {
            return Ok(JsonArray::of(self.payload));
        }
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        COPIES
            .first(&[&self.payload, &count], |row| row.get(1))?
            .ok_or_else(|| Error::Internal("there are no copies".into()))
    }

    fn move_on(
        &self,
        session: &Session,
        due: &Due,
        run: Option<RunId>,
        error: Option<&str>,
    ) -> Result<()> {
        MOVE_SCHEDULE.execute(&[
            &self.name,
            &Instant::from_unix_micros(due.last),
            &run,
            &error,
            &due.next.map(Instant::from_unix_micros),
            &session.now,
        ])
    }
}
