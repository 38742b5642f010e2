//! A worker needs longer: its lease runs from now on. One row, no other lock: a heartbeat waits for nobody.

use super::receipt::{self, Receipt, TaskKey};
use crate::error::Result;
use crate::statements;
use crate::store::Session;

statements! {
    EXTEND_TASK = "extend_task.sql",
}

pub fn extend(
    session: &Session,
    task: TaskKey,
    lease: Option<i64>,
    lease_seconds: Option<i32>,
) -> Result<Vec<Receipt>> {
    let accepted = EXTEND_TASK
        .first(
            &[
                &task.run_id,
                &task.step_slug,
                &task.task_index,
                &lease,
                &lease_seconds,
                &session.now,
            ],
            |_| Ok(()),
        )?
        .is_some();
    let standing = receipt::standings(&[&task])?.pop().unwrap_or_default();
    Ok(vec![Receipt {
        task,
        accepted,
        standing,
    }])
}
