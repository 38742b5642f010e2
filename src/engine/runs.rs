//! A run as the functions that are about one run find it.

use std::rc::Rc;

use super::advance::MovingRun;
use super::definitions;
use crate::error::{Error, Result};
use crate::model::{Definition, RunId};
use crate::statements;
use crate::store::value::RunRow;
use crate::store::{Composite, Instant, Session, lock};

statements! {
    FIND_RUN = "find_run.sql",
    LOCK_RUN_ROW = "lock_run_row.sql",
    RUN_ROW = "run_row.sql",
}

pub struct Run {
    pub id: RunId,
    pub definition: Rc<Definition>,
    pub status: String,
    pub priority: i32,
    pub start_at: Option<Instant>,
}

impl Run {
    /// Takes the run's lock and reads the run.
    pub fn lock(run_id: RunId) -> Result<Self> {
        lock::share_runs_table()?;
        lock::lock_runs([run_id]);
        // A statement of its own, after the lock. It locks the row against `prune_runs`, which takes no run's lock.
        LOCK_RUN_ROW.execute(&[&run_id])?;
        Self::find(run_id)
    }

    pub fn find(run_id: RunId) -> Result<Self> {
        FIND_RUN
            .first(&[&run_id], |row| {
                Ok(Self {
                    id: run_id,
                    definition: definitions::get(row.get(1)?, &row.get::<String>(2)?, row.get(3)?)?,
                    status: row.get(4)?,
                    priority: row.get(5)?,
                    start_at: row.opt(6),
                })
            })?
            .ok_or_else(|| Error::run_not_found(run_id))
    }

    pub fn has_ended(&self) -> bool {
        !matches!(self.status.as_str(), "pending" | "started")
    }

    /// The run as a call moves it.
    pub fn moving(&self, session: &Session) -> MovingRun {
        let run = MovingRun::new(self.id, Rc::clone(&self.definition), self.priority);
        match self.start_at {
            Some(start_at) if self.status == "pending" => {
                run.pending_until(start_at.max(session.now))
            }
            _ => run,
        }
    }
}

/// The row of a run, as it stands.
pub fn row(run_id: RunId) -> Result<Composite<RunRow>> {
    RUN_ROW
        .first(&[&run_id], |row| row.composite(1))?
        .ok_or_else(|| Error::run_not_found(run_id))
}
