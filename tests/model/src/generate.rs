//! Random flows: everything about a flow, its runs and its handlers follows from one seed.
//!
//! A handler is a pure function of step, task and attempt, and gets no worse with later attempts, so that the end
//! of a run does not depend on the order of work, nor on a cancel and retry in between. Only a run that is meant to
//! fail may end in several ways, and few are: `may_fail` decides it for the whole flow.

use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

/// What `when_unmet` and `when_exhausted` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Fail,
    Skip,
    Cascade,
}

impl Policy {
    fn name(self) -> &'static str {
        match self {
            Policy::Fail => "fail",
            Policy::Skip => "skip",
            Policy::Cascade => "skip-cascade",
        }
    }
}

/// What a worker does with one attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// `None` is an SQL NULL.
    Complete(Option<Value>),
    Fail {
        retryable: bool,
    },
    /// The worker lets its lease run out.
    Die,
}

/// What a step's tasks return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    Anything,
    Array,
    /// Not an array although a map takes its tasks from it.
    NotArray,
}

#[derive(Clone, Debug)]
pub struct Handler {
    pub seed: u64,
    /// Per cent of the tasks that fail on every attempt.
    pub doomed: u32,
    /// Per cent of the tasks that fail at first and succeed within their budget.
    pub flaky: u32,
    /// Some failing attempts are leases that run out.
    pub deadly: bool,
    pub returns: Returns,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub slug: String,
    /// Indexes of earlier steps.
    pub deps: Vec<usize>,
    pub map: bool,
    /// The dep that a map with deps takes its tasks from.
    pub map_over: Option<usize>,
    pub external: bool,
    pub manual: bool,
    /// One of the shared queues; else the flow's own.
    pub queue: Option<usize>,
    pub max_attempts: Option<u32>,
    pub required: Option<Value>,
    pub forbidden: Option<Value>,
    pub when_unmet: Policy,
    pub when_exhausted: Policy,
    pub handler: Handler,
}

#[derive(Clone, Debug)]
pub struct Flow {
    pub slug: String,
    pub max_attempts: u32,
    pub output_step: Option<usize>,
    /// In an order in which deps come first.
    pub steps: Vec<Step>,
    /// The order in which the definition lists them.
    pub order: Vec<usize>,
    /// Defined by `create_flow` and `add_step` instead of one document.
    pub piecewise: bool,
}

/// One run to be started.
#[derive(Clone, Debug)]
pub struct Plan {
    pub payload: Value,
    pub priority: i32,
    pub key: Option<String>,
    pub start_in_ms: Option<i32>,
    pub disturbed: bool,
    /// Steps to fork the ended run from, and the fork's payload.
    pub fork: Option<(Vec<usize>, Option<Value>)>,
}

