//! The starter process: it defines flows and begins runs under idempotency keys, asking again until it has an answer;
//! it starts manual steps, finishes external ones, and sees its runs to the end.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pgflow_model_test::generate::{Outcome, Plan};
use postgres::Row;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::Failure;
use crate::cases::{self, Case};
use crate::connection::{Caller, Params, Receipt, Trouble};
use crate::journal::{self, Journal};
use crate::process::{self, Place};

/// How many runs of one starter are open at a time.
const WINDOW: usize = 40;

struct Starter {
    caller: Caller,
    journal: Journal,
    rng: StdRng,
    open: HashMap<Uuid, Rc<Case>>,
}

pub fn work(place: Place) -> Result<(), Failure> {
    let draining = process::listen();
    let name = format!("starter-{}", place.id);
    let mut starter = Starter {
        caller: Caller::new(&place.host, &name),
        journal: Journal::open(&place.folder, &name, place.life)?,
        rng: StdRng::seed_from_u64(place.own_seed()),
        open: HashMap::new(),
    };
    let mut next = place.seed + place.id as u64;
    if let Some(last) = starter.remember(&journal::earlier(&place.folder, &name, place.life)?) {
        // It may have died amid this flow; what is there already stays as it is.
        starter.begin(last)?;
        next = last + place.starters as u64;
    }
    loop {
        let draining = draining.load(Ordering::Relaxed);
        if !draining && starter.open.len() < WINDOW {
            starter.begin(next)?;
            next += place.starters as u64;
        } else {
            std::thread::sleep(Duration::from_millis(20));
        }
        starter.push()?;
        starter.look_for_ends()?;
        if draining && starter.open.is_empty() {
            return Ok(());
        }
    }
}

impl Starter {
    /// Takes up the runs of earlier lives; returns the last flow that was begun.
    fn remember(&mut self, entries: &[Value]) -> Option<u64> {
        let mut last = None;
        let mut runs: HashMap<Uuid, String> = HashMap::new();
        for entry in entries {
            let run = || entry["run"].as_str()?.parse::<Uuid>().ok();
            match entry["kind"].as_str() {
                Some("begin") => last = entry["seed"].as_u64(),
                Some("run") => runs.extend(run().zip(entry["key"].as_str().map(str::to_owned))),
                Some("end") => {
                    run().and_then(|run| runs.remove(&run));
                }
                _ => {}
            }
        }
        let open = runs.into_iter().filter_map(|(run, key)| Some((run, Rc::new(Case::of_key(&key)?))));
        self.open.extend(open);
        last
    }

    /// Asks until there is an answer.
    fn rows(&mut self, what: &str, sql: &'static str, params: Params) -> Result<Vec<Row>, Failure> {
        loop {
            match self.caller.rows(sql, params) {
                Ok(rows) => return Ok(rows),
                Err(Trouble::Lost) => {}
                Err(trouble) => {
                    self.journal.problem(&format!("{what}: {trouble}"))?;
                    return Ok(Vec::new());
                }
            }
        }
    }

    /// Defines the flow of a seed and begins its runs.
    fn begin(&mut self, seed: u64) -> Result<(), Failure> {
        self.journal.write(&json!({"kind": "begin", "seed": seed}))?;
        let (flow, plans) = cases::flow(seed);
        let slug = &flow.slug;
        let sql = "select version from pgflow.define_flow($1)";
        for row in self.rows(slug, sql, &[&cases::definition(&flow)])? {
            let version: i32 = row.try_get(0)?;
            self.journal.write(&json!({"kind": "definition", "flow": slug, "version": version}))?;
        }
        let keys: Vec<String> = (0..plans.len()).map(|n| cases::key(seed, n)).collect();
        if plans.iter().all(|p| p.start_in_ms.is_none()) && self.rng.random_bool(0.3) {
            let payloads: Vec<&Value> = plans.iter().map(|p| &p.payload).collect();
            let sql = "select pgflow.run_flows($1, $2, $3)";
            let rows = self.rows(slug, sql, &[slug, &payloads, &keys])?;
            return keys.iter().zip(rows).try_for_each(|(key, row)| self.note_run(slug, key, &row));
        }
        for (plan, key) in plans.iter().zip(&keys) {
            self.run(slug, plan, key)?;
            if self.rng.random_bool(0.1) {
                self.run(slug, plan, key)?;
            }
        }
        Ok(())
    }

