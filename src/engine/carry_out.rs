//! What [`super::fate`] has decided is done: one statement for each kind of change, over all tasks of a batch.

use std::collections::{HashMap, HashSet};

use super::advance::{Advance, RunNo, Skip, SkipReason};
use super::counting::{self, Holds};
use super::fate::Fate;
use super::live::Live;
use super::settle::{Settlement, Verdict};
use super::{event, events, gather, receipt, run_flow};
use crate::error::Result;
use crate::model::{Executor, Resort, StepNo, StepType};
use crate::statements;
use crate::store::Json;

statements! {
    DELETE_LIVE_TASKS = "delete_live_tasks.sql",
    COMPLETE_TASKS = "complete_tasks.sql",
    FAIL_TASKS = "fail_tasks.sql",
    RETRY_TASKS = "retry_tasks.sql",
    RELEASE_TASKS = "release_tasks.sql",
    CANCEL_STEP_TASKS = "cancel_step_tasks.sql",
}

/// The tasks of one fate, as columns: their keys and attempts.
struct Columns {
    ids: Vec<crate::model::RunId>,
    slugs: Vec<String>,
    indexes: Vec<i32>,
    attempts: Vec<i32>,
}

impl Columns {
    fn of(batch: &[Settlement], tasks: &[&Live]) -> Self {
        let (ids, slugs, indexes) = receipt::columns(tasks.iter().map(|t| &batch[t.no].task));
        Self {
            ids,
            slugs,
            indexes,
            attempts: tasks.iter().map(|task| task.attempt).collect(),
        }
    }
}

fn with_fate<'a>(live: &'a [Live], fates: &[Fate], which: fn(&Fate) -> bool) -> Vec<&'a Live> {
    (live.iter().zip(fates))
        .filter_map(|(task, fate)| which(fate).then_some(task))
        .collect()
}

pub fn complete_tasks(
    advance: &mut Advance,
    batch: &[Settlement],
    live: &[Live],
    fates: &[Fate],
    holds: Option<&Holds>,
) -> Result<()> {
    let tasks = with_fate(live, fates, |fate| matches!(fate, Fate::Completed));
    if tasks.is_empty() {
        return Ok(());
    }
    let outputs: Vec<Option<Json>> = tasks
        .iter()
        .map(|task| match batch[task.no].verdict {
            Verdict::Complete(output) => output,
            _ => None,
        })
        .collect();
    let is_map =
        |task: &Live| advance.runs[task.run].definition.steps[task.step].step_type == StepType::Map;
    let is_single: Vec<_> = tasks.iter().map(|task| !is_map(task)).collect();
    let still_live: Vec<_> = (tasks.iter().copied())
        .filter(|task| task.is_live)
        .collect();
    if !still_live.is_empty() {
        let columns = Columns::of(batch, &still_live);
        DELETE_LIVE_TASKS.execute(&[&columns.ids, &columns.slugs, &columns.indexes])?;
    }
    let columns = Columns::of(batch, &tasks);
    COMPLETE_TASKS.execute(&[
        &columns.ids,
        &columns.slugs,
        &columns.indexes,
        &columns.attempts,
        &outputs,
        &is_single,
        &advance.session.now,
    ])?;

    let mut counts: HashMap<(RunNo, StepNo), i32> = HashMap::new();
    let mut large = Vec::new();
    for ((task, output), is_single) in tasks.iter().zip(outputs).zip(is_single) {
        if is_single {
            advance.step_completed(task.run, task.step);
            let run = &advance.runs[task.run];
            let size = output.map_or(0, |output| output.size() as i64);
            if size > run_flow::largest_part(&run.definition) {
                large.push(run.id);
            }
        } else if !holds.is_some_and(|holds| holds.is_shared(advance.runs[task.run].id)) {
            *counts.entry((task.run, task.step)).or_default() += 1;
        }
    }
    gather::mark_large(&large)?;
    counting::count_down(advance, counts)
}

