//! Looks at what is there when all has ended: each property of `checks/` by SQL, and each run by the interpreter.
//!
//! A file of `checks/` holds a query that returns what is wrong, and a statement that damages the data so that the
//! query has to return something. The statement is run as well, and rolled back.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use pgflow_model_test::case::{Dag, Run};
use pgflow_model_test::compare::{self, Got};
use pgflow_model_test::interpret::{Kept, interpret};
use postgres::Client;
use uuid::Uuid;

use crate::cases::{self, Case};
use crate::{Failure, connection, journal};

const CHECKS: [&str; 12] = [
    include_str!("../checks/integrity.sql"),
    include_str!("../checks/all_ended.sql"),
    include_str!("../checks/definitions.sql"),
    include_str!("../checks/runs.sql"),
    include_str!("../checks/keys.sql"),
    include_str!("../checks/completions.sql"),
    include_str!("../checks/failures.sql"),
    include_str!("../checks/once.sql"),
    include_str!("../checks/effects.sql"),
    include_str!("../checks/ledger.sql"),
    include_str!("../checks/claims.sql"),
    include_str!("../checks/quiet.sql"),
];

/// How much of what is wrong is printed for each check.
const SHOWN: usize = 5;

#[derive(Default)]
pub struct Report {
    pub passed: usize,
    pub failed: usize,
}

impl Report {
    pub fn add(&mut self, property: &str, problems: Vec<String>) {
        if problems.is_empty() {
            self.passed += 1;
            println!("ok    {property}");
            return;
        }
        self.failed += 1;
        println!("FAIL  {property}: {} problems", problems.len());
        for problem in problems.iter().take(SHOWN) {
            println!("      {problem}");
        }
    }
}

pub fn all(report: &mut Report, server: &str, journals: &Path) -> Result<(), Failure> {
    let mut client = connection::connect(server, "checks")?;
    load(&mut client, journals)?;
    for row in client.query(include_str!("../checks/counts.sql"), &[])? {
        println!("{}", row.try_get::<_, &str>(0)?);
    }
    for check in CHECKS {
        let property = check.lines().next().unwrap_or_default().trim_start_matches("-- ");
        report.add(property, by_sql(&mut client, check)?);
    }
    let problems = by_interpreter(&mut client)?;
    report.add("every run ended as the interpreter says", problems);
    Ok(())
}

fn load(client: &mut Client, journals: &Path) -> Result<(), Failure> {
    let mut copy = client.copy_in("copy crash_test.journal from stdin")?;
    for entry in fs::read_dir(journals)? {
        for line in journal::lines(&entry?.path())? {
            let line = line?.replace('\\', "\\\\");
            writeln!(copy, "{line}")?;
        }
    }
    copy.finish()?;
    client.batch_execute(include_str!("../checks/load.sql"))?;
    Ok(())
}

fn by_sql(client: &mut Client, check: &str) -> Result<Vec<String>, Failure> {
    let (query, damage) = check.split_once("-- Must notice:").ok_or("a check without damage that it must notice")?;
    let query = query.trim_end().trim_end_matches(';');
    let mut found = Vec::new();
    for row in client.query(query, &[])? {
        found.push(row.try_get(0)?);
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let mut tx = client.transaction()?;
    // No foreign key may come between.
    tx.batch_execute("set local session_replication_role = replica")?;
    if tx.execute(damage.trim().trim_end_matches(';'), &[])? == 0 {
        found.push("not seen to fail: there was nothing to damage".to_owned());
    } else if tx.query(query, &[])?.is_empty() {
        found.push(format!("does not notice this:{damage}"));
    }
    tx.rollback()?;
    Ok(found)
}

fn by_interpreter(client: &mut Client) -> Result<Vec<String>, Failure> {
    let mut problems = Vec::new();
    let mut witness = None;
    for row in client.query("select run_id, idempotency_key from pgflow.runs", &[])? {
        let (id, key): (Uuid, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
        let Some(case) = key.as_deref().and_then(Case::of_key) else {
            problems.push(format!("run {id}: nobody started one under key {key:?}"));
            continue;
        };
        let run = run(id, case);
        let got = without_expired(compare::load(client, &run)?);
        let differences = compare::diff(&run, &got);
        if !differences.is_empty() {
            problems.push(compare::report(&run, &got, &differences, &cases::definition(&run.dag.flow)));
        } else if run.expected.output.is_some() {
            witness = Some(run);
        }
    }
    // Seen to fail, like the others.
    if let Some(run) = witness.filter(|_| problems.is_empty()) {
        client.batch_execute("begin")?;
        client.execute("update pgflow.runs set output = '\"changed\"' where run_id = $1", &[&run.id])?;
        if compare::diff(&run, &without_expired(compare::load(client, &run)?)).is_empty() {
            problems.push("does not notice another output".to_owned());
        }
        client.batch_execute("rollback")?;
    }
    Ok(problems)
}

fn run(id: Uuid, case: Case) -> Run {
    let Case { seed, flow, payload, .. } = case;
    let expected = interpret(&flow, &payload, &Kept::new());
    let dag = Arc::new(Dag { seed, flow, plans: Vec::new(), problems: Mutex::default() });
    Run::new(&dag, id, payload, expected, false)
}

/// What would be there had no lease run out: the interpreter knows of no kills.
fn without_expired(mut got: Got) -> Got {
    for attempts in got.steps.values_mut().flat_map(|s| s.tasks.values_mut()) {
        if attempts.iter().zip(1..).any(|(attempt, number)| attempt.number != number) {
            continue; // left for the comparison to find
        }
        attempts.retain(|a| a.status != "expired");
        for (attempt, number) in attempts.iter_mut().zip(1..) {
            attempt.number = number;
        }
    }
    got
}
