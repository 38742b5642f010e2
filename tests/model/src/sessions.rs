//! The sessions that work a round: each has a connection of its own and does random things with it.
//!
//! It starts, cancels, retries and forks runs, starts manual steps and finishes external ones; tasks are in `settle`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use crate::calls::Caller;
use crate::case::{Disturbance, Round, Run, Start, lock};
use crate::generate::Outcome;
use crate::held::Held;
use crate::interpret::{Kept, interpret};

pub struct Session {
    pub id: usize,
    pub rng: StdRng,
    pub caller: Caller,
    pub held: Vec<Held>,
    /// Tasks whose lease this session lets run out.
    pub abandoned: Vec<Held>,
}

impl Session {
    pub fn connect(id: usize, seed: u64) -> Result<Session, postgres::Error> {
        let rng = StdRng::seed_from_u64(seed.wrapping_add(id as u64));
        let caller = Caller::connect(id, seed)?;
        Ok(Session { id, rng, caller, held: Vec::new(), abandoned: Vec::new() })
    }

    /// Works until every run of the round has ended, or nothing moves any more.
    pub fn work(&mut self, round: &Round) {
        while !round.stalls() {
            let starts = round.unstarted.load(Ordering::Relaxed);
            if starts == 0 && round.open().is_empty() {
                break;
            }
            self.disturb(round);
            let busy = match self.rng.random_range(0..100) {
                0..15 if starts > 0 => self.start(round),
                15..23 => self.push(round, false),
                23..28 => self.haunt(),
                28..33 => self.extend(round),
                33..36 => self.try_what_is_refused(),
                36..60 if self.held.len() < 12 => self.claim(round),
                _ if self.held.is_empty() => self.claim(round),
                60..85 => self.settle_one(round),
                _ => self.settle_batch(round),
            };
            if !busy && self.held.is_empty() {
                let _ = self.start(round) || self.push(round, true) || self.haunt();
                self.look_for_ends(round);
                std::thread::sleep(Duration::from_millis(self.rng.random_range(2..12)));
            }
        }
        self.held.clear();
        self.abandoned.clear();
        round.calls.fetch_add(std::mem::take(&mut self.caller.calls), Ordering::Relaxed);
        let failures = std::mem::take(&mut self.caller.serialisation_failures);
        round.serialisation_failures.fetch_add(failures, Ordering::Relaxed);
    }

    fn start(&mut self, round: &Round) -> bool {
        let Some(start) = lock(&round.starts).pop() else {
            return false;
        };
        match start {
            Start::Plans(dag, plans) => {
                let chosen: Vec<_> = plans.iter().map(|&p| &dag.plans[p]).collect();
                match self.caller.run_flow(&dag.flow.slug, &chosen) {
                    Ok(ids) => {
                        for (plan, id) in chosen.iter().zip(ids) {
                            let expected = interpret(&dag.flow, &plan.payload, &Kept::new());
                            let mut run = Run::new(&dag, id, plan.payload.clone(), expected, plan.disturbed);
                            run.fork.clone_from(&plan.fork);
                            self.note(&run, "run_flow");
                            round.enter(run);
                        }
                    }
                    Err(fault) => lock(&dag.problems).push(format!("run_flow: {fault}")),
                }
            }
            Start::Fork { origin, named, payload, kept, expected } => {
                match self.caller.fork_run(origin.id, &named, payload.as_ref()) {
                    Ok(id) => {
                        let payload = payload.unwrap_or_else(|| origin.payload.clone());
                        let mut run = Run::new(&origin.dag, id, payload, expected, false);
                        self.note(&run, &format!("fork_run of {} from {named:?}", origin.id));
                        run.kept = kept;
                        run.origin = Some(origin.id);
                        round.enter(run);
                    }
                    Err(fault) => {
                        let problem = format!("fork_run({}, {named:?}): {fault}", origin.id);
                        lock(&origin.dag.problems).push(problem);
                    }
                }
            }
        }
        round.unstarted.fetch_sub(1, Ordering::Relaxed);
        round.progressed();
        true
    }

