//! The reference interpreter: how a run of a flow ends, from the contract alone. Pure, no database.
//!
//! Steps are looked at in an order in which deps come first. A run that fails may do so at any of its failing steps,
//! before or after steps beside it; every step is therefore followed as if no other one failed, steps behind a failing
//! one are `Blocked`, and whoever compares allows for steps that were cancelled instead.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::generate::{Flow, Outcome, Policy};

#[derive(Clone, Debug, PartialEq)]
pub enum End {
    Completed(Value),
    /// A cascade takes everything downstream with it.
    Skipped {
        reason: &'static str,
        cascade: bool,
    },
    Failed,
    /// A dep, near or far, failed.
    Blocked,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TaskEnd {
    /// The statuses of its attempts.
    pub attempts: Vec<&'static str>,
    pub output: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StepEnd {
    pub end: End,
    /// What each task is claimed with; empty when the step never starts.
    pub inputs: Vec<Value>,
    /// As if no other task had ended the step.
    pub tasks: Vec<TaskEnd>,
    /// The error messages the step may have; `None` stands for a text of the engine's own.
    pub errors: Vec<Option<String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    pub fails: bool,
    pub output: Option<Value>,
    pub steps: Vec<StepEnd>,
}

/// Ends of steps that a fork takes over from its origin.
pub type Kept = BTreeMap<usize, StepEnd>;

pub fn interpret(flow: &Flow, payload: &Value, kept: &Kept) -> Expected {
    let mut steps: Vec<StepEnd> = Vec::with_capacity(flow.steps.len());
    for i in 0..flow.steps.len() {
        let end = kept.get(&i).cloned().unwrap_or_else(|| step(flow, payload, &steps, i));
        steps.push(end);
    }
    let fails = steps.iter().any(|s| s.end == End::Failed);
    let output = if fails { None } else { run_output(flow, &steps) };
    Expected { fails, output, steps }
}

fn run_output(flow: &Flow, steps: &[StepEnd]) -> Option<Value> {
    if let Some(step) = flow.output_step {
        return steps[step].output().cloned();
    }
    let leaves = (0..steps.len()).filter(|&i| flow.is_leaf(i));
    let outputs = outputs(flow, steps, leaves);
    (!outputs.is_empty()).then_some(Value::Object(outputs))
}

/// The outputs of those steps that completed, by slug.
fn outputs(flow: &Flow, ends: &[StepEnd], steps: impl Iterator<Item = usize>) -> Map<String, Value> {
    let completed = steps.filter_map(|i| Some((flow.steps[i].slug.clone(), ends[i].output()?.clone())));
    completed.collect()
}

impl StepEnd {
    pub fn output(&self) -> Option<&Value> {
        match &self.end {
            End::Completed(output) => Some(output),
            _ => None,
        }
    }

    pub fn cascades(&self) -> bool {
        matches!(self.end, End::Skipped { cascade: true, .. })
    }

    fn idle(end: End) -> StepEnd {
        StepEnd { end, inputs: Vec::new(), tasks: Vec::new(), errors: Vec::new() }
    }
}

fn by_policy(policy: Policy, reason: &'static str) -> End {
    match policy {
        Policy::Fail => End::Failed,
        Policy::Skip => End::Skipped { reason, cascade: false },
        Policy::Cascade => End::Skipped { reason, cascade: true },
    }
}

fn step(flow: &Flow, payload: &Value, ends: &[StepEnd], index: usize) -> StepEnd {
    let step = &flow.steps[index];
    if step.deps.iter().any(|&d| ends[d].cascades()) {
        return StepEnd::idle(End::Skipped { reason: "dependency_skipped", cascade: true });
    }
    if step.deps.iter().any(|&d| matches!(ends[d].end, End::Failed | End::Blocked)) {
        return StepEnd::idle(End::Blocked);
    }

    let deps = outputs(flow, ends, step.deps.iter().copied());
    let subject = if step.deps.is_empty() { payload.clone() } else { Value::Object(deps.clone()) };
    let met = step.required.as_ref().is_none_or(|p| contains(&subject, p))
        && step.forbidden.as_ref().is_none_or(|p| !contains(&subject, p));
    if !met {
        let mut end = StepEnd::idle(by_policy(step.when_unmet, "condition_unmet"));
        end.errors = vec![None];
        return end;
    }

    let inputs: Vec<Value> = if step.map {
        let source = step.map_over.map_or(Some(payload), |s| ends[s].output());
        let items = source.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        items.iter().enumerate().map(|(i, item)| json!({"item": item, "index": i})).collect()
    } else {
        let mut input = deps;
        input.insert("run".to_owned(), payload.clone());
        vec![Value::Object(input)]
    };

    let mut errors = Vec::new();
    let mut tasks: Vec<TaskEnd> = (0..inputs.len()).map(|t| task(flow, index, t, &mut errors)).collect();
    let end = if !errors.is_empty() {
        by_policy(step.when_exhausted, "handler_failed")
    } else if step.map {
        End::Completed(tasks.iter().map(|t| t.output.clone()).collect())
    } else if flow.feeds_map(index) && !tasks[0].output.is_array() {
        if let Some(last) = tasks[0].attempts.last_mut() {
            *last = "failed";
        }
        errors.push(None);
        End::Failed
    } else {
        End::Completed(tasks[0].output.clone())
    };
    StepEnd { end, inputs, tasks, errors }
}

fn task(flow: &Flow, index: usize, task: usize, errors: &mut Vec<Option<String>>) -> TaskEnd {
    let step = &flow.steps[index];
    let budget = step.max_attempts(flow);
    let mut attempts = Vec::new();
    let mut error = None;
    for attempt in 1..=budget {
        match step.outcome(task, attempt, budget) {
            Outcome::Complete(output) => {
                attempts.push("completed");
                return TaskEnd { attempts, output: output.unwrap_or(Value::Null) };
            }
            Outcome::Fail { retryable } => {
                attempts.push("failed");
                error = Some(step.message(task));
                if !retryable {
                    break;
                }
            }
            Outcome::Die => {
                attempts.push("expired");
                error = None;
            }
        }
    }
    errors.push(error);
    TaskEnd { attempts, output: Value::Null }
}

/// `@>` of jsonb, for patterns that are objects.
pub fn contains(value: &Value, pattern: &Value) -> bool {
    match (value, pattern) {
        (Value::Object(v), Value::Object(p)) => p.iter().all(|(key, p)| v.get(key).is_some_and(|v| contains(v, p))),
        (Value::Array(v), Value::Array(p)) => p.iter().all(|p| v.iter().any(|v| contains(v, p))),
        _ => value == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Handler, Returns, Step};

    /// A step that returns an array, with these deps; the tests change the rest.
    fn plain(slug: &str, deps: &[usize]) -> Step {
        let returns = Returns::Array;
        let handler = Handler { seed: 7, doomed: 0, flaky: 0, deadly: false, returns };
        Step {
            slug: slug.to_owned(),
            deps: deps.to_vec(),
            map: false,
            map_over: None,
            external: false,
            manual: false,
            queue: None,
            max_attempts: None,
            required: None,
            forbidden: None,
            when_unmet: Policy::Skip,
            when_exhausted: Policy::Fail,
            handler,
        }
    }

    fn map(slug: &str, deps: &[usize]) -> Step {
        let mut step = plain(slug, deps);
        step.map = true;
        step.map_over = deps.first().copied();
        step.handler.returns = Returns::Anything;
        step
    }

    fn unmet(mut step: Step, when_unmet: Policy) -> Step {
        step.required = Some(json!({"never": 1}));
        step.when_unmet = when_unmet;
        step
    }

    fn doomed(mut step: Step, when_exhausted: Policy) -> Step {
        step.handler.doomed = 100;
        step.when_exhausted = when_exhausted;
        step
    }

    fn flow(steps: Vec<Step>) -> Flow {
        let order = (0..steps.len()).collect();
        let slug = "f".to_owned();
        Flow { slug, max_attempts: 2, output_step: None, steps, order, piecewise: false }
    }

    fn ends(steps: Vec<Step>, payload: Value) -> Vec<End> {
        interpret(&flow(steps), &payload, &Kept::new()).steps.into_iter().map(|s| s.end).collect()
    }

    fn skipped(reason: &'static str, cascade: bool) -> End {
        End::Skipped { reason, cascade }
    }

    #[test]
    fn a_plain_skip_resolves_and_leaves_its_key_out() {
        let flow = flow(vec![unmet(plain("a", &[]), Policy::Skip), plain("b", &[]), plain("c", &[0, 1])]);
        let e = interpret(&flow, &json!({"x": 1}), &Kept::new());
        assert_eq!(e.steps[0].end, skipped("condition_unmet", false));
        let b = e.steps[1].output().unwrap();
        assert_eq!(e.steps[2].inputs, [json!({"run": {"x": 1}, "b": b})]);
        assert_eq!(e.output, Some(json!({"c": e.steps[2].output().unwrap()})));
    }

    #[test]
    fn a_cascade_takes_all_that_is_downstream_and_nothing_else() {
        let steps = vec![doomed(plain("a", &[]), Policy::Cascade), plain("b", &[0]), plain("c", &[1]), plain("d", &[])];
        let e = ends(steps, json!({}));
        assert_eq!(e[0], skipped("handler_failed", true));
        assert_eq!(e[1..3], [skipped("dependency_skipped", true), skipped("dependency_skipped", true)]);
        assert!(matches!(e[3], End::Completed(_)));
    }

    #[test]
    fn emptiness_passes_on_through_maps() {
        assert_eq!(
            ends(vec![map("a", &[]), map("b", &[0]), map("c", &[1])], json!([])),
            vec![End::Completed(json!([])); 3]
        );
        let e = ends(vec![unmet(map("a", &[]), Policy::Skip), map("b", &[0])], json!([1]));
        assert_eq!(e[1], End::Completed(json!([])), "a skipped dep gives a map no tasks");
    }

    #[test]
    fn a_map_keeps_the_order_of_its_tasks() {
        let flow = flow(vec![map("a", &[])]);
        let e = interpret(&flow, &json!([5, 6, 7]), &Kept::new());
        assert_eq!(e.steps[0].inputs[2], json!({"item": 7, "index": 2}));
        let outputs: Vec<Value> = (0..3).map(|t| flow.steps[0].output(t).unwrap_or(Value::Null)).collect();
        assert_eq!(e.steps[0].output(), Some(&Value::Array(outputs)));
    }

    #[test]
    fn only_map_over_gives_a_map_its_tasks() {
        let mut m = map("m", &[1, 0]);
        m.map_over = Some(1);
        let e = ends(vec![unmet(plain("a", &[]), Policy::Skip), map("b", &[]), m], json!([1, 2]));
        assert!(matches!(&e[2], End::Completed(Value::Array(items)) if items.len() == 2));
    }

    #[test]
    fn the_output_step_decides_and_may_be_skipped() {
        let mut f = flow(vec![plain("a", &[]), unmet(plain("b", &[0]), Policy::Skip)]);
        assert_eq!(interpret(&f, &json!({}), &Kept::new()).output, None, "no leaf completed");
        f.output_step = Some(0);
        let e = interpret(&f, &json!({}), &Kept::new());
        assert_eq!(e.output.as_ref(), e.steps[0].output());
        f.output_step = Some(1);
        assert_eq!(interpret(&f, &json!({}), &Kept::new()).output, None);
    }

    #[test]
    fn a_map_over_something_else_than_an_array_fails_its_source() {
        let mut a = plain("a", &[]);
        a.handler.returns = Returns::NotArray;
        a.when_exhausted = Policy::Skip;
        let e = interpret(&flow(vec![a, map("b", &[0])]), &json!({}), &Kept::new());
        assert_eq!((&e.steps[0].end, &e.steps[1].end), (&End::Failed, &End::Blocked));
        assert_eq!(e.steps[0].tasks[0].attempts, ["failed"]);
        assert!(e.fails && e.output.is_none());
    }

    #[test]
    fn an_exhausted_task_ends_the_whole_map() {
        let e = interpret(&flow(vec![doomed(map("a", &[]), Policy::Skip)]), &json!([1, 2]), &Kept::new());
        assert_eq!(e.steps[0].end, skipped("handler_failed", false));
        assert!(e.steps[0].errors.contains(&Some("a[1] will not".to_owned())));
        assert!(!e.fails);
    }

    #[test]
    fn an_unmet_condition_may_fail_the_run() {
        let e = ends(vec![unmet(plain("a", &[]), Policy::Fail), plain("b", &[0])], json!({}));
        assert_eq!(e, [End::Failed, End::Blocked]);
    }

    #[test]
    fn an_sql_null_is_json_null() {
        let mut a = plain("a", &[]);
        a.handler.returns = Returns::Anything;
        a.handler.seed = (0..)
            .find(|&s| {
                a.handler.seed = s;
                a.output(0).is_none()
            })
            .unwrap();
        assert_eq!(ends(vec![a], json!({})), [End::Completed(Value::Null)]);
    }

    #[test]
    fn a_fork_keeps_what_it_is_given() {
        let f = flow(vec![plain("a", &[]), plain("b", &[0])]);
        let kept = Kept::from([(0, StepEnd::idle(End::Completed(json!("old"))))]);
        let e = interpret(&f, &json!({"k": 1}), &kept);
        assert_eq!(e.steps[1].inputs, [json!({"run": {"k": 1}, "a": "old"})]);
    }

    #[test]
    fn containment_is_that_of_jsonb() {
        for (value, pattern, expected) in [
            (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1}}), true),
            (json!({"a": [1, [2, 3]]}), json!({"a": [[3]]}), true),
            (json!({"a": [1, 2]}), json!({"a": [2, 2, 1]}), true),
            (json!({"a": ["x"]}), json!({"a": "x"}), false),
            (json!({"a": [1]}), json!({"a": []}), true),
            (json!({"a": [1]}), json!({"a": {}}), false),
            (json!([{"a": 1}]), json!({"a": 1}), false),
            (json!({"a": null}), json!({"a": null}), true),
            (json!({}), json!({"a": null}), false),
        ] {
            assert_eq!(contains(&value, &pattern), expected, "{value} @> {pattern}");
        }
    }
}
