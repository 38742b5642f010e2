//! A step whose deps are resolved begins: its condition is checked, and its tasks are queued.
//!
//! A step with an unmet condition is failed or skipped, a manual one waits for `start_step`, a map over nothing
//! completes at once; everything else gets its tasks. Elements of a map are taken out of their array once, here, and
//! each lies beside its task: no task reads the whole array.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::advance::{Advance, RunNo, Skip, SkipReason};
use super::counting::LARGE_MAP;
use super::walks::{self, Lane};
use super::{event, events, timers};
use crate::error::Result;
use crate::model::{Executor, Resort, RunId, StepNo, StepType};
use crate::statements;
use crate::store::Instant;
use crate::store::value::Parameter;

statements! {
    CHECK_CONDITIONS = "check_conditions.sql",
    START_STATES = "start_states.sql",
    START_SINGLES = "start_singles.sql",
    MAP_SIZES = "map_sizes.sql",
    START_MAPS = "start_maps.sql",
    COMPLETE_EMPTY_MAPS = "complete_empty_maps.sql",
}

/// Begins steps whose deps are resolved.
pub fn begin(advance: &mut Advance, steps: Vec<(RunNo, StepNo)>) -> Result<()> {
    let steps = check_conditions(advance, steps)?
        .into_iter()
        .filter(|&(run, step)| !advance.runs[run].definition.steps[step].manual)
        .collect();
    start(advance, steps)
}

/// Starts steps, manual ones included, whose conditions are met.
pub fn start(advance: &mut Advance, steps: Vec<(RunNo, StepNo)>) -> Result<()> {
    let (maps, singles): (Vec<_>, Vec<_>) = steps.into_iter().partition(|&(run, step)| {
        advance.runs[run].definition.steps[step].step_type == StepType::Map
    });
    let maps = measure_maps(advance, maps)?;
    let sizes = (singles.iter().map(|&step| (step, 1)))
        .chain(maps.iter().map(|map| (map.step, map.size)))
        .collect();
    let places = Places::of(advance, sizes);
    start_singles(advance, &singles, &places)?;
    start_maps(advance, &maps, &places)
}

/// Where the tasks of each step stand among all tasks that their run starts in their queue at one moment: in the order
/// of the steps' definition.
pub struct Places(HashMap<(RunNo, StepNo), i64>);

impl Places {
    /// From the number of tasks of each step.
    pub fn of(advance: &Advance, mut sizes: Vec<((RunNo, StepNo), i32)>) -> Self {
        sizes.sort_unstable();
        let mut next: HashMap<(RunNo, &str), i64> = HashMap::new();
        let mut places = HashMap::with_capacity(sizes.len());
        for ((run, step), size) in sizes {
            let queue = advance.runs[run].definition.steps[step].queue.as_str();
            let place = next.entry((run, queue)).or_default();
            places.insert((run, step), *place);
            *place += i64::from(size);
        }
        Self(places)
    }
}

/// Returns the steps that may start; the others are skipped or failed as they say.
fn check_conditions(
    advance: &mut Advance,
    steps: Vec<(RunNo, StepNo)>,
) -> Result<Vec<(RunNo, StepNo)>> {
    let (conditional, mut met): (Vec<_>, Vec<_>) = steps
        .into_iter()
        .partition(|&(run, step)| advance.runs[run].definition.steps[step].has_condition);
    if conditional.is_empty() {
        return Ok(met);
    }
    let keys = Keys::of(advance, &conditional);
    let versions: Vec<_> = conditional
        .iter()
        .map(|&(run, _)| advance.runs[run].definition.version)
        .collect();
    let flows: Vec<_> = conditional
        .iter()
        .map(|&(run, _)| advance.runs[run].definition.flow_slug.clone())
        .collect();
    let verdicts = CHECK_CONDITIONS
        .query(&[&keys.runs, &keys.steps, &flows, &versions], |row| {
            Ok((row.get::<bool>(1)?, row.get::<bool>(2)?))
        })?;

    let mut failures = Vec::new();
    let mut skips = Vec::new();
    for ((run, step), (required_met, forbidden_met)) in conditional.into_iter().zip(verdicts) {
        if required_met && !forbidden_met {
            met.push((run, step));
            continue;
        }
        let which = if required_met {
            "the input contains forbidden_input_pattern"
        } else {
            "the input does not contain required_input_pattern"
        };
        match advance.runs[run].definition.steps[step].when_unmet {
            Resort::Fail => failures.push((run, step, format!("condition unmet: {which}"))),
            resort => skips.push(Skip {
                run,
                step,
                reason: SkipReason::ConditionUnmet,
                error_message: None,
                cascade: resort == Resort::SkipCascade,
            }),
        }
    }
    advance.fail_steps(failures)?;
    advance.skip_steps(skips)?;
    met.sort_unstable();
    Ok(met)
}