fn dice(seed: u64, task: usize, attempt: u32) -> StdRng {
    let salt = (task as u64) << 20 | u64::from(attempt);
    StdRng::seed_from_u64(seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn value(rng: &mut StdRng) -> Value {
    let k = rng.random_range(0..3);
    match rng.random_range(0..9) {
        0 => json!(k),
        1 => json!(-1_234_567_890_123_i64),
        2 => json!(["", "x", "na\u{ef}ve \u{2713}", "it's \"q\" \\ $1"].choose(rng)),
        3 => Value::Null,
        4 => json!(rng.random_bool(0.5)),
        5 => json!([k, [k + 1], "x"]),
        6 => json!([]),
        _ => json!({"k": k, "deep": {"x": [k, {"y": 1}]}}),
    }
}

impl Step {
    pub fn max_attempts(&self, flow: &Flow) -> u32 {
        if self.external { 1 } else { self.max_attempts.unwrap_or(flow.max_attempts) }
    }

    /// The message of every failing attempt of a task: the same for all, as a retried run counts attempts on.
    pub fn message(&self, task: usize) -> String {
        format!("{}[{task}] will not", self.slug)
    }

    pub fn outcome(&self, task: usize, attempt: u32, max_attempts: u32) -> Outcome {
        let h = &self.handler;
        let mut rng = dice(h.seed, task, 0);
        let roll = rng.random_range(0..100);
        let doomed = roll < h.doomed;
        if !doomed {
            let failures =
                if roll < h.doomed + h.flaky && max_attempts > 1 { rng.random_range(1..max_attempts) } else { 0 };
            if attempt > failures {
                return Outcome::Complete(self.output(task));
            }
        } else if rng.random_bool(0.5) && attempt >= rng.random_range(1..=max_attempts) {
            return Outcome::Fail { retryable: false };
        }
        if h.deadly && dice(h.seed, task, attempt).random_bool(0.6) {
            return Outcome::Die;
        }
        Outcome::Fail { retryable: true }
    }

    pub fn output(&self, task: usize) -> Option<Value> {
        let mut rng = dice(self.handler.seed.rotate_left(17), task, 0);
        match self.handler.returns {
            Returns::Anything if rng.random_bool(0.05) => None,
            Returns::Anything => Some(value(&mut rng)),
            Returns::Array => {
                let n = *[0, 1, 1, 2, 3, 5, 12].choose(&mut rng).unwrap_or(&2);
                Some((0..n).map(|_| value(&mut rng)).collect())
            }
            Returns::NotArray if rng.random_bool(0.3) => None,
            Returns::NotArray => Some(json!({"not": ["an", "array"]})),
        }
    }
}

impl Flow {
    pub fn feeds_map(&self, step: usize) -> bool {
        self.steps.iter().any(|s| s.map_over == Some(step))
    }

    pub fn is_leaf(&self, step: usize) -> bool {
        !self.steps.iter().any(|s| s.deps.contains(&step))
    }

    pub fn slugs(&self, steps: &[usize]) -> Vec<String> {
        steps.iter().map(|&s| self.steps[s].slug.clone()).collect()
    }

    pub fn find(&self, slug: &str) -> Option<usize> {
        self.steps.iter().position(|s| s.slug == slug)
    }

    /// The document for `define_flow`. Queues get the prefix of the round, so that rounds do not meet.
    pub fn definition(&self, queues: &str) -> Value {
        let steps: Vec<Value> = self.order.iter().map(|&i| self.step_definition(i, queues)).collect();
        let mut flow = json!({"flow_slug": self.slug, "max_attempts": self.max_attempts, "base_delay": 0,
                              "timeout": 120, "steps": steps});
        if let Some(step) = self.output_step {
            flow["output_step_slug"] = json!(self.steps[step].slug);
        }
        flow
    }

    fn step_definition(&self, index: usize, queues: &str) -> Value {
        let step = &self.steps[index];
        let mut doc = Map::new();
        let mut put = |field: &str, value: Value| doc.insert(field.to_owned(), value);
        put("step_slug", json!(step.slug));
        if !step.deps.is_empty() {
            put("deps_slugs", json!(self.slugs(&step.deps)));
        }
        if step.map {
            put("step_type", json!("map"));
        }
        if let Some(source) = step.map_over.filter(|_| step.deps.len() > 1) {
            put("map_over", json!(self.steps[source].slug));
        }
        if let Some(n) = step.max_attempts {
            put("max_attempts", json!(n));
        }
        if let Some(pattern) = &step.required {
            put("required_input_pattern", pattern.clone());
        }
        if let Some(pattern) = &step.forbidden {
            put("forbidden_input_pattern", pattern.clone());
        }
        if step.when_unmet != Policy::Skip {
            put("when_unmet", json!(step.when_unmet.name()));
        }
        if step.when_exhausted != Policy::Fail {
            put("when_exhausted", json!(step.when_exhausted.name()));
        }
        if step.external {
            put("executor", json!("external"));
        }
        if step.manual {
            put("start_mode", json!("manual"));
        }
        if let Some(queue) = step.queue {
            put("queue", json!(format!("{queues}{queue}")));
        }
        Value::Object(doc)
    }
}

/// The flow of a seed and the runs to make of it. `tag` keeps the names of two processes apart.
pub fn generate(seed: u64, tag: &str) -> (Flow, Vec<Plan>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let rng = &mut rng;
    let may_fail = rng.random_bool(0.2);
    let array_payload = rng.random_bool(0.25);
    let own_queue = rng.random_bool(0.1);
    let twins = rng.random_bool(0.2);
    let deadly = rng.random_bool(0.15);
    let size = match rng.random_range(0..60) {
        0 => 0,
        1..30 => rng.random_range(1..=6),
        _ => rng.random_range(4..=14),
    };
    let mut flow = Flow {
        slug: format!("m_{tag}_{seed}"),
        max_attempts: rng.random_range(1..=3),
        output_step: None,
        steps: Vec::new(),
        order: (0..size).collect(),
        piecewise: rng.random_bool(0.15),
    };
    for i in 0..size {
        let deps = deps(rng, i);
        let map = if deps.is_empty() { array_payload && rng.random_bool(0.6) } else { rng.random_bool(0.35) };
        let map_over = deps.choose(rng).copied().filter(|_| map);
        if let Some(source) = map_over.map(|s| &mut flow.steps[s]).filter(|s| !s.map) {
            let wrong = may_fail && rng.random_bool(0.15);
            source.handler.returns = if wrong { Returns::NotArray } else { Returns::Array };
        }
        let policies = [Policy::Skip, Policy::Cascade, Policy::Fail];
        let harmless = &policies[..if may_fail { 3 } else { 2 }];
        let doomed = rng.random_bool(0.07);
        let when_exhausted = *if doomed { harmless } else { &policies[..] }.choose(rng).unwrap_or(&Policy::Skip);
        flow.steps.push(Step {
            // Pairs of slugs that differ only in case are different steps.
            slug: if twins { format!("{}tep{}", ["s", "S"][i % 2], i / 2) } else { format!("s{i}") },
            map,
            map_over,
            external: !map && rng.random_bool(0.08),
            manual: rng.random_bool(0.08),
            queue: (!own_queue).then(|| rng.random_range(0..3)),
            max_attempts: rng.random_bool(0.4).then(|| rng.random_range(1..=3)),
            required: None,
            forbidden: None,
            when_unmet: *harmless.choose(rng).unwrap_or(&Policy::Skip),
            when_exhausted,
            handler: Handler {
                seed: rng.random(),
                doomed: if !doomed {
                    0
                } else if map {
                    30
                } else {
                    100
                },
                flaky: *[0, 20, 60].choose(rng).unwrap_or(&0),
                deadly: false,
                returns: Returns::Anything,
            },
            deps,
        });
    }
    let array_payload = array_payload && size > 0;
    for i in 0..size {
        if rng.random_bool(0.12) {
            flow.steps[i].required = Some(pattern(rng, &flow, i));
        }
        if rng.random_bool(0.07) {
            flow.steps[i].forbidden = Some(pattern(rng, &flow, i));
        }
    }
    // At most one step of a flow lets leases run out: each takes a second.
    if let Some(step) = flow.steps.choose_mut(rng).filter(|_| deadly).filter(|s| !s.external) {
        step.handler.deadly = true;
        step.handler.flaky = 80;
        step.max_attempts = Some(3);
    }
    flow.output_step = (size > 0 && rng.random_bool(0.25)).then(|| rng.random_range(0..size));
    if !flow.piecewise {
        flow.order.shuffle(rng);
    }
    let runs = *[1, 1, 1, 2, 3].choose(rng).unwrap_or(&1);
    let plans = (0..runs).map(|n| plan(rng, size, array_payload, n)).collect();
    (flow, plans)
}

fn deps(rng: &mut StdRng, step: usize) -> Vec<usize> {
    if step == 0 || rng.random_bool(0.15) {
        return Vec::new();
    }
    let wanted = *[1, 1, 1, 2, 2, 3, 14].choose(rng).unwrap_or(&1);
    let mut deps: Vec<usize> = (0..step).collect();
    deps.shuffle(rng);
    deps.truncate(wanted);
    deps
}

/// A pattern that is met about half the time.
fn pattern(rng: &mut StdRng, flow: &Flow, step: usize) -> Value {
    let Some(&dep) = flow.steps[step].deps.choose(rng) else {
        let k = rng.random_range(0..3);
        return match rng.random_range(0..4) {
            0 => json!({"k": k}),
            1 => json!({"deep": {"x": k}}),
            2 => json!({"tags": [(["a", "b", "c"][k])]}),
            _ => json!({}),
        };
    };
    let source = &flow.steps[dep];
    let output = source.output(0).unwrap_or(Value::Null);
    let part = match rng.random_range(0..4) {
        0 => value(rng),
        _ if source.map && rng.random_bool(0.5) => json!([]),
        _ if source.map => json!([output]),
        1 if output.is_object() => json!({"k": output["k"]}),
        1 if output.is_object() => json!({"deep": {"x": [{}]}}),
        _ => output,
    };
    json!({ source.slug.as_str(): part })
}

fn payload(rng: &mut StdRng, array: bool) -> Value {
    if array {
        let n = *[0, 1, 2, 3, 6, 30].choose(rng).unwrap_or(&2);
        return (0..n).map(|_| value(rng)).collect();
    }
    let tags = ["a", "b", "c"].choose_multiple(rng, 2).collect::<Vec<_>>();
    json!({"k": rng.random_range(0..3), "tags": tags, "deep": {"x": rng.random_range(0..3), "y": value(rng)}})
}

fn plan(rng: &mut StdRng, steps: usize, array: bool, number: i32) -> Plan {
    let fork = (steps > 0 && rng.random_bool(0.2)).then(|| {
        let named = (0..rng.random_range(1..=2)).map(|_| rng.random_range(0..steps)).collect();
        (named, rng.random_bool(0.4).then(|| payload(rng, array)))
    });
    Plan {
        payload: payload(rng, array),
        priority: if rng.random_bool(0.3) { rng.random_range(-5..=5) } else { 0 },
        key: rng.random_bool(0.1).then(|| format!("key {number}")),
        start_in_ms: rng.random_bool(0.05).then(|| rng.random_range(50..400)),
        disturbed: steps > 0 && rng.random_bool(0.15),
        fork,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_says_everything() {
        for seed in 0..200 {
            assert_eq!(format!("{:?}", generate(seed, "t")), format!("{:?}", generate(seed, "t")));
        }
    }

    #[test]
    fn every_kind_of_step_turns_up() {
        let flows: Vec<Flow> = (0..500).map(|seed| generate(seed, "t").0).collect();
        let steps = || flows.iter().flat_map(|f| &f.steps);
        assert!(steps().any(|s| s.map && s.deps.is_empty()));
        assert!(steps().any(|s| s.map_over.is_some() && s.deps.len() > 2));
        assert!(steps().any(|s| s.external && s.manual));
        assert!(steps().any(|s| s.handler.deadly));
        assert!(steps().any(|s| s.handler.returns == Returns::NotArray));
        assert!(steps().any(|s| s.required.is_some() && s.forbidden.is_some()));
        assert!(flows.iter().any(|f| f.steps.is_empty()) && flows.iter().any(|f| f.steps.len() == 14));
    }

    #[test]
    fn slugs_are_unique_and_deps_are_earlier_and_distinct() {
        for seed in 0..500 {
            let (flow, _) = generate(seed, "t");
            for (i, step) in flow.steps.iter().enumerate() {
                assert_eq!(flow.find(&step.slug), Some(i));
                let mut deps = step.deps.clone();
                deps.sort_unstable();
                deps.dedup();
                assert!(deps.len() == step.deps.len() && deps.iter().all(|&d| d < i));
                assert!(step.map_over.is_none_or(|m| step.deps.contains(&m)));
                assert!(step.map || step.map_over.is_none());
            }
        }
    }

    #[test]
    fn later_attempts_are_no_worse() {
        for seed in 0..300 {
            let (flow, _) = generate(seed, "t");
            for step in &flow.steps {
                let max = step.max_attempts(&flow);
                let done = |a| matches!(step.outcome(0, a, max), Outcome::Complete(_));
                assert!((1..8).all(|a| !done(a) || done(a + 1)));
                assert_eq!(done(max), done(9), "success comes within the first budget or never");
            }
        }
    }
}
