//! Claimed tasks in a worker's hands and how they are settled: one by one, with their effect in the same transaction,
//! in a batch, or in a batch that claims the next one. A settlement without an answer is mostly sent again.

use std::rc::Rc;

use pgflow_model_test::generate::{Outcome, Step};
use rand::Rng;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Failure;
use crate::cases::{self, Case, QUEUES};
use crate::connection::{Claimed, Receipt, Task, Trouble};
use crate::worker::Worker;

pub struct Held {
    pub case: Rc<Case>,
    pub run: Uuid,
    pub step: usize,
    pub task: i32,
    pub attempt: i32,
    pub lease: i64,
    /// How many attempts of the task have failed before.
    pub failures: u32,
}

#[derive(Clone, Debug)]
pub enum Deed {
    Complete(Option<Value>),
    Fail { retryable: bool },
    Release,
}

impl Held {
    pub fn step(&self) -> &Step {
        &self.case.flow.steps[self.step]
    }

    fn index(&self) -> usize {
        usize::try_from(self.task).unwrap_or(0)
    }

    /// The same tasks for all workers, so that one comes back while another has taken over; not for ever.
    pub fn takes_long(&self) -> bool {
        self.attempt < 5 && self.run.as_u128().wrapping_add(self.index() as u128).is_multiple_of(30)
    }

    fn message(&self) -> String {
        self.step().message(self.index())
    }

    fn task(&self) -> Task<'_> {
        Task { run: self.run, step: &self.step().slug, index: self.task, attempt: self.attempt, lease: self.lease }
    }

    pub fn deed(&self) -> Deed {
        match cases::outcome(&self.case.flow, self.step(), self.index(), self.failures) {
            Outcome::Complete(output) => Deed::Complete(output),
            Outcome::Fail { retryable } => Deed::Fail { retryable },
            Outcome::Die => Deed::Release,
        }
    }

    pub fn entry(&self, kind: &str) -> Value {
        let Held { run, task, attempt, lease, .. } = self;
        json!({"kind": kind, "run": run, "step": self.step().slug, "task": task, "attempt": attempt, "lease": lease,
               "transactional": cases::is_transactional(self.step())})
    }

    fn element(&self, deed: &Deed) -> Value {
        let mut e = json!({"run_id": self.run, "step_slug": self.step().slug, "task_index": self.task,
                           "lease": self.lease});
        match deed {
            Deed::Complete(output) => e["output"] = json!(output),
            Deed::Fail { retryable } => {
                e["error_message"] = json!(self.message());
                e["retryable"] = json!(retryable);
            }
            Deed::Release => e["release"] = json!(true),
        }
        e
    }
}

impl Worker {
    /// Settles all, and returns what was claimed on the way.
    pub fn settle(&mut self, held: Vec<Held>) -> Result<Vec<Claimed>, Failure> {
        let (mut single, mut batch) = (Vec::new(), Vec::new());
        for held in held {
            let deed = if self.rng.random_bool(0.02) { Deed::Release } else { held.deed() };
            // Written before the call: an attempt that was released may be handed out again.
            self.journal.write(&held.entry(if matches!(deed, Deed::Release) { "release" } else { "effect" }))?;
            let transactional = matches!(deed, Deed::Complete(_)) && cases::is_transactional(held.step());
            if transactional { single.push((held, deed)) } else { batch.push((held, deed)) }
        }
        let claims = self.rng.random_bool(0.4);
        if batch.len() < 2 || self.rng.random_bool(0.3) {
            single.append(&mut batch);
        }
        for one in &single {
            self.with_answer(std::slice::from_ref(one), |worker| worker.settle_one(&one.0, &one.1))?;
        }
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let results: Value = batch.iter().map(|(held, deed)| held.element(deed)).collect();
        if claims {
            return self.settle_and_claim(&results);
        }
        self.with_answer(&batch, |worker| {
            worker.caller.receipts("select * from pgflow.settle_step_tasks($1)", &[&results])
        })?;
        Ok(Vec::new())
    }

    fn settle_one(&mut self, held: &Held, deed: &Deed) -> Result<Vec<Receipt>, Trouble> {
        let Task { run, step, index, lease, .. } = held.task();
        match deed {
            Deed::Complete(output) if cases::is_transactional(held.step()) => {
                self.caller.complete_with_effect(held.task(), output)
            }
            Deed::Complete(output) => {
                let sql = "select * from pgflow.complete_step_task($1, $2, $3, $4, $5)";
                self.caller.receipts(sql, &[&run, &step, output, &index, &lease])
            }
            Deed::Fail { retryable } => {
                let sql = "select * from pgflow.fail_step_task($1, $2, $3, $4, $5, $6)";
                self.caller.receipts(sql, &[&run, &step, &held.message(), &index, &lease, retryable])
            }
            Deed::Release => {
                let sql = "select * from pgflow.release_step_task($1, $2, $3, $4)";
                self.caller.receipts(sql, &[&run, &step, &index, &lease])
            }
        }
    }

    /// Calls until there is an answer, or gives up, and writes the answer down.
    fn with_answer(
        &mut self,
        settled: &[(Held, Deed)],
        call: impl Fn(&mut Worker) -> Result<Vec<Receipt>, Trouble>,
    ) -> Result<(), Failure> {
        let receipts = loop {
            match call(self) {
                Ok(receipts) => break receipts,
                Err(Trouble::Lost) if self.rng.random_bool(0.7) => {}
                Err(trouble) => {
                    let what = settled.iter().map(|(h, d)| format!("{}: {d:?}", h.entry("settling")));
                    return self.trouble(&what.collect::<Vec<_>>().join(", "), &trouble);
                }
            }
        };
        if receipts.len() != settled.len() {
            self.journal.problem(&format!("{} receipts for {} tasks", receipts.len(), settled.len()))?;
        }
        for ((held, deed), receipt) in settled.iter().zip(receipts) {
            let mut entry = held.entry("receipt");
            entry["accepted"] = json!(receipt.accepted);
            entry["task_status"] = json!(receipt.task_status);
            match deed {
                Deed::Complete(output) => {
                    entry["call"] = json!("complete");
                    entry["output"] = json!(output);
                }
                Deed::Fail { .. } => {
                    entry["call"] = json!("fail");
                    entry["message"] = json!(held.message());
                }
                Deed::Release => entry["call"] = json!("release"),
            }
            self.journal.write(&entry)?;
        }
        Ok(())
    }

    /// This answers what was claimed, and not what became of the results: the end of the runs shows that.
    fn settle_and_claim(&mut self, results: &Value) -> Result<Vec<Claimed>, Failure> {
        let sql = "select * from pgflow.settle_and_claim($1, $2, $3, $4)";
        let queue = self.queue();
        let (max, lease) = (self.rng.random_range(1..=8), self.lease_seconds());
        loop {
            match self.caller.claimed(sql, &[results, &queue, &max, &lease]) {
                Ok(claimed) => {
                    self.note_claims(&claimed, true)?;
                    return Ok(claimed);
                }
                Err(Trouble::Lost) if self.rng.random_bool(0.7) => {}
                Err(trouble) => {
                    self.trouble(&format!("settle_and_claim({results}, {queue})"), &trouble)?;
                    return Ok(Vec::new());
                }
            }
        }
    }

    pub fn queue(&mut self) -> String {
        format!("{QUEUES}{}", self.rng.random_range(0..cases::QUEUE_COUNT))
    }

    pub fn lease_seconds(&mut self) -> i32 {
        self.rng.random_range(1..=3)
    }
}