    /// Cancels a run that is meant to be, or retries one that was cancelled.
    fn disturb(&mut self, round: &Round) {
        if !self.rng.random_bool(0.08) {
            return;
        }
        let open = round.open();
        let Some(run) = open.iter().filter(|r| r.disturbed).collect::<Vec<_>>().choose(&mut self.rng).copied() else {
            return;
        };
        // Held during the call: another session must not retry what is not cancelled yet.
        let mut stage = lock(&run.disturbance);
        match *stage {
            Disturbance::Planned => match self.caller.cancel_run(run.id, "changed our minds") {
                Ok((status, message)) => {
                    self.note(run, &format!("cancel_run: {status}"));
                    *stage = Disturbance::Cancelled;
                    if status == "cancelled" && message.as_deref() != Some("changed our minds") {
                        let problem = format!("cancel_run: the reason is stored as {message:?}");
                        run.problem(self.id, problem);
                    } else if !["cancelled", "completed", "failed"].contains(&status.as_str()) {
                        run.problem(self.id, format!("cancel_run left the run {status}"));
                    }
                }
                Err(fault) => run.problem(self.id, format!("cancel_run: {fault}")),
            },
            Disturbance::Cancelled => {
                match self.caller.retry_run(run.id) {
                    Ok(status) => self.note(run, &format!("retry_run: {status}")),
                    Err(fault) if fault.code == "PT409" => self.note(run, "retry_run: PT409"),
                    Err(fault) => run.problem(self.id, format!("retry_run: {fault}")),
                }
                *stage = Disturbance::Done;
                round.progressed();
            }
            Disturbance::None | Disturbance::Done => {}
        }
    }

    /// Starts manual steps and finishes external ones, too early at times.
    fn push(&mut self, round: &Round, all: bool) -> bool {
        let mut moved = false;
        let mut steps: Vec<(Arc<Run>, usize)> = Vec::new();
        for run in round.open() {
            let known = run.dag.flow.steps.iter().enumerate();
            let waiting = known.filter(|(i, s)| !run.kept.contains(i) && (s.manual || s.external));
            steps.extend(waiting.map(|(i, _)| (Arc::clone(&run), i)));
        }
        steps.shuffle(&mut self.rng);
        steps.truncate(if all { usize::MAX } else { 1 });
        for (run, index) in steps {
            let step = &run.dag.flow.steps[index];
            if step.manual {
                match self.caller.start_step(run.id, &step.slug) {
                    Ok(status) if status == "started" => self.note(&run, &format!("start_step {}", step.slug)),
                    Ok(_) => {}
                    Err(f) if f.code == "PT409" && f.detail.is_some() => {}
                    Err(f) => run.problem(self.id, format!("start_step {}: {f}", step.slug)),
                }
            }
            if step.external {
                let held = Held { run: Arc::clone(&run), step: index, task: 0, attempt: 1, lease: 0 };
                moved |= self.finish_external(round, &held);
            }
        }
        moved
    }

    fn finish_external(&mut self, round: &Round, held: &Held) -> bool {
        let (run, step) = (&held.run, held.step());
        let mut at = held.at();
        at.lease = None;
        let (what, receipt) = match held.outcome() {
            Outcome::Complete(output) if self.rng.random_bool(0.7) => {
                ("complete_step", self.caller.complete_step(at, output.as_ref()))
            }
            Outcome::Complete(output) => ("complete_step_task", self.caller.complete(at, output.as_ref())),
            Outcome::Fail { retryable } => ("fail_step_task", self.caller.fail(at, &held.message(), retryable)),
            Outcome::Die => return false,
        };
        let what = format!("{what} of external {}", step.slug);
        match receipt {
            Err(fault) => run.problem(self.id, format!("{what}: {fault}")),
            Ok(r) if r.accepted => {
                self.note(run, &format!("{what}: {r}"));
                round.progressed();
                return true;
            }
            Ok(r) if run.calm() && r.step == "started" => {
                run.problem(self.id, format!("{what} is refused although it is started: {r}"));
            }
            Ok(_) => {}
        }
        false
    }

    /// Enters what the last call did into the run's log.
    pub fn note(&self, run: &Run, event: &str) {
        run.note(self.id, &format!("{event}{}", self.caller.how));
    }

    fn look_for_ends(&mut self, round: &Round) {
        let open = round.open();
        let before: Vec<Disturbance> = open.iter().map(|r| r.disturbance()).collect();
        let ids: Vec<Uuid> = open.iter().map(|r| r.id).collect();
        let ended = match self.caller.ended(&ids) {
            Ok(ended) => ended,
            Err(fault) => return round.problem(format!("reading pgflow.runs: {fault}")),
        };
        for (run, before) in open.iter().zip(before) {
            let mut stage = lock(&run.disturbance);
            if ended.contains(&run.id) && *stage == before && before != Disturbance::Cancelled {
                *stage = Disturbance::Done;
                run.ended_at.store(round.now(), Ordering::Relaxed);
            }
        }
    }
}
