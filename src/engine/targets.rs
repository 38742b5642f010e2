//! What the targets of steps must be, as far as only the server can say: that a function is there and allowed, and that a
//! URL is one that may be called. Checked when a step is defined, so that a mistake is not found at midnight.

use super::{define, sql_tasks};
use crate::error::Result;
use crate::http;
use crate::model::problem::{Problem, Problems};
use crate::model::shape::StepShape;

/// Refuses steps whose targets cannot be called; `place` names the target of the step at a position.
pub fn check(flow_slug: &str, steps: &[StepShape], place: impl Fn(usize) -> String) -> Result<()> {
    let mut problems = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        let target = step.target.as_deref().unwrap_or_default();
        let checked = match step.executor.as_str() {
            "sql" => sql_tasks::find(sql_tasks::owner(flow_slug)?, target)?.map(drop),
            "http" => http::check_url(target),
            _ => Ok(()),
        };
        if let Err(fault) = checked {
            problems.push(Problem::new(place(n), fault));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(define::refuse(&Problems(problems)))
}