/// Queues the one task of each single step, and starts the states of those that are not known to be started.
pub fn start_singles(
    advance: &mut Advance,
    steps: &[(RunNo, StepNo)],
    places: &Places,
) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let tasks = Tasks::of(advance, steps)?;
    let places: Vec<_> = steps.iter().map(|step| places.0[step]).collect();
    let lanes = Lanes::of(&tasks, advance.session.now);
    let pending: Vec<_> = (steps.iter().copied())
        .filter(|&(run, step)| advance.step_status(run, step) != Some("started"))
        .collect();
    if !pending.is_empty() {
        let keys = Keys::of(advance, &pending);
        START_STATES.execute(&[&keys.runs, &keys.steps, &advance.session.now])?;
    }
    let mut parameters = tasks.parameters();
    parameters.extend([
        &advance.session.now as &dyn Parameter,
        &places,
        &lanes.of_tasks,
        &lanes.queues,
        &lanes.executors,
        &lanes.ranks,
        &lanes.heads_from,
    ]);
    START_SINGLES.execute(&parameters)?;
    for &(run, step) in steps {
        advance.step_started(run, step);
    }
    under_way(advance, steps)
}

/// Steps have started. What is under way without a claim may have an end already: an event that was sent before, a time
/// that has passed.
pub fn under_way(advance: &mut Advance, steps: &[(RunNo, StepNo)]) -> Result<()> {
    events::begin(advance, steps)?;
    timers::begin(advance, steps)
}

/// A map that has tasks.
struct FullMap {
    step: (RunNo, StepNo),
    /// The dep that its elements come from; `None` for the payload.
    source: Option<String>,
    size: i32,
}

/// Completes maps over nothing and returns the others.
fn measure_maps(advance: &mut Advance, steps: Vec<(RunNo, StepNo)>) -> Result<Vec<FullMap>> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let keys = Keys::of(advance, &steps);
    let sources: Vec<Option<String>> = steps
        .iter()
        .map(|&(run, step)| {
            let source = advance.runs[run].definition.steps[step].map_over?;
            Some(advance.slug(run, source).to_owned())
        })
        .collect();
    let sizes = MAP_SIZES.query(&[&keys.runs, &sources], |row| Ok(row.opt::<i32>(1)))?;

    let mut failures = Vec::new();
    let mut empty = Vec::new();
    let mut full = Vec::new();
    for ((step, source), size) in steps.into_iter().zip(sources).zip(sizes) {
        match size {
            Some(0) => empty.push(step),
            Some(size) => full.push(FullMap { step, source, size }),
            None => failures.push((
                step.0,
                step.1,
                "the map's source is not an array".to_owned(),
            )),
        }
    }
    advance.fail_steps(failures)?;
    complete_empty_maps(advance, &empty)?;
    Ok(full)
}

fn start_maps(advance: &mut Advance, maps: &[FullMap], places: &Places) -> Result<()> {
    if maps.is_empty() {
        return Ok(());
    }
    let steps: Vec<_> = maps.iter().map(|map| map.step).collect();
    let sources: Vec<_> = maps.iter().map(|map| map.source.clone()).collect();
    let sizes: Vec<_> = maps.iter().map(|map| map.size).collect();
    let places: Vec<_> = steps.iter().map(|step| places.0[step]).collect();
    let tasks = Tasks::of(advance, &steps)?;
    let mut parameters = tasks.parameters();
    parameters.extend([
        &advance.session.now as &dyn Parameter,
        &sources,
        &sizes,
        &places,
        &LARGE_MAP,
        &tasks.heads_from,
    ]);
    START_MAPS.execute(&parameters)?;
    for &(run, step) in &steps {
        advance.step_started(run, step);
    }
    under_way(advance, &steps)
}

fn complete_empty_maps(advance: &mut Advance, steps: &[(RunNo, StepNo)]) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let keys = Keys::of(advance, steps);
    COMPLETE_EMPTY_MAPS.execute(&[&keys.runs, &keys.steps, &advance.session.now])?;
    for &(run, step) in steps {
        advance.step_completed(run, step);
    }
    Ok(())
}

/// The keys of step states, as columns.
pub struct Keys {
    pub runs: Vec<RunId>,
    pub steps: Vec<String>,
}

impl Keys {
    fn of(advance: &Advance, steps: &[(RunNo, StepNo)]) -> Self {
        Self {
            runs: steps.iter().map(|&(run, _)| advance.runs[run].id).collect(),
            steps: steps
                .iter()
                .map(|&(run, step)| advance.slug(run, step).to_owned())
                .collect(),
        }
    }
}

/// The queues, by executor and rank, in which tasks are ready at once, as columns.
#[derive(Default)]
struct Lanes {
    queues: Vec<String>,
    executors: Vec<&'static str>,
    ranks: Vec<i32>,
    heads_from: Vec<i64>,
    /// Which one each task belongs to, counted from 1; `None` for a task that is not ready.
    of_tasks: Vec<Option<i64>>,
}

