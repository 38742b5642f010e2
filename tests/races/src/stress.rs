//! Lock order: many sessions call every function at random, each in a transaction of its own, on the same few runs, at
//! mixed isolation levels. None may end in a deadlock or with an error that is not documented; no attempt is handed out
//! twice, no lease settled twice; and afterwards every run can be worked to its end. All that holds as well while the
//! clock of the server jumps.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postgres::Client;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::pairs::lock;
use crate::server::{Answer, Database, Fallible, ask};
use crate::stage::Level;
use crate::work;

pub const SESSIONS: usize = 32;
const FLOWS: usize = 5;
const RUNS: usize = 50;
const QUEUES: [&str; 2] = ["left", "right"];
/// So many claimed tasks are remembered, those of ended runs among them.
const REMEMBERED: usize = 400;

#[derive(Default)]
pub struct Report {
    pub calls: u64,
    pub longest: Duration,
    /// By function: calls, and how often each SQLSTATE was answered.
    pub answers: HashMap<&'static str, (u64, HashMap<String, u64>)>,
    pub handed_out: usize,
    pub failures: Vec<String>,
}

#[derive(Clone)]
struct Task {
    run: String,
    step: String,
    index: String,
    attempt: String,
    lease: String,
}

#[derive(Default)]
struct Shared {
    runs: Mutex<Vec<String>>,
    tasks: Mutex<Vec<Task>>,
    /// How often each attempt was handed out, less how often it was released.
    attempts: Mutex<HashMap<(String, String, String, String), i64>>,
    /// How many results were accepted under each lease.
    settled: Mutex<HashMap<String, u32>>,
    report: Mutex<Report>,
    over: AtomicBool,
}

pub fn test(seconds: u64, seed: u64, clock: Option<&Path>) -> Fallible<Report> {
    let database = Database::create("stress")?;
    let mut director = database.connect("races: director")?;
    let shared = Shared::default();
    for flow in 0..FLOWS {
        director.simple_query(&define(flow, false))?;
    }
    for slot in 0..RUNS {
        lock(&shared.runs).extend(ask(&mut director, &run_flow(slot)).rows);
    }
    let mut clients: Vec<Client> =
        (0..SESSIONS).map(|no| database.connect(&format!("races: session {no}"))).collect::<Fallible<_>>()?;
    if clock.is_some() {
        // PostgreSQL's own timeouts go by the clock too.
        clients.iter_mut().try_for_each(|client| client.batch_execute("set statement_timeout = 0"))?;
    }
    std::thread::scope(|scope| {
        for (no, client) in clients.into_iter().enumerate() {
            let rng = StdRng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(no as u64));
            let mut session = Session { client, rng, shared: &shared };
            scope.spawn(move || {
                while !session.shared.over.load(Ordering::Relaxed) {
                    session.act();
                }
            });
        }
        let begun = Instant::now();
        let mut offsets = ["-3600", "-1800", "-5400", "+0"].iter().cycle();
        while begun.elapsed() < Duration::from_secs(seconds) && !shared.over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(500));
            if let (Some(file), Some(offset)) = (clock, offsets.next()) {
                let moved = std::fs::write(file, format!("{offset}\n"));
                let failed = moved.err().map(|error| format!("{}: {error}", file.display()));
                lock(&shared.report).failures.extend(failed);
            }
        }
        shared.over.store(true, Ordering::Relaxed);
    });
    let mut report = shared.report.into_inner().unwrap_or_default();
    let attempts = lock(&shared.attempts);
    report.handed_out = attempts.len();
    let twice = attempts.iter().filter(|(_, times)| **times > 1);
    report.failures.extend(twice.map(|(attempt, times)| format!("{attempt:?} was handed out {times} times")));
    let twice = lock(&shared.settled);
    let twice = twice.iter().filter(|(_, times)| **times > 1);
    report.failures.extend(twice.map(|(lease, times)| format!("lease {lease} was settled {times} times")));
    report.failures.extend(work::to_the_end(&mut director, &QUEUES)?);
    Ok(report)
}

/// Every kind of step; `other` is a second shape of the same flow.
fn define(flow: usize, other: bool) -> String {
    let (left, right) = if flow.is_multiple_of(2) { (QUEUES[0], QUEUES[1]) } else { (QUEUES[1], QUEUES[0]) };
    let attempts = if other { 3 } else { 2 };
    format!(
        r#"select pgflow.define_flow('{{"flow_slug": "f{flow}", "max_attempts": {attempts}, "base_delay": 0, "timeout": 2,
        "steps": [{{"step_slug": "a", "queue": "{left}"}},
                  {{"step_slug": "b", "queue": "{right}", "when_exhausted": "skip"}},
                  {{"step_slug": "m", "queue": "{left}", "step_type": "map", "when_exhausted": "skip-cascade"}},
                  {{"step_slug": "j", "queue": "{right}", "deps_slugs": ["a", "b"]}},
                  {{"step_slug": "n", "queue": "{left}", "step_type": "map", "deps_slugs": ["j"]}},
                  {{"step_slug": "e", "executor": "external"}},
                  {{"step_slug": "s", "queue": "{right}", "start_mode": "manual"}},
                  {{"step_slug": "z", "queue": "{right}", "deps_slugs": ["m", "n", "e", "s"]}}]}}')"#
    )
}

