//! What the database says about an ended run, against what the interpreter says.
//!
//! A run that completes is compared wholly. Of one that fails only what no order of work can change is compared: that
//! it failed, at a step that may fail, with that step's message; that nothing is left going; and that each step and
//! task is as expected or cancelled on its way there.

use std::collections::BTreeMap;
use std::fmt::Write;

use postgres::Client;
use serde_json::Value;

use crate::case::{Run, lock};
use crate::generate::Returns;
use crate::interpret::{End, StepEnd};

#[derive(Clone, Debug, Default)]
pub struct GotStep {
    pub status: String,
    pub skip_reason: Option<String>,
    pub output: Option<Value>,
    pub error: Option<String>,
    pub initial_tasks: Option<i32>,
    pub remaining_tasks: Option<i32>,
    /// The attempts of each task, by number.
    pub tasks: BTreeMap<i32, Vec<GotAttempt>>,
}

#[derive(Clone, Debug)]
pub struct GotAttempt {
    pub number: i32,
    pub status: String,
    pub output: Option<Value>,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Got {
    pub status: String,
    pub output: Option<Value>,
    pub error: Option<String>,
    pub parent: Option<uuid::Uuid>,
    /// Status and number of steps as `get_run` tells them.
    pub page: (Option<String>, Option<i32>),
    pub steps: BTreeMap<String, GotStep>,
}

pub fn load(client: &mut Client, run: &Run) -> Result<Got, postgres::Error> {
    let row = client.query_one(
        "select status, output, error_message, parent_run_id, page -> 'run' ->> 'status',
                jsonb_array_length(page -> 'steps')
         from pgflow.runs, pgflow.get_run(run_id) page where run_id = $1",
        &[&run.id],
    )?;
    let mut got = Got {
        status: row.try_get(0)?,
        output: row.try_get(1)?,
        error: row.try_get(2)?,
        parent: row.try_get(3)?,
        page: (row.try_get(4)?, row.try_get(5)?),
        steps: BTreeMap::new(),
    };
    let sql = "select step_slug, status, skip_reason, output, error_message, initial_tasks,
                      remaining_tasks
               from pgflow.step_states where run_id = $1";
    for row in client.query(sql, &[&run.id])? {
        let step = GotStep {
            status: row.try_get(1)?,
            skip_reason: row.try_get(2)?,
            output: row.try_get(3)?,
            error: row.try_get(4)?,
            initial_tasks: row.try_get(5)?,
            remaining_tasks: row.try_get(6)?,
            tasks: BTreeMap::new(),
        };
        got.steps.insert(row.try_get(0)?, step);
    }
    let sql = "select step_slug, task_index, attempt, status, output, error_message
               from pgflow.step_tasks where run_id = $1 order by step_slug, task_index, attempt";
    for row in client.query(sql, &[&run.id])? {
        let attempt = GotAttempt {
            number: row.try_get(2)?,
            status: row.try_get(3)?,
            output: row.try_get(4)?,
            error: row.try_get(5)?,
        };
        let step = got.steps.entry(row.try_get(0)?).or_default();
        step.tasks.entry(row.try_get(1)?).or_default().push(attempt);
    }
    Ok(got)
}

/// A value as text, cut where it gets long.
pub fn clip(value: Option<&Value>, width: usize) -> String {
    let text = value.map_or("NULL".to_owned(), Value::to_string);
    match text.char_indices().nth(width) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text,
    }
}

fn show(value: Option<&Value>) -> String {
    clip(value, 300)
}

fn place(slug: &str) -> String {
    format!("step {slug}")
}

fn about(difference: &str, slug: &str) -> bool {
    difference.strip_prefix(&place(slug)).is_some_and(|rest| rest.starts_with([':', '[']))
}

/// Collects differences under one heading.
struct Diff {
    place: String,
    found: Vec<String>,
}

impl Diff {
    fn check(&mut self, right: bool, what: &str, expected: &str, got: &str) {
        if !right {
            self.found.push(format!("{}: {what}: expected {expected}, got {got}", self.place));
        }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, expected: T, got: T) {
        let right = expected == got;
        self.check(right, what, &format!("{expected:?}"), &format!("{got:?}"));
    }
}