impl Lanes {
    fn of(tasks: &Tasks, now: Instant) -> Self {
        let mut numbers = HashMap::new();
        let mut lanes = Self::default();
        for (no, queue) in tasks.queues.iter().enumerate() {
            let is_ready = tasks.expires_at[no].is_none() && tasks.ready_at[no] <= now;
            lanes.of_tasks.push(is_ready.then(|| {
                let next = numbers.len() as i64 + 1;
                let key = (queue, tasks.executors[no], tasks.ranks[no]);
                *numbers.entry(key).or_insert_with(|| {
                    lanes.queues.push(queue.clone());
                    lanes.executors.push(tasks.executors[no]);
                    lanes.ranks.push(tasks.ranks[no]);
                    lanes.heads_from.push(tasks.heads_from[no]);
                    next
                })
            }));
        }
        lanes
    }
}

/// What the tasks of steps have in common, as columns, one row a step.
pub struct Tasks {
    pub keys: Keys,
    pub flow_slugs: Vec<String>,
    pub flow_versions: Vec<i32>,
    pub definition_ids: Vec<i64>,
    pub step_indexes: Vec<i32>,
    pub executors: Vec<&'static str>,
    pub queues: Vec<String>,
    pub ranks: Vec<i32>,
    pub turns: Vec<i64>,
    /// Where the search for the head of the queue begins.
    pub heads_from: Vec<i64>,
    pub ready_at: Vec<Instant>,
    pub timeouts: Vec<i32>,
    pub opens_run: Vec<bool>,
    /// When the tasks of an external step time out, and those of a timer are over; null for all others, whose lease
    /// begins with a claim.
    pub expires_at: Vec<Option<Instant>>,
}

impl Tasks {
    pub fn of(advance: &Advance, steps: &[(RunNo, StepNo)]) -> Result<Self> {
        let now = advance.session.now;
        let mut heads = HashMap::new();
        let mut tasks = Self {
            keys: Keys::of(advance, steps),
            flow_slugs: Vec::with_capacity(steps.len()),
            flow_versions: Vec::with_capacity(steps.len()),
            definition_ids: Vec::with_capacity(steps.len()),
            step_indexes: Vec::with_capacity(steps.len()),
            executors: Vec::with_capacity(steps.len()),
            queues: Vec::with_capacity(steps.len()),
            ranks: Vec::with_capacity(steps.len()),
            turns: Vec::with_capacity(steps.len()),
            heads_from: Vec::with_capacity(steps.len()),
            ready_at: Vec::with_capacity(steps.len()),
            timeouts: Vec::with_capacity(steps.len()),
            opens_run: Vec::with_capacity(steps.len()),
            expires_at: Vec::with_capacity(steps.len()),
        };
        for &(run, step) in steps {
            let run = &advance.runs[run];
            let definition = &run.definition;
            let step = &definition.steps[step];
            let begin = run.not_before.map_or(now, |start| start.max(now));
            let ready_at = begin.plus_seconds(f64::from(step.start_delay));
            tasks.flow_slugs.push(definition.flow_slug.clone());
            tasks.flow_versions.push(definition.version);
            tasks.definition_ids.push(definition.id);
            tasks.step_indexes.push(step.index);
            tasks.executors.push(step.executor.as_str());
            tasks.queues.push(step.queue.clone());
            tasks.ranks.push(walks::rank(run.priority));
            tasks.turns.push(match &run.turn {
                Some((queue, turn)) if *queue == step.queue => turn + 1,
                _ => 0,
            });
            // Asked once, so that all tasks of a queue and rank get the same head.
            tasks
                .heads_from
                .push(match heads.entry((Lane::of(step), run.priority)) {
                    Entry::Occupied(head) => *head.get(),
                    Entry::Vacant(head) => *head.insert(walks::head_from(
                        advance.session,
                        Lane::of(step),
                        run.priority,
                    )?),
                });
            tasks.ready_at.push(ready_at);
            tasks.timeouts.push(match step.executor {
                Executor::Flow if !step.own_timeout => 0,
                _ => step.timeout,
            });
            tasks.opens_run.push(run.not_before.is_some());
            tasks.expires_at.push(match step.executor {
                Executor::Timer => Some(ready_at),
                Executor::External if step.own_timeout => {
                    Some(ready_at.plus_seconds(f64::from(step.timeout)))
                }
                Executor::External => Some(Instant::INFINITY),
                _ => None,
            });
            if step.executor != Executor::External || step.own_timeout {
                event::task_queued(step, ready_at <= now);
            }
        }
        Ok(tasks)
    }

    /// The first fourteen parameters of the statements that start steps.
    fn parameters(&self) -> Vec<&dyn Parameter> {
        vec![
            &self.keys.runs,
            &self.keys.steps,
            &self.flow_slugs,
            &self.flow_versions,
            &self.definition_ids,
            &self.step_indexes,
            &self.executors,
            &self.queues,
            &self.ranks,
            &self.turns,
            &self.ready_at,
            &self.timeouts,
            &self.opens_run,
            &self.expires_at,
        ]
    }
}
