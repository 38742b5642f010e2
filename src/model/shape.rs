//! The shape of a version: its options and its steps, and what they may be.
//!
//! Two definitions are the same when their shapes are: names filled in, deps in order. The place of a step is not part
//! of it.

use std::collections::{HashMap, HashSet};

use super::domain::{self, EXECUTOR, START_MODE, STEP_TYPE, WHEN};
use super::function_name::FunctionName;
use super::graph;
use super::problem::{Fault, Problem};
use super::slug;
use super::timer;
use crate::error::quoted;

/// The most steps and deps a version may have.
pub const MOST_STEPS: usize = 20_000;
pub const MOST_DEPS: usize = 1_000_000;

/// Stands for a name that could not be read and has been reported; no text of PostgreSQL has a zero byte.
pub const UNREADABLE: &str = "\0";

/// The options of a version; durations in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub max_attempts: i32,
    pub base_delay: i32,
    pub timeout: i32,
    pub max_delay: i32,
    /// Seconds after which a run fails, if ever.
    pub run_timeout: Option<i32>,
    pub output_step_slug: Option<String>,
    /// What steps of a document take that name no executor or target of their own.
    pub executor: String,
    pub target: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            base_delay: 5,
            timeout: 60,
            max_delay: 3600,
            run_timeout: None,
            output_step_slug: None,
            executor: "worker".into(),
            target: None,
        }
    }
}

/// A step with its deps; durations in seconds, `None` for the version's option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepShape {
    pub step_slug: String,
    pub deps_slugs: Vec<String>,
    pub step_type: String,
    pub map_over: Option<String>,
    pub executor: String,
    pub target: Option<String>,
    pub queue: String,
    pub start_mode: String,
    pub max_attempts: Option<i32>,
    pub base_delay: Option<i32>,
    pub timeout: Option<i32>,
    pub start_delay: Option<i32>,
    /// JSON as PostgreSQL writes it: never read into numbers, so none is rounded.
    pub required_input_pattern: Option<String>,
    pub forbidden_input_pattern: Option<String>,
    pub when_unmet: String,
    pub when_exhausted: String,
}

/// Where a problem is found: a field, and which element of it.
type Report<'a> = dyn FnMut(&'static str, Option<usize>, Fault) + 'a;

fn note(report: &mut Report<'_>, field: &'static str, checked: Result<(), Fault>) {
    if let Err(fault) = checked {
        report(field, None, fault);
    }
}

impl Options {
    /// Reports each field that is out of its domain.
    pub fn check(&self, report: &mut Report<'_>) {
        note(
            report,
            "max_attempts",
            domain::attempts(Some(self.max_attempts)),
        );
        note(
            report,
            "base_delay",
            domain::seconds(0, Some(self.base_delay)),
        );
        note(report, "timeout", domain::seconds(1, Some(self.timeout)));
        note(
            report,
            "max_delay",
            domain::seconds(0, Some(self.max_delay)),
        );
        note(report, "run_timeout", domain::seconds(1, self.run_timeout));
        if let Some(slug) = &self.output_step_slug {
            note(report, "output_step_slug", slug::check(slug));
        }
        note(report, "executor", EXECUTOR.check(&self.executor));
    }
}

impl StepShape {
    /// A step with the defaults of `add_step`.
    pub fn new(flow_slug: &str, step_slug: &str) -> Self {
        Self {
            step_slug: step_slug.to_owned(),
            deps_slugs: Vec::new(),
            step_type: "single".into(),
            map_over: None,
            executor: "worker".into(),
            target: None,
            queue: flow_slug.to_owned(),
            start_mode: "auto".into(),
            max_attempts: None,
            base_delay: None,
            timeout: None,
            start_delay: None,
            required_input_pattern: None,
            forbidden_input_pattern: None,
            when_unmet: "skip".into(),
            when_exhausted: "fail".into(),
        }
    }

    /// Reports each field that is wrong by itself. Whether the deps exist is for others to say.
    pub fn check(&self, report: &mut Report<'_>) {
        if self.step_slug != UNREADABLE {
            note(report, "step_slug", slug::check(&self.step_slug));
        }
        self.check_deps(report);
        note(report, "step_type", STEP_TYPE.check(&self.step_type));
        note(report, "map_over", self.check_map_over());
        let executor = EXECUTOR.check(&self.executor);
        if executor.is_ok() {
            note(report, "target", self.check_target());
        }
        note(report, "executor", executor);
        note(report, "queue", domain::queue(&self.queue));
        note(report, "start_mode", START_MODE.check(&self.start_mode));
        note(report, "max_attempts", domain::attempts(self.max_attempts));
        note(report, "base_delay", domain::seconds(0, self.base_delay));
        note(report, "timeout", domain::seconds(1, self.timeout));
        note(report, "start_delay", domain::seconds(0, self.start_delay));
        note(
            report,
            "required_input_pattern",
            domain::pattern(self.required_input_pattern.as_deref()),
        );
        note(
            report,
            "forbidden_input_pattern",
            domain::pattern(self.forbidden_input_pattern.as_deref()),
        );
        note(report, "when_unmet", WHEN.check(&self.when_unmet));
        note(report, "when_exhausted", WHEN.check(&self.when_exhausted));
    }

