//! Calls: which one a session makes now, in SQL and in words, and what its answer means for the books.

use std::fmt::Write;

use pgflow_model_test::compare::clip;
use pgflow_model_test::generate::Outcome;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ledger::{Deed, Key, Lease, Ledger, Target, Task};
use crate::program::Kind;
use crate::session::{Parameters, Say, Share};

/// What a call is about, for when its answer comes.
pub enum Call {
    Start(usize),
    /// With one receipt for each of these, in order.
    Settle(Vec<(Target, Deed)>),
    /// Without receipts, and with tasks.
    SettleAndClaim(Vec<(Target, Deed)>, usize),
    Extend(Target),
    Claim(usize),
    StartStep(usize, usize),
    Cancel(usize),
    Retry(usize),
    Expire(Target),
    Pass,
}

/// A call as the trace tells it, as SQL, and what it is about.
pub struct Chosen {
    pub text: String,
    pub say: Say,
    pub call: Call,
}

fn query(text: String, sql: &'static str, parameters: Parameters, call: Call) -> Chosen {
    Chosen { text, say: Say::Query(sql, parameters), call }
}

macro_rules! parameters {
    ($($value:expr),* $(,)?) => { vec![$(Box::new($value) as _),*] };
}

macro_rules! receipts {
    ($function:literal) => {
        concat!(
            "select run_id, step_slug, task_index, accepted, task_status, step_status, run_status from pgflow.",
            $function
        )
    };
}

macro_rules! claimed {
    ($function:literal) => {
        concat!("select run_id, step_slug, task_index, attempt, input, lease from pgflow.", $function)
    };
}

const START: &str =
    "select pgflow.run_flow($1, $2, $3, $4, case when $5 then clock_timestamp() + interval '1 day' end, null)";

/// Only what nobody has locked, so that the clock waits for nobody; each task at a time of its own, so that one comes
/// first; and none long ago: what falls due falls due now.
const PASS: &str = "
    with runs as (
      update pgflow.runs r set start_at = clock_timestamp() - interval '10 ms'
      where r.run_id in (select run_id from pgflow.runs where status = 'pending' for update skip locked)
    ), free as materialized (
      select run_id, step_slug, task_index from pgflow.live_tasks
      where status = 'delayed' and executor = 'worker' for update skip locked
    ), due as materialized (
      select f.*, row_number() over (order by array_position($1::uuid[], run_id) desc, step_slug, task_index) as place,
             (select clock_timestamp()) as time
      from free f
    )
    update pgflow.live_tasks t set ready_at = d.time - d.place * interval '1 us'
    from due d where (t.run_id, t.step_slug, t.task_index) = (d.run_id, d.step_slug, d.task_index)
    returning 1";

const EXPIRE: &str = "
    update pgflow.live_tasks t set lease_expires_at = clock_timestamp()
    where (t.run_id, t.step_slug, t.task_index) in (
      select run_id, step_slug, task_index from pgflow.live_tasks
      where run_id = $1 and step_slug = $2 and task_index = $3 and lease = $4 for update skip locked)
    returning 1";