    fn run(&mut self, slug: &str, plan: &Plan, key: &str) -> Result<(), Failure> {
        let sql = "select pgflow.run_flow($1, $2, $3, $4, clock_timestamp() + $5 * interval '1 ms')";
        let delay = plan.start_in_ms.map(f64::from);
        for row in self.rows(slug, sql, &[&slug, &plan.payload, &key, &plan.priority, &delay])? {
            self.note_run(slug, key, &row)?;
        }
        Ok(())
    }

    fn note_run(&mut self, slug: &str, key: &str, row: &Row) -> Result<(), Failure> {
        let run: Uuid = row.try_get(0)?;
        self.journal.write(&json!({"kind": "run", "flow": slug, "key": key, "run": run}))?;
        if let Some(case) = Case::of_key(key) {
            self.open.insert(run, Rc::new(case));
        }
        Ok(())
    }

    /// Starts manual steps whose deps are resolved, and finishes external ones that wait.
    fn push(&mut self) -> Result<(), Failure> {
        let waits = |case: &Case| case.flow.steps.iter().any(|s| s.manual || s.external);
        let runs: Vec<Uuid> = self.open.iter().filter(|(_, case)| waits(case)).map(|(run, _)| *run).collect();
        let sql = "select run_id, step_slug, status from pgflow.step_states
                   where run_id = any($1) and (status = 'started' or status = 'pending' and remaining_deps = 0)";
        for row in self.rows("reading step_states", sql, &[&runs])? {
            let (run, slug): (Uuid, String) = (row.try_get(0)?, row.try_get(1)?);
            let Some(case) = self.open.get(&run).cloned() else { continue };
            let Some(step) = case.flow.steps.iter().find(|s| s.slug == slug) else { continue };
            if row.try_get::<_, &str>(2)? == "pending" {
                if step.manual {
                    // The run may have ended in between, which is no trouble: the row is returned unchanged.
                    let sql = "select status from pgflow.start_step($1, $2)";
                    self.rows("start_step", sql, &[&run, &slug])?;
                }
            } else if step.external {
                self.finish_external(run, &case, &slug)?;
            }
        }
        Ok(())
    }

    fn finish_external(&mut self, run: Uuid, case: &Case, slug: &str) -> Result<(), Failure> {
        let Some(step) = case.flow.steps.iter().find(|s| s.slug == slug) else { return Ok(()) };
        let mut entry = json!({"kind": "effect", "run": run, "step": slug, "task": 0, "attempt": 1, "lease": null,
                               "transactional": false});
        self.journal.write(&entry)?;
        let receipts = match cases::outcome(&case.flow, step, 0, 0) {
            Outcome::Complete(output) => {
                entry["call"] = json!("complete");
                entry["output"] = json!(output);
                self.caller.receipts("select * from pgflow.complete_step($1, $2, $3)", &[&run, &slug, &output])
            }
            Outcome::Fail { .. } | Outcome::Die => {
                let message = step.message(0);
                entry["call"] = json!("fail");
                entry["message"] = json!(message);
                let sql = "select * from pgflow.fail_step_task($1, $2, $3)";
                self.caller.receipts(sql, &[&run, &slug, &message])
            }
        };
        match receipts {
            // Looked at again soon: another answer follows where this one was lost.
            Err(Trouble::Lost) => {}
            Err(trouble) => self.journal.problem(&format!("{entry}: {trouble}"))?,
            Ok(receipts) => {
                for Receipt { accepted, task_status } in receipts {
                    entry["kind"] = json!("receipt");
                    entry["accepted"] = json!(accepted);
                    entry["task_status"] = json!(task_status);
                    self.journal.write(&entry)?;
                }
            }
        }
        Ok(())
    }

    fn look_for_ends(&mut self) -> Result<(), Failure> {
        let runs: Vec<Uuid> = self.open.keys().copied().collect();
        // A run that is not there any more is nothing to wait for: the checks find that.
        let sql = "select id from unnest($1::uuid[]) id left join pgflow.runs r on r.run_id = id
                   where r.status is null or r.status in ('completed', 'failed')";
        for row in self.rows("reading runs", sql, &[&runs])? {
            let run: Uuid = row.try_get(0)?;
            self.open.remove(&run);
            self.journal.write(&json!({"kind": "end", "run": run}))?;
        }
        Ok(())
    }
}