/// Every difference between what was expected and what is there.
pub fn diff(run: &Run, got: &Got) -> Vec<String> {
    let expected = &run.expected;
    let flow = &run.dag.flow;
    let mut diff = Diff { place: "run".to_owned(), found: Vec::new() };
    diff.same("status", if expected.fails { "failed" } else { "completed" }, got.status.as_str());
    if ["pending", "started"].contains(&got.status.as_str()) {
        // What follows from a run that hangs would only hide where it hangs.
        for (step, end) in flow.steps.iter().zip(&expected.steps) {
            diff.place = place(&step.slug);
            diff.same("status", Some(status(end).0), got.steps.get(&step.slug).map(|g| g.status.as_str()));
        }
        return diff.found;
    }
    diff.same("parent_run_id", run.origin, got.parent);
    diff.same("get_run status", Some(got.status.clone()), got.page.0.clone());
    diff.same("get_run steps", i32::try_from(flow.steps.len()).ok(), got.page.1);
    let right = expected.output == got.output;
    diff.check(right, "output", &show(expected.output.as_ref()), &show(got.output.as_ref()));
    if expected.fails {
        let failed = got.steps.values().filter(|s| s.status == "failed");
        let errors: Vec<_> = failed.map(|s| s.error.as_deref()).collect();
        let right = !errors.is_empty() && errors.contains(&got.error.as_deref());
        let wanted = format!("that of a failed step ({errors:?})");
        diff.check(right, "error_message", &wanted, &format!("{:?}", got.error));
    }
    for (i, step) in flow.steps.iter().enumerate() {
        diff.place = place(&step.slug);
        match got.steps.get(&step.slug) {
            None => diff.check(false, "row in step_states", "one", "none"),
            Some(got) => {
                step_diff(&mut diff, run, i, got);
                if !run.kept.contains(&i) {
                    tasks_diff(&mut diff, run, i, got);
                }
            }
        }
    }
    for slug in got.steps.keys().filter(|slug| flow.find(slug).is_none()) {
        diff.place = place(slug);
        diff.check(false, "rows", "none", "some");
    }
    diff.found
}

/// The step's status and skip reason, were it not for failures elsewhere.
fn status(end: &StepEnd) -> (&'static str, Option<&'static str>) {
    match end.end {
        End::Completed(_) => ("completed", None),
        End::Skipped { reason, .. } => ("skipped", Some(reason)),
        End::Failed => ("failed", None),
        End::Blocked => ("cancelled", None),
    }
}

fn step_diff(diff: &mut Diff, run: &Run, index: usize, got: &GotStep) {
    let expected = &run.expected.steps[index];
    let (status, reason) = status(expected);
    diff.same("remaining_tasks of an ended step", 0, got.remaining_tasks.unwrap_or(0));
    if got.status == "cancelled" && run.expected.fails {
        return diff.same("output of a cancelled step", None, got.output.as_ref());
    }
    diff.same("status", status, got.status.as_str());
    diff.same("skip_reason", reason, got.skip_reason.as_deref());
    let output = expected.output();
    let right = output == got.output.as_ref();
    diff.check(right, "output", &show(output), &show(got.output.as_ref()));
    let tasks = i32::try_from(expected.tasks.len()).ok();
    if output.is_some() && !run.kept.contains(&index) {
        diff.same("initial_tasks", tasks, got.initial_tasks);
    }
    if got.status == status && !expected.errors.is_empty() && !run.kept.contains(&index) {
        // Retried, a task may use up its attempts by another one than the first time.
        let own = expected.errors.contains(&None) || run.disturbed && run.dag.flow.steps[index].handler.deadly;
        let right = own || expected.errors.contains(&got.error);
        let wanted = format!("one of {:?}", expected.errors);
        diff.check(right, "error_message", &wanted, &format!("{:?}", got.error));
    }
}