impl Ledger<'_> {
    pub fn name(&self, key: Key) -> String {
        format!("r{}/{}[{}]", key.0, self.program.flow.steps[key.1].slug, key.2)
    }

    pub fn outcome(&self, key: Key, attempt: i32) -> Outcome {
        let step = &self.program.flow.steps[key.1];
        let budget = step.max_attempts(&self.program.flow);
        step.outcome(usize::try_from(key.2).unwrap_or(0), u32::try_from(attempt).unwrap_or(1), budget)
    }

    /// The call that a session makes; a claim when there is nothing of that kind to be done. A claim that comes first may
    /// be a settlement instead when there is something to settle.
    pub fn choose(&self, session: usize, kind: Kind, is_first: bool, dice: &mut StdRng) -> Chosen {
        let chosen = match kind {
            Kind::Claim if is_first && !self.held().is_empty() && dice.random_bool(0.6) => {
                self.settle_one(session, dice)
            }
            Kind::Start(slot) => self.start(slot),
            Kind::SettleOne => self.settle_one(session, dice),
            Kind::SettleBatch => self.pick_batch(session, dice).map(|batch| self.settle_batch(&batch, dice)),
            Kind::SettleAndClaim => self.pick_batch(session, dice).map(|batch| self.settle_and_claim(batch, dice)),
            Kind::Extend => self.pick(session, dice, |_, _| true).map(|target| self.extend(target)),
            Kind::Intrude => self.intrude(dice),
            Kind::External => self.external(session, dice),
            Kind::StartStep => self.start_step(session, dice),
            Kind::Cancel(slot) => self.visible(session, slot).map(|id| {
                let sql = "select status from pgflow.cancel_run($1, 'no longer wanted')";
                query(format!("cancel_run r{slot}"), sql, parameters![id], Call::Cancel(slot))
            }),
            Kind::Retry(slot) => self.visible(session, slot).map(|id| {
                let sql = "select status from pgflow.retry_run($1)";
                query(format!("retry_run r{slot}"), sql, parameters![id], Call::Retry(slot))
            }),
            Kind::LetExpire => self.dying().choose(dice).map(|target| self.expire(target)),
            Kind::Pass => Some(self.pass()),
            Kind::Claim => None,
        };
        chosen.unwrap_or_else(|| {
            let queues = self.program.queues();
            let queue = queues.choose(dice).map_or("", String::as_str);
            self.claim_tasks(queue, self.program.scale * *[1, 2, 2, 3, 5].choose(dice).unwrap_or(&1))
        })
    }

    /// `None` when it is there already and has no key to be found by.
    pub fn start(&self, slot: usize) -> Option<Chosen> {
        let plan = &self.program.plans[slot];
        if self.runs[slot].id.is_some() {
            plan.key.as_ref()?;
        }
        let known = self.runs[slot].id.into_iter().collect();
        let share = Share { part: slot, parts: self.runs.len(), known };
        let late = plan.start_in_ms.is_some();
        let values =
            parameters![self.program.flow.slug.clone(), plan.payload.clone(), plan.key.clone(), plan.priority, late];
        let key = if plan.key.is_some() { " with a key" } else { "" };
        let text = format!("run_flow r{slot}{key}{}", if late { ", to start later" } else { "" });
        Some(Chosen { text, say: Say::Start(START, values, share), call: Call::Start(slot) })
    }

    pub fn claim_tasks(&self, queue: &str, max: i32) -> Chosen {
        let values = parameters![queue.to_owned(), max];
        let call = Call::Claim(usize::try_from(max).unwrap_or(0));
        query(format!("claim {max} of {queue}"), claimed!("claim_step_tasks($1, $2)"), values, call)
    }

    /// A held task, most often the session's own.
    fn pick(&self, session: usize, dice: &mut StdRng, fits: impl Fn(Key, &Lease) -> bool) -> Option<Target> {
        let mut held = self.held();
        held.retain(|(key, lease)| self.visible(session, key.0).is_some() && fits(*key, lease));
        if dice.random_bool(0.8) && held.iter().any(|(_, lease)| lease.session == session) {
            held.retain(|(_, lease)| lease.session == session);
        }
        let (key, lease) = held.choose(dice)?;
        Some(Target { key: *key, lease: Some(lease.lease), attempt: lease.attempt })
    }

    fn deed(&self, target: &Target, dice: &mut StdRng) -> Deed {
        match self.outcome(target.key, target.attempt) {
            _ if dice.random_bool(0.06) => Deed::Release,
            Outcome::Complete(output) => Deed::Complete(output),
            Outcome::Fail { retryable } => {
                Deed::Fail { retryable, retry_after: *[None, Some(0), Some(3600)].choose(dice).unwrap_or(&None) }
            }
            Outcome::Die => Deed::Release,
        }
    }

    fn settle_one(&self, session: usize, dice: &mut StdRng) -> Option<Chosen> {
        let mut target = self.pick(session, dice, |key, lease| self.outcome(key, lease.attempt) != Outcome::Die)?;
        let deed = self.deed(&target, dice);
        // Later attempts do no worse, so a completion may also meet the next holder's.
        let completes = matches!(deed, Deed::Complete(_));
        if completes && !self.runs[target.key.0].disturbed && dice.random_bool(0.15) {
            target.lease = None;
        }
        Some(self.settle_alone(target, deed, false))
    }

    /// Settles one task by the function for it.
    pub fn settle_alone(&self, target: Target, deed: Deed, by_step: bool) -> Chosen {
        let step = &self.program.flow.steps[target.key.1];
        let id = self.runs[target.key.0].id.unwrap_or_default();
        let (slug, index, lease) = (step.slug.clone(), target.key.2, target.lease);
        let name = self.name(target.key);
        let anyone = if lease.is_none() && !step.external { " without a lease" } else { "" };
        let (text, sql, values): (String, &'static str, Parameters) = match &deed {
            Deed::Complete(output) if by_step => (
                format!("complete_step {name}"),
                receipts!("complete_step($1, $2, $3)"),
                parameters![id, slug, output.clone()],
            ),
            Deed::Complete(output) => (
                format!("complete {name} with {}", clip(output.as_ref(), 40)),
                receipts!("complete_step_task($1, $2, $3, $4, $5)"),
                parameters![id, slug, output.clone(), index, lease],
            ),
            Deed::Fail { retryable, retry_after } => (
                format!("fail {name}{}", tell_failure(*retryable, *retry_after)),
                receipts!("fail_step_task($1, $2, $3, $4, $5, $6, $7)"),
                parameters![id, slug, step.message(to_index(index)), index, lease, *retryable, *retry_after],
            ),
            Deed::Release => (
                format!("release {name}"),
                receipts!("release_step_task($1, $2, $3, $4)"),
                parameters![id, slug, index, lease],
            ),
        };
        query(format!("{text}{anyone}"), sql, values, Call::Settle(vec![(target, deed)]))
    }

    /// Up to four held tasks, or more where there are many. At most one of them is queued again: of two that are due at one time neither comes first.
    fn pick_batch(&self, session: usize, dice: &mut StdRng) -> Option<Vec<(Target, Deed)>> {
        let mut batch: Vec<(Target, Deed)> = Vec::new();
        let mut requeued = false;
        for _ in 0..dice.random_range(1..=4) * self.program.scale {
            let run = batch.first().map(|(target, _)| target.key.0).filter(|_| self.program.fair);
            let target = self.pick(session, dice, |key, lease| {
                self.outcome(key, lease.attempt) != Outcome::Die
                    && run.is_none_or(|run| run == key.0)
                    && batch.iter().all(|(target, _)| target.key != key)
            });
            let Some(target) = target else { break };
            let deed = self.deed(&target, dice);
            if !matches!(deed, Deed::Complete(_)) && std::mem::replace(&mut requeued, true) {
                continue;
            }
            batch.push((target, deed));
        }
        (!batch.is_empty()).then_some(batch)
    }

    fn results(&self, batch: &[(Target, Deed)]) -> (String, Value) {
        let mut text = String::new();
        let elements = batch.iter().map(|(target, deed)| {
            let step = &self.program.flow.steps[target.key.1];
            let mut element = json!({"run_id": self.runs[target.key.0].id, "step_slug": step.slug,
                                     "task_index": target.key.2, "lease": target.lease});
            let told = match deed {
                Deed::Complete(output) => {
                    element["output"] = json!(output);
                    "complete".to_owned()
                }
                Deed::Fail { retryable, retry_after } => {
                    element["error_message"] = json!(step.message(to_index(target.key.2)));
                    element["retryable"] = json!(retryable);
                    element["retry_after"] = json!(retry_after);
                    format!("fail{}", tell_failure(*retryable, *retry_after))
                }
                Deed::Release => {
                    element["release"] = json!(true);
                    "release".to_owned()
                }
            };
            let _ = write!(text, "{}{told} {}", if text.is_empty() { "" } else { ", " }, self.name(target.key));
            element
        });
        let elements = elements.collect();
        (text, elements)
    }

    pub fn settle_batch(&self, batch: &[(Target, Deed)], dice: &mut StdRng) -> Chosen {
        let mut batch = batch.to_vec();
        batch.shuffle(dice);
        let (text, results) = self.results(&batch);
        let sql = receipts!("settle_step_tasks($1)");
        query(format!("settle {text}"), sql, parameters![results], Call::Settle(batch))
    }

    fn settle_and_claim(&self, batch: Vec<(Target, Deed)>, dice: &mut StdRng) -> Chosen {
        let (text, results) = self.results(&batch);
        let queue = self.program.queues().choose(dice).cloned().unwrap_or_default();
        let max = dice.random_range(0..=3) * self.program.scale;
        let call = Call::SettleAndClaim(batch, to_index(max));
        let text = format!("settle {text} and claim {max} of {queue}");
        query(text, claimed!("settle_and_claim($1, $2, $3)"), parameters![results, queue, max], call)
    }

    fn extend(&self, target: Target) -> Chosen {
        let id = self.runs[target.key.0].id.unwrap_or_default();
        let slug = self.program.flow.steps[target.key.1].slug.clone();
        let values = parameters![id, slug, target.key.2, target.lease];
        let sql = receipts!("extend_step_task($1, $2, $3, $4)");
        query(format!("extend {}", self.name(target.key)), sql, values, Call::Extend(target))
    }

    fn intrude(&self, dice: &mut StdRng) -> Option<Chosen> {
        let gone: Vec<&Target> = (self.replaced.iter())
            .filter(|t| !self.is_in_flight(t.key) && !self.runs[t.key.0].uncommitted && !self.runs[t.key.0].disturbed)
            .collect();
        let target = match gone.choose(dice).filter(|_| dice.random_bool(0.7)) {
            Some(target) => (*target).clone(),
            None => {
                let mut held = self.held();
                held.retain(|(key, _)| !self.runs[key.0].uncommitted);
                let (key, lease) = held.choose(dice)?;
                // Not the lease of anyone.
                Target { key: *key, lease: Some(lease.lease ^ 1), attempt: lease.attempt }
            }
        };
        let deed = match dice.random_range(0..3) {
            0 => Deed::Complete(Some(json!("intruder"))),
            1 => Deed::Fail { retryable: false, retry_after: None },
            _ => Deed::Release,
        };
        let mut chosen = self.settle_alone(target, deed, false);
        chosen.text.push_str(" with a lease of nobody");
        Some(chosen)
    }

    fn external(&self, session: usize, dice: &mut StdRng) -> Option<Chosen> {
        let key = *self.steps(session, |step| step.external).choose(dice)?;
        Some(self.settle_external(key, dice.random_bool(0.7)))
    }

    pub fn settle_external(&self, (slot, step): (usize, usize), by_step: bool) -> Chosen {
        let target = Target { key: (slot, step, 0), lease: None, attempt: 1 };
        let deed = match self.outcome(target.key, 1) {
            Outcome::Fail { retryable } => Deed::Fail { retryable, retry_after: None },
            Outcome::Complete(output) => Deed::Complete(output),
            Outcome::Die => Deed::Complete(None),
        };
        self.settle_alone(target, deed, by_step)
    }

    fn start_step(&self, session: usize, dice: &mut StdRng) -> Option<Chosen> {
        let step = *self.steps(session, |step| step.manual).choose(dice)?;
        Some(self.start_manual(step))
    }

    pub fn start_manual(&self, (slot, step): (usize, usize)) -> Chosen {
        let slug = self.program.flow.steps[step].slug.clone();
        let values = parameters![self.runs[slot].id.unwrap_or_default(), slug.clone()];
        let sql = "select status from pgflow.start_step($1, $2)";
        query(format!("start_step r{slot}/{slug}"), sql, values, Call::StartStep(slot, step))
    }

    /// Steps of this kind of all runs that the session sees.
    pub fn steps(
        &self,
        session: usize,
        kind: impl Fn(&pgflow_model_test::generate::Step) -> bool,
    ) -> Vec<(usize, usize)> {
        let seen = (0..self.runs.len()).filter(|&slot| self.visible(session, slot).is_some());
        let steps = &self.program.flow.steps;
        seen.flat_map(|slot| (0..steps.len()).map(move |step| (slot, step))).filter(|(_, s)| kind(&steps[*s])).collect()
    }

    /// Held tasks whose worker is to go silent. One at a time: of two leases that a claim finds to have run out, the
    /// tasks are due at one time.
    pub fn dying(&self) -> Vec<Target> {
        let held = self.tasks.iter().filter_map(|(key, task)| match task {
            Task::Held(lease) => Some((*key, lease)),
            _ => None,
        });
        let held: Vec<(Key, &Lease)> = held.filter(|(key, _)| !self.is_in_flight(*key)).collect();
        if held.iter().any(|(_, lease)| lease.aged) {
            return Vec::new();
        }
        let dying = held.into_iter().filter(|(key, lease)| self.outcome(*key, lease.attempt) == Outcome::Die);
        dying.map(|(key, lease)| Target { key, lease: Some(lease.lease), attempt: lease.attempt }).collect()
    }

    pub fn expire(&self, target: &Target) -> Chosen {
        let id = self.runs[target.key.0].id.unwrap_or_default();
        let slug = self.program.flow.steps[target.key.1].slug.clone();
        let values = parameters![id, slug, target.key.2, target.lease];
        query(format!("the lease of {} runs out", self.name(target.key)), EXPIRE, values, Call::Expire(target.clone()))
    }

    pub fn pass(&self) -> Chosen {
        let ids: Vec<Uuid> = self.runs.iter().map(|run| run.id.unwrap_or_default()).collect();
        query("time passes".to_owned(), PASS, parameters![ids], Call::Pass)
    }
}

fn tell_failure(retryable: bool, retry_after: Option<i32>) -> String {
    let after = retry_after.map(|s| format!(", again after {s} s")).unwrap_or_default();
    if retryable { after } else { format!(" for good{after}") }
}

fn to_index(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}
