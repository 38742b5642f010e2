//! What follows when a step ends: the only place that unlocks dependents and closes runs.
//!
//! A call hands over the runs it moves and the steps that ended; [`Advance::drive`] goes on in waves until nothing is
//! left to do. A wave counts down the deps of all dependents in one statement, over all runs of the call, and gives the
//! steps that reached zero to [`super::start`], which starts, skips or completes them. Every step is visited once, a
//! skip-cascade included.
//!
//! **When is a run over?** `runs.remaining_leaves` counts the steps without dependents that have not ended, so a chain
//! updates its run once. When it reaches zero the run is over, unless a skip-cascade ended a leaf before another path to
//! it was done. Then some later step ends that has no open dependent; it, too, updates the row of the run, and whoever
//! updates that row last with no leaf remaining and no step open closes the run.

use std::collections::HashMap;
use std::rc::Rc;

use super::aftermath::Aftermath;
use super::{event, events, start};
use crate::error::{Error, Result};
use crate::model::{Definition, RunId, Step, StepNo, StepType};
use crate::statements;
use crate::store::subtransaction::{self, PROGRAM_LIMIT_EXCEEDED};
use crate::store::{Instant, Session};

statements! {
    RESOLVE_DEPS = "resolve_deps.sql",
    SKIP_STEPS = "skip_steps.sql",
    FAIL_STEPS = "fail_steps.sql",
    LOCK_LIVE_TASKS = "lock_live_tasks.sql",
    LOCK_LIVE_TASKS_NOWAIT = "lock_live_tasks_nowait.sql",
    END_RUNS = "end_runs.sql",
    CLOSE_RUNS = "close_runs.sql",
}

/// The position of a run within an [`Advance`].
pub type RunNo = usize;

/// A run while a call moves it.
pub struct MovingRun {
    pub id: RunId,
    pub definition: Rc<Definition>,
    pub priority: i32,
    /// The start of a run that is still pending: its tasks are not ready before.
    pub not_before: Option<Instant>,
    /// The queue and turn of the task whose end moves the run: what follows in that queue takes a later turn.
    pub turn: Option<(String, i64)>,
    status: &'static str,
    /// What becomes of its steps is told when it starts.
    is_pending: bool,
    failure: Option<String>,
    ended_leaves: i32,
    may_be_over: bool,
}

impl MovingRun {
    pub fn new(id: RunId, definition: Rc<Definition>, priority: i32) -> Self {
        Self {
            id,
            definition,
            priority,
            not_before: None,
            turn: None,
            status: "started",
            is_pending: false,
            failure: None,
            ended_leaves: 0,
            may_be_over: false,
        }
    }

    /// A run that is pending until `start_at`.
    pub fn pending_until(mut self, start_at: Instant) -> Self {
        self.not_before = Some(start_at);
        self.status = "pending";
        self.is_pending = true;
        self
    }
}

/// Why a step is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    ConditionUnmet,
    HandlerFailed,
    DependencySkipped,
}

impl SkipReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ConditionUnmet => "condition_unmet",
            Self::HandlerFailed => "handler_failed",
            Self::DependencySkipped => "dependency_skipped",
        }
    }
}

/// A step that is to be skipped.
pub struct Skip {
    pub run: RunNo,
    pub step: StepNo,
    pub reason: SkipReason,
    pub error_message: Option<String>,
    /// Whether everything downstream is skipped with it.
    pub cascade: bool,
}

/// The runs that a call moves, and what is still to be done for them.
pub struct Advance<'s> {
    pub session: &'s Session,
    pub runs: Vec<MovingRun>,
    /// What is left to be done to other runs: whoever drives sees to it.
    pub aftermath: Aftermath,
    /// Whether claimers that hold live tasks are waited for.
    waits: bool,
    by_id: HashMap<RunId, RunNo>,
    resolved: Vec<(RunNo, StepNo)>,
    ready: Vec<(RunNo, StepNo)>,
    step_status: HashMap<(RunNo, StepNo), &'static str>,
}

impl<'s> Advance<'s> {
    pub fn new(session: &'s Session) -> Self {
        Self {
            session,
            runs: Vec::new(),
            aftermath: Aftermath::default(),
            waits: true,
            by_id: HashMap::new(),
            resolved: Vec::new(),
            ready: Vec::new(),
            step_status: HashMap::new(),
        }
    }

    /// [`Self::new`] for a call that fails with 55P03 instead of waiting for a claimer.
    pub fn nowait(session: &'s Session) -> Self {
        Self {
            waits: false,
            ..Self::new(session)
        }
    }

