//! The flows of this test: those of the model test, made so that kills leave their ends determined.

use std::collections::HashMap;
use std::rc::Rc;

use pgflow_model_test::generate::{Flow, Outcome, Plan, Step, generate};
use pgflow_model_test::interpret::{Expected, Kept, interpret};
use serde_json::{Value, json};

/// The queues of all flows are this and a digit.
pub const QUEUES: &str = "crash_";
pub const QUEUE_COUNT: usize = 3;

/// More than any number of kills burns.
const ATTEMPTS: u32 = 100_000;

/// The flow of a seed and what to run of it.
pub fn flow(seed: u64) -> (Flow, Vec<Plan>) {
    let (mut flow, plans) = generate(seed, "crash");
    for (i, step) in flow.steps.iter_mut().enumerate() {
        // Leases run out because of kills, not by plan.
        step.handler.deadly = false;
        step.queue = Some(i % QUEUE_COUNT);
    }
    (flow, plans)
}

pub fn definition(flow: &Flow) -> Value {
    let mut document = flow.definition(QUEUES);
    let steps = document["steps"].as_array_mut().into_iter().flatten();
    for step in steps.filter(|s| s.get("executor").is_none()) {
        step["max_attempts"] = json!(ATTEMPTS);
    }
    document
}

/// Whether a step's handler writes its effect in the transaction that completes the task.
pub fn is_transactional(step: &Step) -> bool {
    !step.external && step.handler.seed % 5 < 2
}

/// What the handler does with a task that has failed so often before.
pub fn outcome(flow: &Flow, step: &Step, task: usize, failures: u32) -> Outcome {
    let budget = step.max_attempts(flow);
    match step.outcome(task, failures + 1, budget) {
        Outcome::Fail { retryable } => Outcome::Fail { retryable: retryable && failures + 1 < budget },
        outcome => outcome,
    }
}

/// The idempotency key of a plan: it leads back to the plan.
pub fn key(seed: u64, plan: usize) -> String {
    format!("{seed}.{plan}")
}

/// A run to come or under way, with the end it must have.
pub struct Case {
    pub seed: u64,
    pub flow: Flow,
    pub payload: Value,
    pub expected: Expected,
}

impl Case {
    pub fn of_key(key: &str) -> Option<Case> {
        let (seed, plan) = key.split_once('.')?;
        let (seed, plan) = (seed.parse().ok()?, plan.parse::<usize>().ok()?);
        let (flow, plans) = flow(seed);
        let payload = plans.into_iter().nth(plan)?.payload;
        let expected = interpret(&flow, &payload, &Kept::new());
        Some(Case { seed, flow, payload, expected })
    }
}

/// Cases that were needed lately.
#[derive(Default)]
pub struct Cases(HashMap<String, Rc<Case>>);

impl Cases {
    pub fn of_key(&mut self, key: &str) -> Option<Rc<Case>> {
        if let Some(case) = self.0.get(key) {
            return Some(Rc::clone(case));
        }
        if self.0.len() > 500 {
            self.0.clear();
        }
        let case = Rc::new(Case::of_key(key)?);
        self.0.insert(key.to_owned(), Rc::clone(&case));
        Some(case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failure_is_final_and_the_interpreter_agrees_on_how_many_there_are() {
        for seed in 0..300 {
            for plan in 0..flow(seed).1.len() {
                let Some(case) = Case::of_key(&key(seed, plan)) else { panic!("no case of {seed}.{plan}") };
                for (step, end) in case.flow.steps.iter().zip(&case.expected.steps) {
                    for (task, end) in end.tasks.iter().enumerate() {
                        let all = (0..).map(|n| outcome(&case.flow, step, task, n));
                        let ends = |o: &Outcome| matches!(o, Outcome::Complete(_) | Outcome::Fail { retryable: false });
                        let failures = all.take_while(|o| !ends(o)).count();
                        assert_eq!(failures + 1, end.attempts.len());
                        assert!(!end.attempts.contains(&"expired"));
                    }
                }
            }
        }
    }
}
