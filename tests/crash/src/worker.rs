//! The worker process: it claims tasks, writes effects, settles, and never knows when it dies.
//!
//! Some tasks take so long that leases run out and several workers work on them at a time. A worker lays such a task
//! aside meanwhile, and comes back with its result.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Failure;
use crate::cases::Cases;
use crate::connection::{Caller, Claimed, Trouble};
use crate::journal::Journal;
use crate::process::{self, Place};
use crate::settlement::Held;

/// What a handler knows of its task: whose run it is, and how often it has failed before.
const CONTEXT: &str = "select r.idempotency_key,
    (select count(*) from pgflow.step_tasks s
     where s.run_id = t.run_id and s.step_slug = t.step_slug and s.task_index = t.task_index and s.status = 'failed')
  from unnest($1::uuid[], $2::text[], $3::int[]) with ordinality t (run_id, step_slug, task_index, n)
  join pgflow.runs r using (run_id) order by n";

pub struct Worker {
    pub caller: Caller,
    pub journal: Journal,
    pub rng: StdRng,
    cases: Cases,
    /// When their results will come.
    aside: Vec<(Instant, Held)>,
}

pub fn work(place: Place) -> Result<(), Failure> {
    process::listen();
    let name = format!("worker-{}", place.id);
    let mut worker = Worker {
        caller: Caller::new(&place.host, &name),
        journal: Journal::open(&place.folder, &name, place.life)?,
        rng: StdRng::seed_from_u64(place.own_seed()),
        cases: Cases::default(),
        aside: Vec::new(),
    };
    let mut claimed = Vec::new();
    loop {
        if claimed.is_empty() {
            claimed = worker.claim()?;
        }
        let mut held = worker.take(std::mem::take(&mut claimed))?;
        worker.lay_aside(&mut held);
        if held.is_empty() {
            std::thread::sleep(Duration::from_millis(worker.rng.random_range(2..20)));
            continue;
        }
        if worker.rng.random_bool(0.2) {
            std::thread::sleep(Duration::from_millis(worker.rng.random_range(0..30)));
        }
        claimed = worker.settle(held)?;
    }
}

impl Worker {
    /// Writes down what no kill explains.
    pub fn trouble(&mut self, what: &str, trouble: &Trouble) -> Result<(), Failure> {
        if !matches!(trouble, Trouble::Lost) {
            self.journal.problem(&format!("{what}: {trouble}"))?;
        }
        Ok(())
    }

    fn claim(&mut self) -> Result<Vec<Claimed>, Failure> {
        let sql = "select * from pgflow.claim_step_tasks($1, $2, $3)";
        let queue = self.queue();
        let (max, lease) = (self.rng.random_range(1..=10), self.lease_seconds());
        let durable = self.rng.random_bool(0.75);
        let claimed = if durable {
            self.caller.claimed(sql, &[&queue, &max, &lease])
        } else {
            self.caller.claim_loosely(sql, &[&queue, &max, &lease])
        };
        match claimed {
            Ok(claimed) => {
                self.note_claims(&claimed, durable)?;
                Ok(claimed)
            }
            Err(trouble) => {
                self.trouble(&format!("claim_step_tasks({queue})"), &trouble)?;
                Ok(Vec::new())
            }
        }
    }

    pub fn note_claims(&mut self, claimed: &[Claimed], durable: bool) -> Result<(), Failure> {
        for Claimed { run, step, task, attempt, lease, .. } in claimed {
            self.journal.write(&json!({"kind": "claim", "run": run, "step": step, "task": task, "attempt": attempt,
                                       "lease": lease, "durable": durable}))?;
        }
        Ok(())
    }

    /// Finds out what the claimed tasks are about, and whether they come with the right input.
    fn take(&mut self, claimed: Vec<Claimed>) -> Result<Vec<Held>, Failure> {
        if claimed.is_empty() {
            return Ok(Vec::new());
        }
        let runs: Vec<Uuid> = claimed.iter().map(|c| c.run).collect();
        let steps: Vec<&str> = claimed.iter().map(|c| c.step.as_str()).collect();
        let tasks: Vec<i32> = claimed.iter().map(|c| c.task).collect();
        let rows = match self.caller.rows(CONTEXT, &[&runs, &steps, &tasks]) {
            Ok(rows) => rows,
            Err(trouble) => {
                self.trouble("reading the runs of claimed tasks", &trouble)?;
                return Ok(Vec::new());
            }
        };
        if rows.len() != claimed.len() {
            self.journal.problem(&format!("claimed {} tasks, {} of a run that exists", claimed.len(), rows.len()))?;
            return Ok(Vec::new());
        }
        let mut held = Vec::new();
        for (c, row) in claimed.into_iter().zip(rows) {
            let key: Option<String> = row.try_get(0)?;
            let failures = u32::try_from(row.try_get::<_, i64>(1)?)?;
            let Claimed { run, task, attempt, lease, .. } = c;
            let case = key.as_deref().and_then(|key| self.cases.of_key(key));
            let step = case.as_ref().and_then(|case| case.flow.find(&c.step));
            let (Some(case), Some(step)) = (case, step) else {
                self.journal.problem(&format!("claimed {} of run {run}, key {key:?}: no such step", c.step))?;
                continue;
            };
            let inputs = &case.expected.steps[step].inputs;
            let expected =
                usize::try_from(task).ok().and_then(|t| inputs.get(t)).filter(|_| !case.flow.steps[step].external);
            if expected != Some(&c.input) {
                let expected = expected.unwrap_or(&Value::Null);
                let what = format!("claimed {}[{task}] of run {run}, key {key:?}", c.step);
                self.journal.problem(&format!("{what}: expected input {expected}, got {}", c.input))?;
            }
            held.push(Held { case, run, step, task, attempt, lease, failures });
        }
        Ok(held)
    }

    /// Lays aside tasks that take long, and takes up those whose result is there.
    fn lay_aside(&mut self, held: &mut Vec<Held>) {
        let now = Instant::now();
        let (due, aside): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.aside).into_iter().partition(|(at, _)| *at <= now);
        self.aside = aside;
        let (long, mut short): (Vec<Held>, Vec<Held>) = held.drain(..).partition(Held::takes_long);
        for one in long {
            self.aside.push((now + Duration::from_millis(self.rng.random_range(800..4_500)), one));
        }
        short.extend(due.into_iter().map(|(_, one)| one));
        *held = short;
    }
}