    /// Adds a run, or finds it again.
    pub fn add(&mut self, run: MovingRun) -> RunNo {
        *self.by_id.entry(run.id).or_insert_with(|| {
            self.runs.push(run);
            self.runs.len() - 1
        })
    }

    /// The status of a run after [`Self::drive`].
    pub fn run_status(&self, run: RunNo) -> &'static str {
        self.runs[run].status
    }

    /// The status of a step, if this call changed it.
    pub fn step_status(&self, run: RunNo, step: StepNo) -> Option<&'static str> {
        self.step_status.get(&(run, step)).copied()
    }

    /// Whether this call makes the run fail.
    pub fn is_failing(&self, run: RunNo) -> bool {
        self.runs[run].failure.is_some()
    }

    /// All deps of the step are resolved.
    pub fn step_ready(&mut self, run: RunNo, step: StepNo) {
        self.ready.push((run, step));
    }

    /// The step's row says `started`.
    pub fn step_started(&mut self, run: RunNo, step: StepNo) {
        self.note(run, step, "started");
    }

    /// The step's row says `completed`.
    pub fn step_completed(&mut self, run: RunNo, step: StepNo) {
        self.note(run, step, "completed");
        self.resolved.push((run, step));
    }

    /// The row of the step says so.
    fn note(&mut self, run: RunNo, step: StepNo, status: &'static str) {
        let is_news = self.step_status.insert((run, step), status) != Some(status);
        let moving = &self.runs[run];
        if is_news && !moving.is_pending {
            let slug = &moving.definition.steps[step].slug;
            let flow_slug = &moving.definition.flow_slug;
            event::step_changed(self.session, flow_slug, moving.id, slug, status);
        }
    }

    /// The row of the run says `started` and said `pending`.
    pub fn run_opened(&mut self, run: RunNo) -> Result<()> {
        let run = &mut self.runs[run];
        run.is_pending = false;
        event::run_opened(self.session, &run.definition, run.id)
    }

    /// The run may be over though no step of it ends in this call.
    pub fn may_be_over(&mut self, run: RunNo) {
        self.runs[run].may_be_over = true;
    }

    /// Fails steps and with them their runs.
    pub fn fail_steps(&mut self, failures: Vec<(RunNo, StepNo, String)>) -> Result<()> {
        if failures.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = failures.iter().map(|f| self.runs[f.0].id).collect();
        let slugs: Vec<_> = failures.iter().map(|f| self.slug(f.0, f.1)).collect();
        let messages: Vec<_> = failures.iter().map(|f| f.2.clone()).collect();
        FAIL_STEPS.execute(&[&ids, &slugs, &messages, &self.session.now])?;
        for (run, step, message) in failures {
            self.note(run, step, "failed");
            self.runs[run].failure.get_or_insert(message);
        }
        Ok(())
    }

    /// Skips steps, and what is downstream of those that cascade.
    pub fn skip_steps(&mut self, skips: Vec<Skip>) -> Result<()> {
        if skips.is_empty() {
            return Ok(());
        }
        let mut cascades: HashMap<RunNo, Vec<StepNo>> = HashMap::new();
        for skip in skips.iter().filter(|skip| skip.cascade) {
            cascades.entry(skip.run).or_default().push(skip.step);
        }
        let mut all = skips;
        for (run, roots) in cascades {
            let downstream = self.runs[run].definition.downstream(roots);
            all.extend(downstream.into_iter().map(|step| Skip {
                run,
                step,
                reason: SkipReason::DependencySkipped,
                error_message: None,
                cascade: false,
            }));
        }
        let ids: Vec<_> = all.iter().map(|s| self.runs[s.run].id).collect();
        let slugs: Vec<_> = all.iter().map(|s| self.slug(s.run, s.step)).collect();
        let reasons: Vec<_> = all.iter().map(|s| s.reason.as_str()).collect();
        let messages: Vec<_> = all.iter().map(|s| s.error_message.clone()).collect();
        let mut skipped = SKIP_STEPS.query(
            &[&ids, &slugs, &reasons, &messages, &self.session.now],
            |row| row.get::<i64>(1),
        )?;
        skipped.sort_unstable();
        for ordinal in skipped {
            let skip = &all[usize::try_from(ordinal - 1).unwrap_or_default()];
            self.note(skip.run, skip.step, "skipped");
            self.resolved.push((skip.run, skip.step));
        }
        Ok(())
    }

    /// Goes on until nothing is left to do, then closes the runs that are over.
    pub fn drive(&mut self) -> Result<()> {
        loop {
            self.resolve_deps()?;
            let mut ready = std::mem::take(&mut self.ready);
            ready.retain(|&(run, _)| !self.is_failing(run));
            if ready.is_empty() && self.resolved.is_empty() {
                break;
            }
            start::begin(self, ready)?;
        }
        self.fail_runs()?;
        self.close_runs()?;
        // A run whose output cannot be built fails while it is being closed.
        self.fail_runs()
    }

    fn resolve_deps(&mut self) -> Result<()> {
        let resolved = std::mem::take(&mut self.resolved);
        let mut counts: HashMap<(RunNo, StepNo), i32> = HashMap::new();
        for (run, step) in resolved {
            let step = &self.runs[run].definition.steps[step];
            for &dependent in &step.dependents {
                *counts.entry((run, dependent)).or_default() += 1;
            }
            if step.is_leaf() {
                self.runs[run].ended_leaves += 1;
            }
        }
        if counts.is_empty() {
            return Ok(());
        }
        let (keys, counts): (Vec<_>, Vec<_>) = counts.into_iter().unzip();
        let ids: Vec<_> = keys.iter().map(|k| self.runs[k.0].id).collect();
        let slugs: Vec<_> = keys.iter().map(|k| self.slug(k.0, k.1)).collect();
        let starts: Vec<_> = keys.iter().map(|&key| self.starts_by_itself(key)).collect();
        let states = RESOLVE_DEPS.query(
            &[&ids, &slugs, &counts, &starts, &self.session.now],
            |row| {
                Ok((
                    row.get::<i64>(1)?,
                    row.get::<i32>(2)?,
                    row.get::<bool>(3)?,
                    row.get::<bool>(4)?,
                ))
            },
        )?;
        let mut reached: Vec<_> = Vec::new();
        for (ordinal, remaining_deps, is_open, is_started) in states {
            let (run, step) = keys[usize::try_from(ordinal - 1).unwrap_or_default()];
            not_below_zero(remaining_deps, "deps of a step")?;
            if !is_open {
                self.runs[run].may_be_over = true;
            } else if remaining_deps == 0 {
                reached.push((run, step, is_started));
            }
        }
        // In order of definition, so that tasks that become ready together are claimed in that order.
        reached.sort_unstable();
        for (run, step, is_started) in reached {
            if is_started {
                self.step_started(run, step);
            }
            self.ready.push((run, step));
        }
        Ok(())
    }

    /// Whether a step starts as soon as its deps are resolved, and nothing more needs to be known.
    fn starts_by_itself(&self, (run, step): (RunNo, StepNo)) -> bool {
        let step = &self.runs[run].definition.steps[step];
        step.step_type == StepType::Single
            && !step.manual
            && !step.has_condition
            && !self.is_failing(run)
    }

    fn fail_runs(&mut self) -> Result<()> {
        let mut ids = Vec::new();
        let mut messages = Vec::new();
        for run in &mut self.runs {
            if let Some(message) = &run.failure
                && run.status != "failed"
            {
                ids.push(run.id);
                messages.push(Some(message.clone()));
                run.status = "failed";
            }
        }
        if ids.is_empty() {
            return Ok(());
        }
        self.lock_live_tasks(&ids, &[])?;
        let aftermath = end_locked_runs(self.session, "failed", &ids, &messages)?;
        self.aftermath.append(aftermath);
        Ok(())
    }

    /// Waits for claimers that hold live tasks of these runs, or only of these steps.
    pub fn lock_live_tasks(&self, ids: &[RunId], slugs: &[&str]) -> Result<()> {
        let statement = if self.waits {
            &LOCK_LIVE_TASKS
        } else {
            &LOCK_LIVE_TASKS_NOWAIT
        };
        statement.execute(&[&ids.to_vec(), &slugs.to_vec()])
    }

    fn close_runs(&mut self) -> Result<()> {
        let mut by_definition: HashMap<i64, Vec<RunNo>> = HashMap::new();
        for (no, run) in self.runs.iter().enumerate() {
            if run.failure.is_none() && (run.ended_leaves > 0 || run.may_be_over) {
                by_definition.entry(run.definition.id).or_default().push(no);
            }
        }
        for runs in by_definition.into_values() {
            let definition = Rc::clone(&self.runs[runs[0]].definition);
            let ids: Vec<_> = runs.iter().map(|&no| self.runs[no].id).collect();
            let ended: Vec<_> = runs.iter().map(|&no| self.runs[no].ended_leaves).collect();
            for closed in close(self.session, &definition, &ids, &ended, false)? {
                let no = runs[usize::try_from(closed.ordinal - 1).unwrap_or_default()];
                if closed.too_large {
                    self.close_large_run(no)?;
                } else {
                    self.completed(no, &closed)?;
                }
            }
        }
        Ok(())
    }

    fn completed(&mut self, no: RunNo, closed: &Closed) -> Result<()> {
        let run = &mut self.runs[no];
        run.status = "completed";
        if closed.is_child {
            self.aftermath.child_ended(run.id);
        }
        if run.is_pending {
            return event::run_ended(self.session, &run.definition, run.id, run.status);
        }
        event::run_changed(self.session, &run.definition.flow_slug, run.id, run.status);
        Ok(())
    }

    /// Closes a run whose output may exceed what jsonb can hold.
    fn close_large_run(&mut self, no: RunNo) -> Result<()> {
        let run = &self.runs[no];
        let built = subtransaction::attempt(&[PROGRAM_LIMIT_EXCEEDED], || {
            close(self.session, &run.definition, &[run.id], &[0], true)
        })?;
        match built {
            Ok(closed) => {
                if let Some(closed) = closed.first() {
                    self.completed(no, closed)?;
                }
            }
            Err(reason) => {
                self.runs[no].failure =
                    Some(format!("the output of the run is too large: {reason}"));
            }
        }
        Ok(())
    }

    pub fn step(&self, run: RunNo, step: StepNo) -> &Step {
        &self.runs[run].definition.steps[step]
    }

    pub fn slug(&self, run: RunNo, step: StepNo) -> &str {
        &self.step(run, step).slug
    }
}