fn tasks_diff(diff: &mut Diff, run: &Run, index: usize, got: &GotStep) {
    let expected = &run.expected.steps[index];
    let step = &run.dag.flow.steps[index];
    // Tasks beside one that ended the step, or the run, may have been cancelled on their way.
    let cancelled = run.expected.fails && got.status == "cancelled";
    if cancelled && got.tasks.is_empty() {
        return;
    }
    let cut_short = cancelled || step.map && expected.output().is_none();
    let wanted: Vec<usize> = (0..expected.tasks.len()).collect();
    let have: Vec<usize> = got.tasks.keys().filter_map(|&t| usize::try_from(t).ok()).collect();
    diff.same("indexes of tasks", &wanted, &have);
    let place = diff.place.clone();
    for (attempts, (task, end)) in got.tasks.values().zip(expected.tasks.iter().enumerate()) {
        diff.place = format!("{place}[{task}]");
        let statuses: Vec<&str> = attempts.iter().map(|a| a.status.as_str()).collect();
        let numbers: Vec<i32> = attempts.iter().map(|a| a.number).collect();
        let count = i32::try_from(numbers.len()).unwrap_or(0);
        diff.same("attempt numbers", (1..=count).collect(), numbers);
        let right = if run.disturbed {
            retried(&statuses, &end.attempts, cut_short)
        } else {
            statuses == end.attempts || cut_short && is_cut_short(&statuses, &end.attempts)
        };
        let wanted = match (run.disturbed, cut_short) {
            (true, _) => format!("some cancelled, then as {:?}", end.attempts),
            (_, true) => format!("{:?}, or a part of it and then cancelled", end.attempts),
            _ => format!("{:?}", end.attempts),
        };
        diff.check(right, "statuses of attempts", &wanted, &format!("{statuses:?}"));
        if step.handler.returns == Returns::NotArray {
            continue; // failed by the engine, with a message of its own
        }
        for a in attempts {
            let what = format!("output of attempt {}", a.number);
            let wanted = (a.status == "completed").then_some(&end.output);
            diff.check(wanted == a.output.as_ref(), &what, &show(wanted), &show(a.output.as_ref()));
            if a.status == "failed" {
                let message = Some(step.message(task));
                diff.same(&format!("error_message of attempt {}", a.number), message, a.error.clone());
            }
        }
    }
    diff.place = place;
}

/// A part of the expected attempts, the last of them cancelled.
fn is_cut_short(got: &[&str], expected: &[&str]) -> bool {
    got.split_last().is_some_and(|(last, before)| {
        *last == "cancelled" && got.len() <= expected.len() && expected.starts_with(before)
    })
}

/// Cancelled attempts may stand anywhere, and each retry of the run began a new budget.
fn retried(got: &[&str], expected: &[&str], cut_short: bool) -> bool {
    let Some((last, before)) = got.split_last() else {
        return false;
    };
    let failure = ["failed", "expired"].contains(last);
    let doomed = expected.last() != Some(&"completed");
    (if failure { doomed } else { expected.last() == Some(last) } || cut_short && *last == "cancelled")
        && before.iter().all(|s| ["failed", "expired", "cancelled"].contains(s))
}

