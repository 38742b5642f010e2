//! A session at work on tasks: it claims, settles in every way there is, tries what must be refused, and judges the
//! answers.

use std::sync::atomic::Ordering;

use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::calls::{Claimed, Fault, Receipt};
use crate::case::{Claim, Holder, Round};
use crate::generate::Outcome;
use crate::held::{Deed, Held};
use crate::sessions::Session;

impl Session {
    fn queue<'a>(&mut self, round: &'a Round) -> &'a str {
        round.queues.choose(&mut self.rng).map_or("", String::as_str)
    }

    pub fn claim(&mut self, round: &Round) -> bool {
        let queue = self.queue(round);
        let max = *[0, 1, 1, 2, 5, 10].choose(&mut self.rng).unwrap_or(&1);
        let lease = [None, Some(60)].choose(&mut self.rng).copied().flatten();
        let sent = round.now();
        match self.caller.claim(queue, max, lease) {
            Ok(claimed) => self.take(round, sent, queue, max, claimed),
            Err(fault) => {
                round.problem(format!("claim_step_tasks({queue}): {fault}"));
                false
            }
        }
    }

    /// Checks the tasks of a claim sent at `sent`, and holds on to them.
    fn take(&mut self, round: &Round, sent: u64, queue: &str, max: i32, claimed: Vec<Claimed>) -> bool {
        if i32::try_from(claimed.len()).is_ok_and(|n| n > max) {
            round.problem(format!("claiming {max} tasks of {queue} returned {}", claimed.len()));
        }
        for c in &claimed {
            let Some(run) = round.find(c.run) else {
                round.problem(format!("claimed {c} of {queue}, a run nobody knows"));
                continue;
            };
            self.note(&run, &format!("claimed {c}"));
            let Some(step) = run.dag.flow.find(&c.step) else {
                run.problem(self.id, format!("claimed {c}: no such step"));
                continue;
            };
            if (1..sent).contains(&run.ended_at.load(Ordering::Relaxed)) {
                run.problem(self.id, format!("claimed {c}: the run has ended"));
            }
            let known = &run.dag.flow.steps[step];
            let expected = &run.expected.steps[step];
            let input = usize::try_from(c.task).ok().and_then(|t| expected.inputs.get(t));
            if run.kept.contains(&step) || known.external || input.is_none() {
                run.problem(self.id, format!("claimed {c}: that task must not be handed out"));
            } else if input != Some(&c.input) {
                let input = input.unwrap_or(&Value::Null);
                let problem = format!("claimed {c}\n  expected input {input}\n  got input      {}", c.input);
                run.problem(self.id, problem);
            }
            let (attempt, lease, session) = (c.attempt, c.lease, self.id);
            let entry = Claim { attempt, lease, session, holder: Holder::Holds };
            if let Err(problem) = run.enter(step, c.task, entry) {
                run.problem(self.id, format!("claimed {c}: {problem}"));
            }
            self.held.push(Held { run, step, task: c.task, attempt, lease });
        }
        if !claimed.is_empty() {
            round.progressed();
        }
        !claimed.is_empty()
    }

    /// Takes a held task off the list, with what is to be done with it; leases that are to run out are left to.
    fn pick(&mut self, round: &Round) -> Option<(Held, Deed)> {
        while !self.held.is_empty() {
            let held = self.held.swap_remove(self.rng.random_range(0..self.held.len()));
            let deed = match held.outcome() {
                _ if self.rng.random_bool(0.05) => Deed::Release,
                Outcome::Complete(output) => Deed::Complete(output),
                Outcome::Fail { retryable } => Deed::Fail { retryable },
                Outcome::Die => {
                    self.abandon(round, held);
                    continue;
                }
            };
            let holder = match deed {
                Deed::Complete(_) => Holder::Holds,
                Deed::Fail { .. } => Holder::GivesUp,
                Deed::Release => Holder::Releases,
            };
            held.announce(holder);
            return Some((held, deed));
        }
        None
    }

    fn abandon(&mut self, round: &Round, held: Held) {
        held.announce(Holder::GivesUp);
        let receipt = self.caller.extend(held.at(), Some(1));
        self.judge(round, &held, None, "extend_step_task by 1 s, then no word:", receipt);
        self.abandoned.push(held);
    }

    pub fn settle_one(&mut self, round: &Round) -> bool {
        let Some((held, deed)) = self.pick(round) else { return false };
        let mut at = held.at();
        // Without a lease another session's attempt might be settled, once the run was retried.
        if !held.run.disturbed && self.rng.random_bool(0.1) && !matches!(deed, Deed::Release) {
            at.lease = None;
        }
        let (what, receipt) = match &deed {
            Deed::Complete(output) if at.lease.is_none() && !held.step().map => {
                ("complete_step", self.caller.complete_step(at, output.as_ref()))
            }
            Deed::Complete(output) => ("complete_step_task", self.caller.complete(at, output.as_ref())),
            Deed::Fail { retryable } => ("fail_step_task", self.caller.fail(at, &held.message(), *retryable)),
            Deed::Release => ("release_step_task", self.caller.release(at)),
        };
        self.judge(round, &held, Some(&deed), what, receipt);
        if self.rng.random_bool(0.1) {
            let again = self.caller.complete(held.at(), Some(&json!("again")));
            self.must_refuse(&held, "complete_step_task once more of", again);
        }
        true
    }

    /// Settles several tasks in one call, with elements in between that must be refused, and may claim at once.
    pub fn settle_batch(&mut self, round: &Round) -> bool {
        let wanted = self.rng.random_range(1..=8);
        let picked: Vec<_> = std::iter::from_fn(|| self.pick(round)).take(wanted).collect();
        let Some((first, _)) = picked.first() else {
            return false;
        };
        let mut elements: Vec<Value> = picked.iter().map(|(held, deed)| held.element(deed, &mut self.rng)).collect();
        if self.rng.random_bool(0.2) {
            let mut twin = elements[0].clone();
            twin["lease"] = json!(first.lease);
            elements.push(twin);
        }
        if self.rng.random_bool(0.1) {
            elements.push(json!({"run_id": Uuid::nil(), "step_slug": "nowhere", "lease": 1}));
        }
        let results = Value::Array(elements);
        let queue = self.queue(round);
        let max = self.rng.random_range(0..=5);
        let sent = round.now();
        match self.rng.random_range(0..3) {
            0 => match self.caller.settle_and_claim(&results, queue, max) {
                Ok(claimed) => {
                    // No receipts: the end of the run shows what became of them.
                    for (held, deed) in &picked {
                        self.note(&held.run, &format!("settle_and_claim {held}: {deed}"));
                    }
                    round.progressed();
                    self.take(round, sent, queue, max, claimed);
                }
                Err(fault) => self.blame(picked, "settle_and_claim", &fault),
            },
            1 => match self.caller.settle_then_claim(&results, queue, max) {
                Ok((receipts, claimed)) => {
                    self.judge_batch(round, &picked, &results, &receipts);
                    self.take(round, sent, queue, max, claimed);
                }
                Err(fault) => self.blame(picked, "settle_step_tasks and claim", &fault),
            },
            _ => match self.caller.settle(&results) {
                Ok(receipts) => self.judge_batch(round, &picked, &results, &receipts),
                Err(fault) => self.blame(picked, "settle_step_tasks", &fault),
            },
        }
        true
    }

    /// A batch that raised an error: every run in it shows the error, and its tasks are tried again.
    fn blame(&mut self, picked: Vec<(Held, Deed)>, what: &str, fault: &Fault) {
        for (held, deed) in picked {
            held.run.problem(self.id, format!("{what} {held}: {deed}: {fault}"));
            self.held.push(held);
        }
    }

    fn judge_batch(&mut self, round: &Round, picked: &[(Held, Deed)], results: &Value, receipts: &[Receipt]) {
        let elements = results.as_array().map_or(&[][..], Vec::as_slice);
        let in_order = elements.len() == receipts.len()
            && elements.iter().zip(receipts).all(|(e, r)| {
                e["run_id"] == json!(r.run_id)
                    && e["step_slug"] == json!(r.slug)
                    && e["task_index"].as_i64().unwrap_or(0) == i64::from(r.task_index)
            });
        if !in_order {
            let got: Vec<String> = receipts.iter().map(ToString::to_string).collect();
            round.problem(format!("settle_step_tasks({results}) answered out of order: {got:#?}"));
            return;
        }
        for ((held, deed), receipt) in picked.iter().zip(receipts) {
            self.judge(round, held, Some(deed), "settle_step_tasks", Ok(receipt.clone()));
        }
        for (element, receipt) in elements.iter().zip(receipts).skip(picked.len()) {
            if receipt.accepted {
                round.problem(format!("settle_step_tasks accepted {element} twice, or of no run"));
            }
        }
    }

    /// Compares a receipt with what the contract says; `None` is an extension.
    fn judge(&mut self, round: &Round, held: &Held, deed: Option<&Deed>, what: &str, receipt: Result<Receipt, Fault>) {
        let said = deed.map(|d| format!(": {d}")).unwrap_or_default();
        let what = format!("{what} {held}{said}");
        let run = &held.run;
        let r = match receipt {
            Ok(r) => r,
            Err(fault) => {
                // To be tried again, so that one error does not leave the run hanging as well.
                self.held.extend(deed.map(|_| held.clone()));
                return run.problem(self.id, format!("{what}: {fault}"));
            }
        };
        self.note(run, &format!("{what}: {r}"));
        if r.accepted {
            round.progressed();
        }
        if r.accepted && r.task.as_deref() == Some("completed") {
            held.announce(Holder::Completed);
        }
        let expected = &run.expected.steps[held.step];
        let budget = i32::try_from(held.budget()).unwrap_or(i32::MAX);
        let goes_on = r.step == "started" && r.run == "started";
        let should = match deed {
            _ if run.disturbed => return,
            _ if !r.accepted => {
                if goes_on || held.safe() {
                    run.problem(self.id, format!("{what}: refused the holder of the lease: {r}"));
                }
                return;
            }
            None => "started",
            Some(Deed::Release) => "queued",
            Some(Deed::Complete(_)) => {
                let task = expected.tasks.get(held.index());
                task.and_then(|t| t.attempts.last()).copied().unwrap_or("completed")
            }
            Some(Deed::Fail { retryable: true }) if held.attempt < budget => "queued",
            Some(Deed::Fail { .. }) => "failed",
        };
        let lags = matches!(should, "queued" | "started") && !goes_on;
        if r.task.as_deref() != Some(should) && !lags {
            run.problem(self.id, format!("{what}: expected task_status {should}, got {r}"));
        }
    }

    fn must_refuse(&mut self, held: &Held, what: &str, receipt: Result<Receipt, Fault>) {
        match receipt {
            Ok(r) if r.accepted => {
                let problem = format!("{what} {held}: must be refused, got {r}");
                held.run.problem(self.id, problem);
            }
            Ok(_) => {}
            Err(fault) => held.run.problem(self.id, format!("{what} {held}: {fault}")),
        }
    }

    pub fn extend(&mut self, round: &Round) -> bool {
        let Some(held) = self.held.choose(&mut self.rng).cloned() else {
            return false;
        };
        let seconds = self.rng.random_bool(0.5).then(|| self.rng.random_range(60..600));
        let receipt = self.caller.extend(held.at(), seconds);
        self.judge(round, &held, None, "extend_step_task", receipt);
        true
    }

    /// Comes back with results of leases that ran out, once the task went on without them.
    pub fn haunt(&mut self) -> bool {
        let gone = |h: &Held| h.run.ended() || h.run.claim(h.step, h.task).is_some_and(|c| c.attempt > h.attempt);
        let (replaced, waiting) = std::mem::take(&mut self.abandoned).into_iter().partition(gone);
        self.abandoned = waiting;
        let any = !replaced.is_empty();
        for held in replaced {
            let (what, receipt) = if self.rng.random_bool(0.5) {
                ("late complete_step_task of", self.caller.complete(held.at(), Some(&json!("late"))))
            } else {
                ("late fail_step_task of", self.caller.fail(held.at(), "late", false))
            };
            self.must_refuse(&held, what, receipt);
        }
        any
    }

    pub fn try_what_is_refused(&mut self) -> bool {
        let Some(held) = self.held.choose(&mut self.rng).cloned() else { return false };
        let mut at = held.at();
        at.lease = Some(held.lease ^ 1);
        let forged = match self.rng.random_range(0..4) {
            0 => self.caller.fail(at, "forged", false),
            1 => self.caller.release(at),
            2 => self.caller.extend(at, None),
            _ => self.caller.complete(at, Some(&json!("forged"))),
        };
        self.must_refuse(&held, "a call with another lease on", forged);
        if held.safe() {
            at.index = i32::try_from(held.run.expected.steps[held.step].tasks.len()).unwrap_or(0);
            let what = format!("complete_step_task of {}[{}], which is no task: expected PT404", at.step, at.index);
            match self.caller.complete(at, None) {
                Err(fault) if fault.code == "PT404" => {}
                Err(fault) => held.run.problem(self.id, format!("{what}, got {fault}")),
                Ok(r) => held.run.problem(self.id, format!("{what}, got {r}")),
            }
        }
        true
    }
}