/// A run that is over.
struct Closed {
    ordinal: i64,
    /// It was left open, because its output may be too large to build.
    too_large: bool,
    is_child: bool,
}

/// Counts down the leaves of runs of one definition, and completes those that are over.
fn close(
    session: &Session,
    definition: &Definition,
    ids: &[RunId],
    ended: &[i32],
    whatever_size: bool,
) -> Result<Vec<Closed>> {
    let output_steps: Vec<&str> = match definition.output_step {
        Some(step) => vec![definition.steps[step].slug.as_str()],
        None => definition
            .leaves()
            .map(|no| definition.steps[no].slug.as_str())
            .collect(),
    };
    CLOSE_RUNS
        .query(
            &[
                &ids.to_vec(),
                &ended.to_vec(),
                &output_steps,
                &definition.output_step.is_some(),
                &session.now,
                &whatever_size,
            ],
            |row| {
                not_below_zero(row.get(4)?, "leaves of a run")?;
                let Some(ordinal) = row.opt(1) else {
                    return Ok(None);
                };
                Ok(Some(Closed {
                    ordinal,
                    too_large: row.get(2)?,
                    is_child: row.get(3)?,
                }))
            },
        )
        .map(|rows| rows.into_iter().flatten().collect())
}

/// A counter that falls below zero was wrong before, so nothing is built on it: the call changes nothing. CHECK constraints
/// would say so too, but PostgreSQL parses them anew in every statement.
pub fn not_below_zero(left: i32, of: &str) -> Result<()> {
    if left < 0 {
        return Err(Error::Internal(format!(
            "{left} {of} would be left: see pgflow.check_integrity()"
        )));
    }
    Ok(())
}