/// The runs of one flow have large maps.
fn run_flow(slot: usize) -> String {
    let elements = if slot.is_multiple_of(FLOWS) { 120 } else { 4 };
    let payload = format!("(select jsonb_agg(i) from generate_series(1, {elements}) i)");
    format!("select pgflow.run_flow('f{}', {payload}, 'slot {slot}')", slot % FLOWS)
}

const CLAIMED: &str = "select run_id, step_slug, task_index, attempt, lease from";

struct Session<'a> {
    client: Client,
    rng: StdRng,
    shared: &'a Shared,
}

impl Session<'_> {
    fn act(&mut self) {
        let slot = self.rng.random_range(0..RUNS);
        let run = lock(&self.shared.runs).get(slot).cloned().unwrap_or_default();
        let queue = QUEUES[self.rng.random_range(0..QUEUES.len())];
        let most = self.rng.random_range(1..20);
        let flow = slot % FLOWS;
        match self.rng.random_range(0..1000) {
            0..40 => self.start(slot, "run_flow", &run_flow(slot)),
            40..50 => {
                let keys: Vec<String> =
                    (0..RUNS).filter(|s| s % FLOWS == flow).map(|s| format!("'slot {s}'")).collect();
                let payloads = vec!["'[1, 2]'"; keys.len()].join(", ");
                let sql = format!(
                    "select pgflow.run_flows('f{flow}', array[{payloads}]::jsonb[], array[{}])",
                    keys.join(", ")
                );
                let runs = self.call("run_flows", &sql).rows;
                for (n, run) in runs.into_iter().enumerate() {
                    self.put(flow + n * FLOWS, run);
                }
            }
            50..90 => drop(self.call("start_step", &format!("select pgflow.start_step('{run}', 's')"))),
            90..130 => drop(self.call("complete_step", &format!("select pgflow.complete_step('{run}', 'e', '1')"))),
            130..350 => self.claim("claim_step_tasks", &format!("claim_step_tasks('{queue}', {most}, 1)")),
            350..500 => self.settle_one(),
            500..580 => {
                let Some(t) = self.task() else { return };
                let Task { run, step, index, lease, .. } = t;
                let sql = format!("select pgflow.extend_step_task('{run}', '{step}', {index}, {lease}, 1)");
                self.call("extend_step_task", &sql);
            }
            580..720 => {
                let (results, tasks, released) = self.results(true);
                let answer = self
                    .call("settle_step_tasks", &format!("select accepted from pgflow.settle_step_tasks('{results}')"));
                for (task, row) in tasks.iter().zip(&answer.rows) {
                    self.note_receipt(task, row, released.contains(&task.lease));
                }
            }
            720..860 => {
                // Its receipts are not told, so it releases nothing.
                let (results, ..) = self.results(false);
                self.claim("settle_and_claim", &format!("settle_and_claim('{results}', '{queue}', {most}, 1)"));
            }
            860..890 => drop(self.call("cancel_run", &format!("select pgflow.cancel_run('{run}', 'called off')"))),
            890..930 => drop(self.call("retry_run", &format!("select pgflow.retry_run('{run}')"))),
            930..950 => self.start(slot, "fork_run", &format!("select pgflow.fork_run('{run}', '{{a}}')")),
            950..980 => drop(self.call("prune_runs", &format!("select pgflow.prune_runs('0', {most})"))),
            980..990 => {
                let other = self.rng.random_bool(0.5);
                self.call("define_flow", &define(flow, other));
            }
            990..996 => {
                let sql = format!("select pgflow.add_step('f{flow}', 'added', queue => '{queue}')");
                self.call("add_step", &sql);
            }
            _ => {
                let with_runs = self.rng.random_bool(0.3);
                self.call("delete_flow", &format!("select pgflow.delete_flow('f{flow}', {with_runs})"));
                self.call("define_flow", &define(flow, false));
            }
        }
    }

    fn start(&mut self, slot: usize, name: &'static str, sql: &str) {
        if let Some(run) = self.call(name, sql).rows.pop() {
            self.put(slot, run);
        }
    }

    fn put(&self, slot: usize, run: String) {
        if let Some(place) = lock(&self.shared.runs).get_mut(slot) {
            *place = run;
        }
    }

    fn claim(&mut self, name: &'static str, call: &str) {
        let rows = self.call(name, &format!("{CLAIMED} pgflow.{call}")).rows;
        let mut tasks = lock(&self.shared.tasks);
        let mut attempts = lock(&self.shared.attempts);
        for row in rows {
            let mut parts = row.split(" | ").map(str::to_owned);
            let mut next = || parts.next().unwrap_or_default();
            let task = Task { run: next(), step: next(), index: next(), attempt: next(), lease: next() };
            *attempts.entry(key(&task)).or_default() += 1;
            if tasks.len() < REMEMBERED {
                tasks.push(task);
            } else {
                let place = self.rng.random_range(0..REMEMBERED);
                tasks[place] = task;
            }
        }
    }

    /// A task that somebody claimed; now and then others go on remembering it.
    fn task(&mut self) -> Option<Task> {
        let mut tasks = lock(&self.shared.tasks);
        if tasks.is_empty() {
            return None;
        }
        let place = self.rng.random_range(0..tasks.len());
        if self.rng.random_bool(0.3) { tasks.get(place).cloned() } else { Some(tasks.swap_remove(place)) }
    }

    fn settle_one(&mut self) {
        let Some(task) = self.task() else { return };
        let Task { run, step, index, lease, .. } = &task;
        let (name, call) = match self.rng.random_range(0..10) {
            0..6 => {
                ("complete_step_task", format!("complete_step_task('{run}', '{step}', '[1, 2]', {index}, {lease})"))
            }
            6..8 => ("fail_step_task", format!("fail_step_task('{run}', '{step}', 'again', {index}, {lease})")),
            8 => ("fail_step_task", format!("fail_step_task('{run}', '{step}', 'for good', {index}, {lease}, false)")),
            _ => ("release_step_task", format!("release_step_task('{run}', '{step}', {index}, {lease})")),
        };
        let answer = self.call(name, &format!("select accepted from pgflow.{call}"));
        if let Some(row) = answer.rows.first() {
            self.note_receipt(&task, row, name == "release_step_task");
        }
    }

    /// A batch over runs in any order, its tasks, and which leases it releases.
    fn results(&mut self, releases: bool) -> (String, Vec<Task>, Vec<String>) {
        let most = self.rng.random_range(1..12);
        let tasks: Vec<Task> = (0..most).filter_map(|_| self.task()).collect();
        let endings = [r#""output": [1, 2]"#, r#""output": [3, 4]"#, r#""error_message": "again""#];
        let mut released = Vec::new();
        let elements: Vec<String> = (tasks.iter())
            .map(|t| {
                let mut ending = *endings.choose(&mut self.rng).unwrap_or(&endings[0]);
                // Only for a task that the batch names once: of two results the first wins.
                if releases && self.rng.random_bool(0.1) && tasks.iter().filter(|o| o.lease == t.lease).count() == 1 {
                    ending = r#""release": true"#;
                    released.push(t.lease.clone());
                }
                let Task { run, step, index, lease, .. } = t;
                format!(
                    r#"{{"run_id": "{run}", "step_slug": "{step}", "task_index": {index}, "lease": {lease}, {ending}}}"#
                )
            })
            .collect();
        (format!("[{}]", elements.join(", ")), tasks, released)
    }

    fn note_receipt(&self, task: &Task, accepted: &str, released: bool) {
        if accepted != "t" {
            return;
        }
        *lock(&self.shared.settled).entry(task.lease.clone()).or_default() += 1;
        if released {
            *lock(&self.shared.attempts).entry(key(task)).or_default() -= 1;
        }
    }

    /// One call in a transaction of its own; nothing when it failed or was rolled back.
    fn call(&mut self, name: &'static str, sql: &str) -> Answer {
        let level = match self.rng.random_range(0..4) {
            0 => Level::RepeatableRead,
            1 => Level::Serializable,
            _ => Level::ReadCommitted,
        };
        let is_alone = level == Level::ReadCommitted && self.rng.random_bool(0.7);
        let gives_up = !is_alone && self.rng.random_bool(0.05);
        let begun = Instant::now();
        let mut answer = Answer::default();
        if !is_alone {
            answer = ask(&mut self.client, &format!("begin isolation level {}", level.name()));
        }
        if answer.code.is_none() {
            answer = ask(&mut self.client, sql);
        }
        if !is_alone {
            let end = if gives_up || answer.code.is_some() { "rollback" } else { "commit" };
            let ended = ask(&mut self.client, end);
            if ended.code.is_some() || gives_up && answer.code.is_none() {
                answer = ended;
            }
        }
        self.enter(name, level, begun.elapsed(), &answer);
        answer
    }

    fn enter(&self, name: &'static str, level: Level, took: Duration, answer: &Answer) {
        let mut report = lock(&self.shared.report);
        report.calls += 1;
        report.longest = report.longest.max(took);
        let (calls, codes) = report.answers.entry(name).or_default();
        *calls += 1;
        let Some(code) = &answer.code else { return };
        *codes.entry(code.clone()).or_default() += 1;
        let may_be_stale = level != Level::ReadCommitted && code == "40001";
        if !may_be_stale && !matches!(code.as_str(), "PT404" | "PT409") {
            report.failures.push(format!("{name} at {}: ERROR {code}: {}", level.name(), answer.message));
            // A session without its server goes on failing.
            if code == "-----" {
                self.shared.over.store(true, Ordering::Relaxed);
            }
        }
    }
}

fn key(task: &Task) -> (String, String, String, String) {
    (task.run.clone(), task.step.clone(), task.index.clone(), task.attempt.clone())
}
