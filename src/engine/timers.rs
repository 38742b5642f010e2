//! Timers: steps that end by themselves, `start_delay` seconds after they begin, or that long after a time that stands
//! in their input, see [`crate::model::timer`].
//!
//! A timer's live task is under way from its start, and the end of its lease is when it is over: whoever sweeps its queue
//! then completes it ([`super::claim`]). Here the end is found in the input; a timer that is over already is completed at
//! once, and one whose input says no time fails.

use super::advance::{Advance, RunNo};
use super::events;
use super::receipt::{self, TaskKey};
use super::settle::{self, Settlement, Verdict};
use crate::error::{Result, quoted};
use crate::model::timer::{self, Due};
use crate::model::{Executor, StepNo, StepType};
use crate::statements;
use crate::store::{Instant, Json};

statements! {
    TIMER_VALUES = "timer_values.sql",
    SET_TIMERS = "set_timers.sql",
    TIMES_AS_JSON = "times_as_json.sql",
}

/// Steps have started: timers among them whose time stands in their input get it, and those that are over end.
pub fn begin(advance: &mut Advance, steps: &[(RunNo, StepNo)]) -> Result<()> {
    let (aimed, plain): (Vec<_>, Vec<_>) = (steps.iter().copied())
        .filter(|&(run, step)| advance.step(run, step).executor == Executor::Timer)
        .partition(|&(run, step)| advance.step(run, step).target.is_some());
    let now = advance.session.now;
    let over_at_once: Vec<_> = (plain.into_iter())
        .filter(|&(run, step)| {
            advance.step(run, step).start_delay == 0 && begins_at(advance, run) <= now
        })
        .collect();
    let mut over: Vec<_> = (events::tasks_of(advance, &over_at_once)?.into_iter())
        .map(|(_, task)| (task, now))
        .collect();
    let mut batch = aim(advance, &aimed, &mut over)?;
    if !over.is_empty() {
        let times: Vec<_> = over.iter().map(|(_, at)| *at).collect();
        let outputs = TIMES_AS_JSON.query(&[&times], |row| row.get::<Json>(1))?;
        batch.extend(
            (over.into_iter().zip(outputs)).map(|((task, _), output)| Settlement {
                task,
                lease: None,
                verdict: Verdict::Complete(Some(output)),
            }),
        );
    }
    settle::settle_inside(advance, &batch).map(drop)
}

/// When what a run starts now begins: a pending run's steps not before it does.
fn begins_at(advance: &Advance, run: RunNo) -> Instant {
    let now = advance.session.now;
    (advance.runs[run].not_before).map_or(now, |start| start.max(now))
}

/// Sets timers to the times in their inputs. Adds those that are over to `over`, and returns the settlements of those that
/// fail.
fn aim(
    advance: &Advance,
    steps: &[(RunNo, StepNo)],
    over: &mut Vec<(TaskKey, Instant)>,
) -> Result<Vec<Settlement>> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let now = advance.session.now;
    let mut failures = Vec::new();
    let mut ahead = Vec::new();
    let mut due_at = Vec::new();
    for (n, task_index, found) in values(advance, steps)? {
        let (run, no) = steps[n];
        let step = advance.step(run, no);
        let task = TaskKey {
            run_id: advance.runs[run].id,
            step_slug: step.slug.clone(),
            task_index,
        };
        let begins_at = begins_at(advance, run);
        let at = match found {
            Ok(Due::At(micros)) => Instant::from_unix_micros(micros),
            Ok(Due::In(seconds)) => begins_at.plus_seconds(seconds),
            Err(reason) => {
                let target = quoted(step.target.as_deref().unwrap_or_default());
                failures.push(Settlement {
                    task,
                    lease: None,
                    verdict: Verdict::Reject(format!(
                        "the input has no time for the timer at {target}: {reason}"
                    )),
                });
                continue;
            }
        };
        let mut at = at.plus_seconds(f64::from(step.start_delay));
        if begins_at > now {
            at = at.max(begins_at);
        }
        if at <= now {
            over.push((task, at));
        } else {
            ahead.push(task);
            due_at.push(at);
        }
    }
    if !ahead.is_empty() {
        let (ids, slugs, indexes) = receipt::columns(ahead.iter());
        SET_TIMERS.execute(&[&ids, &slugs, &indexes, &due_at])?;
    }
    Ok(failures)
}

/// What the inputs of the tasks of steps say: the position of the step, the index of the task, and the time.
#[allow(clippy::type_complexity)]
fn values(
    advance: &Advance,
    steps: &[(RunNo, StepNo)],
) -> Result<Vec<(usize, i32, std::result::Result<Due, String>)>> {
    let mut columns = (vec![], vec![], vec![], vec![], vec![], vec![], vec![]);
    let (ids, slugs, sources, are_maps, tokens, firsts, counts) = &mut columns;
    for &(run, no) in steps {
        let step = advance.step(run, no);
        let mut path = (step.target.as_deref())
            .and_then(timer::pointer)
            .unwrap_or_default()
            .into_iter();
        let is_map = step.step_type == StepType::Map;
        ids.push(advance.runs[run].id);
        slugs.push(step.slug.clone());
        sources.push(path.next().filter(|source| is_map || source != "run"));
        are_maps.push(is_map);
        firsts.push(i32::try_from(tokens.len() + 1).unwrap_or(i32::MAX));
        counts.push(i32::try_from(path.len()).unwrap_or(i32::MAX));
        tokens.extend(path);
    }
    TIMER_VALUES.query(
        &[ids, slugs, sources, are_maps, tokens, firsts, counts],
        |row| {
            Ok((
                usize::try_from(row.get::<i64>(1)? - 1).unwrap_or_default(),
                row.get(2)?,
                timer::due(
                    row.opt::<String>(3).as_deref(),
                    row.opt::<String>(4).as_deref(),
                ),
            ))
        },
    )
}
