//! What becomes of a task that is settled: decided by its step, its attempt and the verdict, and by nothing else.

use std::collections::HashSet;

use rand::Rng;

use super::advance::Advance;
use super::live::Live;
use super::settle::{Settlement, Verdict};
use crate::error::Result;
use crate::model::{Executor, Resort, StepType, retry};
use crate::statements;
use crate::store::Instant;

statements! {
    JSON_TYPES = "json_types.sql",
}

/// What becomes of a task.
pub enum Fate {
    Completed,
    /// The next attempt is due at this time.
    Retried(Instant),
    Released,
    /// No attempt is left, or none would help.
    Ended {
        message: String,
        resort: Resort,
    },
}

/// Decides about each of the locked tasks.
pub fn decide(advance: &Advance, batch: &[Settlement], live: &[Live]) -> Result<Vec<Fate>> {
    let not_arrays = find_outputs_no_map_can_take(advance, batch, live)?;
    let mut rng = rand::rng();
    Ok(live
        .iter()
        .map(|task| {
            let definition = &advance.runs[task.run].definition;
            let step = &definition.steps[task.step];
            let exhausted = |message: String| Fate::Ended {
                message,
                resort: step.when_exhausted,
            };
            let has_attempts_left = step.executor.is_claimed()
                && retry::has_attempts_left(task.attempt, task.first_attempt, step.max_attempts);
            match &batch[task.no].verdict {
                Verdict::Complete(_) if not_arrays.contains(&task.no) => Fate::Ended {
                    message:
                        "the output is not an array, and a map step takes its elements from it"
                            .to_owned(),
                    resort: Resort::Fail,
                },
                Verdict::Complete(_) => Fate::Completed,
                Verdict::Release => Fate::Released,
                Verdict::Expire if has_attempts_left => Fate::Retried(advance.session.now),
                Verdict::Expire if step.executor == Executor::External => {
                    exhausted("nobody completed the step in time".to_owned())
                }
                Verdict::Expire => exhausted("the lease of the last attempt ran out".to_owned()),
                Verdict::Fail {
                    retryable: true,
                    retry_after,
                    ..
                } if has_attempts_left => {
                    let seconds = retry_after.map_or_else(
                        || {
                            retry::delay(
                                task.attempt,
                                task.first_attempt,
                                step.base_delay,
                                definition.max_delay,
                                rng.random_range(-1.0..1.0),
                            )
                        },
                        f64::from,
                    );
                    Fate::Retried(advance.session.now.plus_seconds(seconds))
                }
                Verdict::Fail { message, .. } | Verdict::Reject(message) => {
                    exhausted(message.clone())
                }
            }
        })
        .collect())
}

/// Results of single steps that feed a map and are no arrays.
fn find_outputs_no_map_can_take(
    advance: &Advance,
    batch: &[Settlement],
    live: &[Live],
) -> Result<HashSet<usize>> {
    let mut numbers = Vec::new();
    let mut outputs = Vec::new();
    for task in live {
        let step = &advance.runs[task.run].definition.steps[task.step];
        if let Verdict::Complete(output) = batch[task.no].verdict
            && step.feeds_map
            && step.step_type == StepType::Single
        {
            numbers.push(task.no);
            outputs.push(output);
        }
    }
    if numbers.is_empty() {
        return Ok(HashSet::new());
    }
    let are_arrays = JSON_TYPES.query(&[&outputs], |row| {
        Ok(row.opt::<String>(1).as_deref() == Some("array"))
    })?;
    Ok((numbers.into_iter().zip(are_arrays))
        .filter_map(|(no, is_array)| (!is_array).then_some(no))
        .collect())
}