pub fn retry_tasks(
    advance: &Advance,
    batch: &[Settlement],
    live: &[Live],
    fates: &[Fate],
) -> Result<()> {
    let tasks = with_fate(live, fates, |fate| matches!(fate, Fate::Retried(_)));
    if tasks.is_empty() {
        return Ok(());
    }
    let due: Vec<_> = (fates.iter())
        .filter_map(|fate| match fate {
            Fate::Retried(due) => Some(*due),
            _ => None,
        })
        .collect();
    let columns = Columns::of(batch, &tasks);
    let (statuses, messages): (Vec<_>, Vec<_>) = (tasks.iter())
        .map(|t| end_of_attempt(&batch[t.no].verdict))
        .unzip();
    RETRY_TASKS.execute(&[
        &columns.ids,
        &columns.slugs,
        &columns.indexes,
        &columns.attempts,
        &statuses,
        &messages,
        &due,
        &advance.session.now,
    ])?;
    for (task, due) in tasks.iter().zip(due) {
        event::task_queued(
            advance.step(task.run, task.step),
            due <= advance.session.now,
        );
    }
    Ok(())
}

fn end_of_attempt(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Fail { message, .. } | Verdict::Reject(message) => ("failed", message.clone()),
        Verdict::Expire => ("expired", "the lease ran out".to_owned()),
        Verdict::Complete(_) | Verdict::Release => ("failed", String::new()),
    }
}

pub fn release_tasks(
    advance: &Advance,
    batch: &[Settlement],
    live: &[Live],
    fates: &[Fate],
) -> Result<()> {
    let tasks = with_fate(live, fates, |fate| matches!(fate, Fate::Released));
    if tasks.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(batch, &tasks);
    RELEASE_TASKS.execute(&[
        &columns.ids,
        &columns.slugs,
        &columns.indexes,
        &columns.attempts,
        &advance.session.now,
    ])?;
    for task in tasks {
        event::task_queued(advance.step(task.run, task.step), true);
    }
    Ok(())
}

/// Ends tasks that are not tried again, and their steps with them.
pub fn end_tasks(
    advance: &mut Advance,
    batch: &[Settlement],
    live: &[Live],
    fates: &[Fate],
) -> Result<()> {
    let tasks = with_fate(live, fates, |fate| matches!(fate, Fate::Ended { .. }));
    if tasks.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(batch, &tasks);
    let statuses: Vec<_> = (tasks.iter())
        .map(|task| end_of_attempt(&batch[task.no].verdict).0)
        .collect();
    let mut messages = Vec::new();
    let mut failures = Vec::new();
    let mut skips = Vec::new();
    let mut maps = Vec::new();
    let mut seen = HashSet::new();
    for (task, fate) in live.iter().zip(fates) {
        let Fate::Ended { message, resort } = fate else {
            continue;
        };
        messages.push(message.clone());
        if !seen.insert((task.run, task.step)) {
            continue;
        }
        if advance.runs[task.run].definition.steps[task.step].step_type == StepType::Map {
            maps.push((task.run, task.step));
        }
        match resort {
            Resort::Fail => failures.push((task.run, task.step, message.clone())),
            resort => skips.push(Skip {
                run: task.run,
                step: task.step,
                reason: SkipReason::HandlerFailed,
                error_message: Some(message.clone()),
                cascade: *resort == Resort::SkipCascade,
            }),
        }
    }
    FAIL_TASKS.execute(&[
        &columns.ids,
        &columns.slugs,
        &columns.indexes,
        &columns.attempts,
        &statuses,
        &messages,
        &advance.session.now,
    ])?;
    if !maps.is_empty() {
        let ids: Vec<_> = maps.iter().map(|map| advance.runs[map.0].id).collect();
        let slugs: Vec<_> = maps.iter().map(|m| advance.slug(m.0, m.1)).collect();
        advance.lock_live_tasks(&ids, &slugs)?;
        CANCEL_STEP_TASKS.execute(&[&ids, &slugs, &advance.session.now])?;
        events::end_waits_of_steps(advance, &maps)?;
        for &(run, step) in &maps {
            if advance.step(run, step).executor == Executor::Flow {
                advance.aftermath.children_of(advance.runs[run].id);
            }
        }
    }
    advance.skip_steps(skips)?;
    advance.fail_steps(failures)
}
