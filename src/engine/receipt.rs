//! Receipts: what a settlement found, and where things stand after the call.

use crate::error::{Error, Result};
use crate::model::RunId;
use crate::statements;
use crate::store::value::TaskReceipt;
use crate::store::{Composite, RowType};

statements! {
    STANDING = "standing.sql",
}

/// The task that a settlement is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskKey {
    pub run_id: RunId,
    pub step_slug: String,
    pub task_index: i32,
}

#[derive(Debug, Clone)]
pub struct Receipt {
    pub task: TaskKey,
    pub accepted: bool,
    pub standing: Standing,
}

/// Where a task, its step and its run stand; `None` where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The status of the task's latest attempt.
    pub task: Option<String>,
    pub step: Option<String>,
    pub run: Option<String>,
    /// How many tasks the step has; `None` before it starts.
    pub initial_tasks: Option<i32>,
}

/// Reads where tasks stand, in the order given.
pub fn standings(tasks: &[&TaskKey]) -> Result<Vec<Standing>> {
    let (ids, slugs, indexes) = columns(tasks.iter().copied());
    STANDING.query(&[&ids, &slugs, &indexes], |row| {
        Ok(Standing {
            task: row.opt(1),
            step: row.opt(2),
            run: row.opt(3),
            initial_tasks: row.opt(4),
        })
    })
}

/// Receipts as SQL rows, in the order given.
pub fn rows(receipts: &[Receipt]) -> Result<Vec<Composite<TaskReceipt>>> {
    let row_type = RowType::open()?;
    (receipts.iter())
        .map(
            |Receipt {
                 task,
                 accepted,
                 standing,
             }| {
                row_type.row(&[
                    &task.run_id,
                    &task.step_slug,
                    &task.task_index,
                    accepted,
                    &standing.task,
                    &standing.step,
                    &standing.run,
                ])
            },
        )
        .collect()
}

/// The receipt of a call about one task: one that does not exist is an error.
pub fn of_one(receipts: &[Receipt]) -> Result<Composite<TaskReceipt>> {
    let receipt = receipts
        .first()
        .ok_or_else(|| Error::Internal("a settlement has no receipt".into()))?;
    let TaskKey {
        run_id,
        step_slug,
        task_index,
    } = &receipt.task;
    if receipt.standing.run.is_none() {
        return Err(Error::run_not_found(run_id));
    }
    if receipt.standing.step.is_none() {
        return Err(Error::step_not_found(step_slug));
    }
    let beyond = (receipt.standing.initial_tasks).is_some_and(|tasks| *task_index >= tasks);
    if !receipt.accepted && (*task_index < 0 || beyond) {
        return Err(Error::not_found(
            "task",
            format!("Step \"{step_slug}\" has no task {task_index}."),
        ));
    }
    rows(receipts)?
        .into_iter()
        .next()
        .ok_or_else(|| Error::Internal("a receipt has no row".into()))
}

/// The columns of task keys.
pub fn columns<'a>(
    tasks: impl Iterator<Item = &'a TaskKey>,
) -> (Vec<RunId>, Vec<String>, Vec<i32>) {
    let mut ids = Vec::new();
    let mut slugs = Vec::new();
    let mut indexes = Vec::new();
    for task in tasks {
        ids.push(task.run_id);
        slugs.push(task.step_slug.clone());
        indexes.push(task.task_index);
    }
    (ids, slugs, indexes)
}