    fn check_deps(&self, report: &mut Report<'_>) {
        let mut seen = HashSet::new();
        for (n, dep) in self.deps_slugs.iter().enumerate() {
            if dep == UNREADABLE {
                continue;
            }
            let fault = if *dep == self.step_slug {
                cycle(&format!("{0} -> {0}", slug::shown(dep)))
            } else if seen.insert(dep) {
                continue;
            } else {
                Fault::new(
                    format!("duplicate dep {}", quoted(dep)),
                    "Name each dep once.",
                )
            };
            report("deps_slugs", Some(n), fault);
        }
    }

    fn check_map_over(&self) -> Result<(), Fault> {
        match &self.map_over {
            Some(dep) if self.step_type == "single" => Err(Fault::new(
                format!("{} on a step that is no map", quoted(dep)),
                "Give the step the type \"map\", or leave \"map_over\" out.",
            )),
            Some(dep) if !self.deps_slugs.contains(dep) => Err(Fault::new(
                format!("{} is not a dep of the step", quoted(dep)),
                MAP_OVER,
            )),
            None if self.step_type == "map" && self.deps_slugs.len() > 1 => Err(Fault::new(
                format!("missing on a map step with {} deps", self.deps_slugs.len()),
                MAP_OVER,
            )),
            _ => Ok(()),
        }
    }

    fn check_target(&self) -> Result<(), Fault> {
        let needed = match self.executor.as_str() {
            "sql" => "a function",
            "http" => "a URL",
            "flow" => "a flow slug",
            executor => {
                return match (executor, self.target.as_deref()) {
                    ("external", Some(name)) => domain::event(name),
                    ("timer", Some(target)) => timer::check_target(self, target),
                    _ => Ok(()),
                };
            }
        };
        match self.target.as_deref() {
            None | Some("") => Err(Fault::new(
                format!(
                    "missing: executor {} needs {needed}",
                    quoted(&self.executor)
                ),
                "The target of a step says what its executor calls.",
            )),
            Some(target) if self.executor == "flow" => slug::check(target),
            Some(target) if self.executor == "sql" => FunctionName::parse(target).map(drop),
            Some(_) => Ok(()),
        }
    }

    /// Makes equal steps equal: deps in order, and the only dep of a map is the one it maps over.
    pub fn normalise(&mut self) {
        self.deps_slugs.sort_unstable();
        if self.step_type == "map" && self.map_over.is_none() {
            self.map_over = self.deps_slugs.first().cloned();
        }
    }
}

const MAP_OVER: &str = "A map has a task for each element of one dep's output; with several deps \"map_over\" names it.";

/// The fault of steps that wait for each other.
pub fn cycle(spelled: &str) -> Fault {
    Fault::new(
        format!("cycle {spelled}"),
        "No step may wait for itself, neither directly nor by way of others.",
    )
}

