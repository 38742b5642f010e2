//! The tasks of a batch whose live rows match: whoever has one has the right to settle it.

use std::collections::HashSet;

use super::advance::{Advance, MovingRun, RunNo};
use super::receipt::{self, TaskKey};
use super::settle::{Settlement, Verdict};
use super::{definitions, event, limits};
use crate::error::{Error, Result};
use crate::model::{Executor, StepNo};
use crate::statements;
use crate::store::Statement;

statements! {
    TAKE_TASKS = "take_tasks.sql",
    LOCK_TASKS = "lock_tasks.sql",
}

/// A task of the batch that may be settled: its live row is ours.
pub struct Live {
    /// The position in the batch.
    pub no: usize,
    /// Whether the live row is still there, and only locked.
    pub is_live: bool,
    pub run: RunNo,
    pub step: StepNo,
    pub attempt: i32,
    pub first_attempt: i32,
    pub opens_run: bool,
}

/// A live row as it was found.
struct Found {
    no: usize,
    is_live: bool,
    attempt: i32,
    first_attempt: i32,
    turn: i64,
    priority: i32,
    opens_run: bool,
    definition_id: i64,
    flow_slug: String,
    flow_version: i32,
}

/// The tasks that the batch may settle. Those it completes leave the live ones at once, whatever becomes of them;
/// for the others that is decided later.
pub fn find(advance: &mut Advance, batch: &[Settlement]) -> Result<Vec<Live>> {
    let mut seen = HashSet::with_capacity(batch.len());
    let mut twice = HashSet::new();
    for settlement in batch {
        if !seen.insert(&settlement.task) {
            twice.insert(&settlement.task);
        }
    }
    let (mut take, mut look): (Vec<_>, Vec<_>) = (0..batch.len()).partition(|&no| {
        matches!(batch[no].verdict, Verdict::Complete(_)) && !twice.contains(&batch[no].task)
    });
    let mut found = read(&TAKE_TASKS, batch, &mut take, false)?;
    found.extend(read(&LOCK_TASKS, batch, &mut look, true)?);
    found.sort_unstable_by_key(|task| task.no);

    let mut settled = HashSet::new();
    let mut live = Vec::with_capacity(found.len());
    for task in found {
        let TaskKey {
            run_id, step_slug, ..
        } = &batch[task.no].task;
        // Of two results for one task the first wins.
        if twice.contains(&batch[task.no].task) && !settled.insert(&batch[task.no].task) {
            continue;
        }
        let definition = definitions::get(task.definition_id, &task.flow_slug, task.flow_version)?;
        let step = definition.step_no(step_slug).ok_or_else(|| {
            Error::Internal(format!(
                "flow \"{}\" lacks step \"{step_slug}\"",
                task.flow_slug
            ))
        })?;
        // Nobody would take a task up again that is not claimed, and nobody fails at waiting.
        let executor = definition.steps[step].executor;
        let is_refused = match batch[task.no].verdict {
            Verdict::Release => !executor.is_claimed(),
            Verdict::Fail { .. } => executor == Executor::Timer,
            _ => false,
        };
        if is_refused {
            continue;
        }
        let queue = definition.steps[step].queue.clone();
        limits::task_ended(&queue);
        event::task_settled(&definition.steps[step]);
        let run = advance.add(MovingRun::new(*run_id, definition, task.priority));
        let moving = &mut advance.runs[run];
        if (moving.turn.as_ref()).is_none_or(|(of, last)| *of != queue || *last < task.turn) {
            moving.turn = Some((queue, task.turn));
        }
        live.push(Live {
            no: task.no,
            is_live: task.is_live,
            run,
            step,
            attempt: task.attempt,
            first_attempt: task.first_attempt,
            opens_run: task.opens_run,
        });
    }
    Ok(live)
}

/// Runs a statement that finds the live rows of these members of the batch.
fn read(
    statement: &Statement,
    batch: &[Settlement],
    members: &mut [usize],
    is_live: bool,
) -> Result<Vec<Found>> {
    if members.is_empty() {
        return Ok(Vec::new());
    }
    members.sort_by_key(|&no| {
        let task = &batch[no].task;
        (task.run_id, &task.step_slug, task.task_index)
    });
    let (ids, slugs, indexes) = receipt::columns(members.iter().map(|&no| &batch[no].task));
    let leases: Vec<_> = members.iter().map(|&no| batch[no].lease).collect();
    statement.query(&[&ids, &slugs, &indexes, &leases], |row| {
        let ordinal = usize::try_from(row.get::<i64>(1)? - 1).unwrap_or_default();
        Ok(Found {
            no: members[ordinal],
            is_live,
            attempt: row.get(2)?,
            first_attempt: row.get(3)?,
            turn: row.get(4)?,
            priority: row.get(5)?,
            opens_run: row.get(6)?,
            definition_id: row.get(7)?,
            flow_slug: row.get(8)?,
            flow_version: row.get(9)?,
        })
    })
}
