//! A worker needs longer: its lease runs from now on. One row, no other lock: a heartbeat waits for nobody.

use super::receipt::{self, Receipt, TaskKey};
use crate::error::Result;
use crate::statements;
use crate::store::value::Parameter;
use crate::store::{Session, Statement};

statements! {
    EXTEND_TASK = "extend_task.sql",
    EXTEND_EXTERNAL = "extend_external.sql",
}

pub fn extend(
    session: &Session,
    task: TaskKey,
    lease: Option<i64>,
    lease_seconds: Option<i32>,
) -> Result<Vec<Receipt>> {
    let parameters: [&dyn Parameter; 6] = [
        &task.run_id,
        &task.step_slug,
        &task.task_index,
        &lease,
        &lease_seconds,
        &session.now,
    ];
    let has_rows = |statement: &Statement| Ok(statement.first(&parameters, |_| Ok(()))?.is_some());
    let accepted = has_rows(&EXTEND_TASK)? || has_rows(&EXTEND_EXTERNAL)?;
    let standing = receipt::standings(&[&task])?.pop().unwrap_or_default();
    Ok(vec![Receipt {
        task,
        accepted,
        standing,
    }])
}
