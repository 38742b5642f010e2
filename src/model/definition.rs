//! A version of a flow as the engine walks it: steps by position, edges in both directions, every option resolved.
//!
//! Read once per backend from tables `flow_versions`, `steps` and `deps`, and immutable: a change of the tables has
//! another `definition_id`.

use std::collections::HashMap;

/// The position of a step within [`Definition::steps`].
pub type StepNo = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepType {
    Single,
    Map,
}

/// Who does the tasks of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Executor {
    Worker,
    Sql,
    Http,
    Flow,
    External,
    Timer,
}

impl Executor {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Sql => "sql",
            Self::Http => "http",
            Self::Flow => "flow",
            Self::External => "external",
            Self::Timer => "timer",
        }
    }

    /// Whether its tasks are handed out; the others are under way from the moment their step starts.
    pub const fn is_claimed(self) -> bool {
        !matches!(self, Self::External | Self::Timer)
    }
}

/// What becomes of a step whose condition is unmet, or whose last attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resort {
    Fail,
    Skip,
    SkipCascade,
}

#[derive(Debug, Clone)]
pub struct Step {
    pub slug: String,
    pub index: i32,
    pub step_type: StepType,
    /// The dep that a map takes its elements from; `None` at a root, where it is the payload.
    pub map_over: Option<StepNo>,
    pub executor: Executor,
    /// What the executor calls: a function, a URL, a flow slug, an event name, or where a timer finds its time.
    pub target: Option<String>,
    pub queue: String,
    pub manual: bool,
    pub max_attempts: i32,
    pub base_delay: i32,
    /// Seconds of a lease, the step's own or the version's.
    pub timeout: i32,
    /// Whether the step names a timeout of its own; only then an external step or a child run
    /// times out.
    pub own_timeout: bool,
    pub start_delay: i32,
    pub has_condition: bool,
    pub when_unmet: Resort,
    pub when_exhausted: Resort,
    pub deps: Vec<StepNo>,
    pub dependents: Vec<StepNo>,
    /// Whether a map step takes its elements from this one.
    pub feeds_map: bool,
}

impl Step {
    pub fn is_leaf(&self) -> bool {
        self.dependents.is_empty()
    }

    /// The event that the step waits for.
    pub fn event(&self) -> Option<&str> {
        match self.executor {
            Executor::External => self.target.as_deref(),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub struct Definition {
    pub id: i64,
    pub flow_slug: String,
    pub version: i32,
    pub max_delay: i32,
    /// Seconds after which a run fails; `None`: never.
    pub run_timeout: Option<i32>,
    /// The step whose output is the run's; `None`: all leaves together.
    pub output_step: Option<StepNo>,
    /// The output step that the version names and does not have.
    pub missing_output_step: Option<String>,
    /// The largest number of values that are ever put together: an input of a step, or the output of a run.
    pub widest: usize,
    /// In the order of `index`.
    pub steps: Vec<Step>,
    by_slug: HashMap<String, StepNo>,
}

impl Definition {
    /// `deps` and `map_over` of the steps must be filled in; `dependents` and `feeds_map` are derived here.
    pub fn new(
        id: i64,
        flow_slug: String,
        version: i32,
        max_delay: i32,
        run_timeout: Option<i32>,
        output_step_slug: Option<&str>,
        mut steps: Vec<Step>,
    ) -> Self {
        for no in 0..steps.len() {
            for dep in steps[no].deps.clone() {
                steps[dep].dependents.push(no);
            }
            if let Some(source) = steps[no].map_over {
                steps[source].feeds_map = true;
            }
        }
        let by_slug: HashMap<_, _> = steps
            .iter()
            .enumerate()
            .map(|(no, step)| (step.slug.clone(), no))
            .collect();
        let inputs = steps.iter().map(|step| step.deps.len() + 1).max();
        let leaves = steps.iter().filter(|step| step.is_leaf()).count();
        let output_step = output_step_slug.and_then(|slug| by_slug.get(slug).copied());
        Self {
            id,
            flow_slug,
            version,
            max_delay,
            run_timeout,
            output_step,
            widest: inputs.unwrap_or(1).max(leaves),
            missing_output_step: (output_step_slug.filter(|_| output_step.is_none()))
                .map(str::to_owned),
            steps,
            by_slug,
        }
    }

    pub fn step_no(&self, slug: &str) -> Option<StepNo> {
        self.by_slug.get(slug).copied()
    }

    pub fn leaves(&self) -> impl Iterator<Item = StepNo> + '_ {
        (0..self.steps.len()).filter(|&no| self.steps[no].is_leaf())
    }

    /// Everything that is reached from `from` along the edges, each step once and behind its deps, `from` not included.
    pub fn downstream(&self, from: impl IntoIterator<Item = StepNo>) -> Vec<StepNo> {
        let mut seen = vec![false; self.steps.len()];
        let mut queue: Vec<StepNo> = from.into_iter().collect();
        for &no in &queue {
            seen[no] = true;
        }
        let mut found = Vec::new();
        while let Some(no) = queue.pop() {
            for &next in &self.steps[no].dependents {
                if !std::mem::replace(&mut seen[next], true) {
                    found.push(next);
                    queue.push(next);
                }
            }
        }
        self.in_order(found)
    }

    /// The same steps, each behind those of its deps that are among them.
    pub fn in_order(&self, mut steps: Vec<StepNo>) -> Vec<StepNo> {
        steps.sort_unstable();
        let mut waits_for: HashMap<StepNo, usize> = steps.iter().map(|&no| (no, 0)).collect();
        for &no in &steps {
            let deps = self.steps[no].deps.iter();
            let count = deps.filter(|&dep| waits_for.contains_key(dep)).count();
            waits_for.insert(no, count);
        }
        let mut order = steps;
        order.retain(|no| waits_for[no] == 0);
        let mut next = 0;
        while next < order.len() {
            for dependent in &self.steps[order[next]].dependents {
                if let Some(count) = waits_for.get_mut(dependent) {
                    *count -= 1;
                    if *count == 0 {
                        order.push(*dependent);
                    }
                }
            }
            next += 1;
        }
        order
    }
}
