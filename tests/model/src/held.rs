//! A claimed task in a session's hands, and what the session does with it.

use std::fmt;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::calls::At;
use crate::case::{Holder, Run};
use crate::compare::clip;
use crate::generate::{Outcome, Step};

#[derive(Clone)]
pub struct Held {
    pub run: Arc<Run>,
    pub step: usize,
    pub task: i32,
    pub attempt: i32,
    pub lease: i64,
}

#[derive(Clone, Debug)]
pub enum Deed {
    Complete(Option<Value>),
    Fail { retryable: bool },
    Release,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Deed::Complete(output) => write!(f, "complete with {}", clip(output.as_ref(), 60)),
            Deed::Fail { retryable: true } => write!(f, "fail"),
            Deed::Fail { retryable: false } => write!(f, "fail, not retryable"),
            Deed::Release => write!(f, "release"),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Held { task, attempt, lease, .. } = self;
        write!(f, "{}[{task}] attempt {attempt} lease {lease}", self.step().slug)
    }
}

impl Held {
    pub fn step(&self) -> &Step {
        &self.run.dag.flow.steps[self.step]
    }

    pub fn at(&self) -> At<'_> {
        At { run: self.run.id, step: &self.step().slug, index: self.task, lease: Some(self.lease) }
    }

    pub fn index(&self) -> usize {
        usize::try_from(self.task).unwrap_or(0)
    }

    pub fn message(&self) -> String {
        self.step().message(self.index())
    }

    pub fn budget(&self) -> u32 {
        self.step().max_attempts(&self.run.dag.flow)
    }

    pub fn outcome(&self) -> Outcome {
        let attempt = u32::try_from(self.attempt).unwrap_or(1);
        self.step().outcome(self.index(), attempt, self.budget())
    }

    /// Tells the other sessions what is about to happen.
    pub fn announce(&self, holder: Holder) {
        self.run.set_holder(self.step, self.task, self.lease, holder);
    }

    /// Whether the task's step, as far as the interpreter can say, stays started until the task is settled.
    pub fn safe(&self) -> bool {
        self.run.calm() && self.run.expected.steps[self.step].output().is_some()
    }

    /// The element of a batch that does the deed.
    pub fn element(&self, deed: &Deed, rng: &mut StdRng) -> Value {
        let mut e = json!({"run_id": self.run.id, "step_slug": self.step().slug});
        if self.task > 0 || rng.random_bool(0.5) {
            e["task_index"] = json!(self.task);
        }
        // Without a lease another session's attempt might be settled, once the run was retried.
        if self.run.disturbed || rng.random_bool(0.9) {
            e["lease"] = json!(self.lease);
        }
        match deed {
            Deed::Complete(None) if rng.random_bool(0.5) => {}
            Deed::Complete(output) => e["output"] = json!(output),
            Deed::Fail { retryable } => {
                e["error_message"] = json!(self.message());
                if !retryable || rng.random_bool(0.5) {
                    e["retryable"] = json!(retryable);
                }
                if rng.random_bool(0.3) {
                    e["retry_after"] = json!(0);
                }
            }
            Deed::Release => e["release"] = json!(true),
        }
        e
    }
}