/// Ends runs early: what is unfinished is cancelled.
pub fn end_runs(
    session: &Session,
    status: &'static str,
    ids: &[RunId],
    messages: &[Option<String>],
) -> Result<Aftermath> {
    if ids.is_empty() {
        return Ok(Aftermath::default());
    }
    Advance::new(session).lock_live_tasks(ids, &[])?;
    end_locked_runs(session, status, ids, messages)
}

fn end_locked_runs(
    session: &Session,
    status: &'static str,
    ids: &[RunId],
    messages: &[Option<String>],
) -> Result<Aftermath> {
    let mut aftermath = Aftermath::default();
    let ended = END_RUNS.query(
        &[&ids.to_vec(), &messages.to_vec(), &status, &session.now],
        |row| {
            Ok((
                row.get::<RunId>(1)?,
                row.get::<bool>(2)?,
                row.get::<bool>(3)?,
                (
                    row.get::<i64>(4)?,
                    row.get::<String>(5)?,
                    row.get::<i32>(6)?,
                ),
            ))
        },
    )?;
    events::end_waits_of_runs(ids)?;
    for (run, is_child, has_children, (id, slug, version)) in ended {
        event::run_of_flow_ended(session, (id, &slug, version), run, status)?;
        if is_child {
            aftermath.child_ended(run);
        }
        if has_children {
            aftermath.children_of(run);
        }
    }
    Ok(aftermath)
}