/// Everything needed to see what happened and to run it again.
pub fn report(run: &Run, got: &Got, differences: &[String], definition: &Value) -> String {
    let mut out = String::new();
    let flow = &run.dag.flow;
    let seed = run.dag.seed;
    let kind = match (run.origin, run.disturbed) {
        (Some(_), _) => ", a fork",
        (_, true) => ", cancelled and retried on the way",
        _ => "",
    };
    let _ = writeln!(out, "FAIL seed {seed}: flow {} run {}{kind}", flow.slug, run.id);
    for line in lock(&run.problems).iter() {
        let _ = writeln!(out, "  while working: {line}");
    }
    for line in differences {
        let _ = writeln!(out, "  at the end: {line}");
    }
    let _ = writeln!(out, "\n    {:<8} {:<24} {:<42} got", "step", "deps", "expected");
    for (step, end) in flow.steps.iter().zip(&run.expected.steps) {
        let none = GotStep::default();
        let g = got.steps.get(&step.slug).unwrap_or(&none);
        let (status, reason) = status(end);
        let count = end.tasks.iter().map(|t| t.attempts.len()).sum::<usize>();
        let expected = format!("{status} {} {count} attempts", reason.unwrap_or_default());
        let mark = if differences.iter().any(|d| about(d, &step.slug)) { '*' } else { ' ' };
        let deps = flow.slugs(&step.deps).join(" ");
        let count: usize = g.tasks.values().map(Vec::len).sum();
        let reason = g.skip_reason.as_deref().unwrap_or_default();
        let message = g.error.as_deref().unwrap_or_default();
        let got = format!("{} {reason} {count} attempts {message}", g.status);
        let _ = writeln!(out, "  {mark} {:<8} {deps:<24} {expected:<42} {got}", step.slug);
    }
    let _ = writeln!(out, "  run: got {} {:?} output {}", got.status, got.error, show(got.output.as_ref()));
    let _ = writeln!(out, "\n  payload: {}\n  definition: {definition}", run.payload);
    if let Some(origin) = run.origin {
        let kept: Vec<usize> = run.kept.iter().copied().collect();
        let _ = writeln!(out, "  forked from {origin}, keeping {:?}", flow.slugs(&kept));
    }
    let log = lock(&run.log);
    let shown = log.len().min(120);
    let _ = writeln!(out, "\n  calls and answers (last {shown} of {}):", log.len());
    for line in &log[log.len() - shown..] {
        let _ = writeln!(out, "    {line}");
    }
    let _ = writeln!(out, "  again: pgflow-model-test --seed {seed} --dags 1");
    out
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::case::Dag;
    use crate::generate::generate;
    use crate::interpret::{Kept, interpret};

    /// What a perfect engine leaves behind.
    fn ideal(run: &Run) -> Got {
        let e = &run.expected;
        let mut got = Got {
            status: if e.fails { "failed" } else { "completed" }.to_owned(),
            output: e.output.clone(),
            ..Got::default()
        };
        got.page = (Some(got.status.clone()), i32::try_from(e.steps.len()).ok());
        for (step, end) in run.dag.flow.steps.iter().zip(&e.steps) {
            let (status, reason) = status(end);
            let error = end.errors.first().cloned().flatten();
            if status == "failed" && got.error.is_none() {
                got.error.clone_from(&error);
            }
            let mut g = GotStep {
                status: status.to_owned(),
                skip_reason: reason.map(str::to_owned),
                output: end.output().cloned(),
                initial_tasks: i32::try_from(end.tasks.len()).ok(),
                error,
                ..GotStep::default()
            };
            for (t, task) in end.tasks.iter().enumerate() {
                let attempts = task.attempts.iter().zip(1..).map(|(status, number)| GotAttempt {
                    number,
                    status: (*status).to_owned(),
                    output: (*status == "completed").then(|| task.output.clone()),
                    error: (*status == "failed").then(|| step.message(t)),
                });
                g.tasks.insert(i32::try_from(t).unwrap(), attempts.collect());
            }
            got.steps.insert(step.slug.clone(), g);
        }
        got
    }

    fn run(seed: u64) -> Run {
        let (flow, plans) = generate(seed, "t");
        let payload = plans[0].payload.clone();
        let expected = interpret(&flow, &payload, &Kept::new());
        let dag = Arc::new(Dag { seed, flow, plans, problems: Mutex::default() });
        Run::new(&dag, uuid::Uuid::nil(), payload, expected, false)
    }

    #[test]
    fn a_perfect_engine_passes() {
        for seed in 0..1000 {
            let run = run(seed);
            assert_eq!(diff(&run, &ideal(&run)), Vec::<String>::new(), "seed {seed}");
        }
    }

    #[test]
    fn most_runs_are_compared_wholly() {
        let failing = (0..1000).filter(|&seed| run(seed).expected.fails).count();
        assert!((20..200).contains(&failing), "{failing} of 1000 runs fail");
    }

    #[test]
    fn each_kind_of_difference_is_seen() {
        let run = (0..).map(run).find(|r| !r.expected.fails && r.expected.steps.len() > 4).unwrap();
        let changes: [fn(&mut Got, &str); 6] = [
            |got, _| got.status = "started".to_owned(),
            |got, _| got.output = Some(Value::Bool(false)),
            |got, step| got.steps.get_mut(step).unwrap().status = "cancelled".to_owned(),
            |got, step| got.steps.get_mut(step).unwrap().output = Some(Value::from("other")),
            |got, step| got.steps.get_mut(step).unwrap().tasks.entry(40).or_default().clear(),
            |got, step| drop(got.steps.remove(step)),
        ];
        for change in changes {
            let mut got = ideal(&run);
            change(&mut got, &run.dag.flow.steps[0].slug);
            let differences = diff(&run, &got);
            assert!(!differences.is_empty());
            report(&run, &got, &differences, &Value::Null);
        }
    }

    #[test]
    fn attempts_cut_short_or_retried() {
        assert!(is_cut_short(&["failed", "cancelled"], &["failed", "completed"]));
        assert!(!is_cut_short(&["expired", "cancelled"], &["failed", "completed"]));
        assert!(!is_cut_short(&["failed"], &["failed", "completed"]));
        assert!(retried(&["failed", "cancelled", "completed"], &["failed", "completed"], false));
        assert!(!retried(&["cancelled", "failed"], &["completed"], false));
        assert!(!retried(&["completed", "cancelled", "completed"], &["completed"], false));
    }
}