/// Reports each slug that two steps have, each dep that no step has, and each cycle; `place` names the place of a field
/// of the step at a position.
pub fn check_edges(
    steps: &[StepShape],
    place: impl Fn(usize, &'static str, Option<usize>) -> String,
    problems: &mut Vec<Problem>,
) {
    let mut by_slug = HashMap::with_capacity(steps.len());
    for (n, step) in steps.iter().enumerate() {
        if step.step_slug == UNREADABLE {
            continue;
        }
        if by_slug.contains_key(step.step_slug.as_str()) {
            problems.push(Problem::new(
                place(n, "step_slug", None),
                Fault::new(
                    format!("duplicate step {}", quoted(&step.step_slug)),
                    "Give each step a slug of its own.",
                ),
            ));
        } else {
            by_slug.insert(step.step_slug.as_str(), n);
        }
    }
    let mut deps = vec![Vec::new(); steps.len()];
    for (n, step) in steps.iter().enumerate() {
        for (d, slug) in step.deps_slugs.iter().enumerate() {
            match by_slug.get(slug.as_str()) {
                // Reported with the step itself.
                _ if slug == UNREADABLE || *slug == step.step_slug => {}
                Some(&dep) => deps[n].push(dep),
                None => problems.push(Problem::new(
                    place(n, "deps_slugs", Some(d)),
                    Fault::new(
                        format!("unknown dep {}", quoted(slug)),
                        "The deps of a step are other steps of the same flow.",
                    ),
                )),
            }
        }
    }
    for cycle in graph::cycles(&deps) {
        let (Some(&first), Some(&last)) = (cycle.first(), cycle.last()) else {
            continue;
        };
        let slug = &steps[last].step_slug;
        let closing = steps[first].deps_slugs.iter().position(|dep| dep == slug);
        let spelled = graph::spell(&cycle, |n| slug::shown(&steps[n].step_slug));
        problems.push(Problem::new(
            place(first, "deps_slugs", closing),
            self::cycle(&spelled),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(step: &StepShape) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        step.check(&mut |field, _, fault| faults.push((field, fault.message)));
        faults
    }

    fn with(change: impl FnOnce(&mut StepShape)) -> Vec<(&'static str, String)> {
        let mut step = StepShape::new("f", "s");
        change(&mut step);
        faults(&step)
    }

    fn slugs(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn defaults_are_right() {
        assert_eq!(with(|_| ()), []);
        Options::default().check(&mut |field, _, fault| panic!("{field} {}", fault.message));
    }

    #[test]
    fn each_domain_is_checked() {
        type Change = fn(&mut StepShape);
        let wrong: [(&str, Change); 13] = [
            ("step_type", |s| s.step_type = "list".into()),
            ("executor", |s| s.executor = "magic".into()),
            ("start_mode", |s| s.start_mode = "late".into()),
            ("when_unmet", |s| s.when_unmet = "explode".into()),
            ("when_exhausted", |s| s.when_exhausted = "Skip".into()),
            ("max_attempts", |s| s.max_attempts = Some(0)),
            ("base_delay", |s| s.base_delay = Some(-1)),
            ("timeout", |s| s.timeout = Some(i32::MAX)),
            ("start_delay", |s| s.start_delay = Some(-1)),
            ("required_input_pattern", |s| {
                s.required_input_pattern = Some("[1]".into())
            }),
            ("forbidden_input_pattern", |s| {
                s.forbidden_input_pattern = Some("null".into())
            }),
            ("queue", |s| s.queue = String::new()),
            ("step_slug", |s| s.step_slug = "item".into()),
        ];
        for (field, change) in wrong {
            let faults = with(change);
            assert_eq!(faults.len(), 1, "{field}: {faults:?}");
            assert_eq!(faults[0].0, field);
        }
    }

    #[test]
    fn a_map_knows_what_it_maps_over() {
        let map = |deps: &str, over: Option<&str>| {
            with(|s| {
                s.step_type = "map".into();
                s.deps_slugs = if deps.is_empty() { vec![] } else { slugs(deps) };
                s.map_over = over.map(str::to_owned);
            })
        };
        assert_eq!(map("", None), []);
        assert_eq!(map("a", None), []);
        assert_eq!(map("a,b", Some("b")), []);
        for (deps, over) in [("a,b", None), ("a,b", Some("c")), ("", Some("a"))] {
            assert_eq!(map(deps, over)[0].0, "map_over", "{deps} {over:?}");
        }
        let single = with(|s| (s.deps_slugs, s.map_over) = (slugs("a"), Some("a".into())));
        assert_eq!(single[0].0, "map_over");
    }

    #[test]
    fn some_executors_need_a_target() {
        for (executor, target) in [("sql", "a.b"), ("http", "https://a"), ("flow", "f")] {
            assert_eq!(with(|s| s.executor = executor.into())[0].0, "target");
            let full = |s: &mut StepShape| {
                (s.executor, s.target) = (executor.into(), Some(target.into()));
            };
            assert_eq!(with(full), []);
        }
        for executor in ["worker", "external", "timer"] {
            assert_eq!(with(|s| s.executor = executor.into()), []);
        }
    }

    #[test]
    fn deps_are_named_once_and_never_the_step_itself() {
        let faults = with(|s| s.deps_slugs = slugs("a,b,a,s"));
        assert_eq!(
            faults,
            [
                ("deps_slugs", "duplicate dep \"a\"".to_owned()),
                ("deps_slugs", "cycle s -> s".to_owned())
            ]
        );
    }

    #[test]
    fn equal_steps_become_equal() {
        let mut one = StepShape::new("f", "s");
        one.step_type = "map".into();
        one.deps_slugs = slugs("a");
        let mut other = one.clone();
        other.map_over = Some("a".into());
        one.normalise();
        other.normalise();
        assert_eq!(one, other);
    }
}
