//! The model-based test: random flows, worked by several sessions at once in random order, each result compared with
//! a small interpreter that knows only the contract.
//!
//! ```text
//! PGHOST=… PGDATABASE=… pgflow-model-test [--seed N] [--dags 300] [--sessions 6] [--minutes M] [--explain]
//! ```
//!
//! The database must have the extension; the user is a superuser. Each flow follows from a seed of its own, counted up
//! from `--seed` (random when not given, and printed), so that `--seed N --dags 1` brings back the one that failed; what
//! the sessions do is random too, and seeded, but depends on timing. `--minutes` goes on with new seeds for that long
//! and deletes what passed. `--explain` prints the flow of a seed and how its runs should end, without a server.
//!
//! `generate` makes flows and handlers, `interpret` says how a run ends, `sessions` work (`calls` speaks SQL, `case`
//! is what they share), `compare` looks at what is there when all runs of a round have ended. Then some ended runs are
//! forked and worked again. The exit status is 1 when anything differed.

#![cfg_attr(test, allow(clippy::unwrap_used))]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postgres::Client;
use serde_json::Value;
use uuid::Uuid;

use pgflow_model_test::case::{Dag, Round, Run, Start, lock};
use pgflow_model_test::compare::Got;
use pgflow_model_test::generate::{Flow, generate};
use pgflow_model_test::interpret::{Kept, interpret};
use pgflow_model_test::sessions::Session;
use pgflow_model_test::{calls, compare};

const FLOWS_PER_ROUND: u64 = 25;
const REPORTS: usize = 4;

struct Options {
    seed: u64,
    dags: u64,
    sessions: usize,
    minutes: Option<u64>,
    explain: bool,
}

fn options() -> Result<Options, String> {
    let seed = rand::random_range(1..1_000_000_000);
    let mut options = Options { seed, dags: 300, sessions: 6, minutes: None, explain: false };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        if name == "--explain" {
            options.explain = true;
            continue;
        }
        if !["--seed", "--dags", "--sessions", "--minutes"].contains(&name.as_str()) {
            return Err(format!("unknown option {name}"));
        }
        let value = args.next().and_then(|v| v.parse::<u64>().ok());
        let value = value.ok_or_else(|| format!("{name} needs a number"))?;
        match name.as_str() {
            "--seed" => options.seed = value,
            "--dags" => options.dags = value,
            "--sessions" => options.sessions = usize::try_from(value.max(1)).unwrap_or(1),
            _ => options.minutes = Some(value),
        }
    }
    Ok(options)
}

#[derive(Default)]
struct Totals {
    passed: u64,
    failed: u64,
    reports: usize,
    runs: usize,
    disturbed: usize,
    forks: usize,
    failing: usize,
    calls: u64,
    serialisation_failures: u64,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("pgflow-model-test: {problem}");
            return ExitCode::from(2);
        }
    };
    if options.explain {
        (0..options.dags.min(10)).for_each(|n| explain(options.seed + n));
        return ExitCode::SUCCESS;
    }
    println!("seed {}, {} sessions", options.seed, options.sessions);
    match test(&options) {
        Ok(totals) if totals.failed == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            let fault = calls::Fault::from(error);
            eprintln!("pgflow-model-test: {fault}");
            ExitCode::from(2)
        }
    }
}

fn test(options: &Options) -> Result<Totals, postgres::Error> {
    let begun = Instant::now();
    let tag = format!("{:06x}", rand::random_range(0..1 << 24));
    let mut client = calls::connect("model test")?;
    client.batch_execute(include_str!("../sql/realtime.sql"))?;
    let mut sessions =
        (0..options.sessions).map(|id| Session::connect(id, options.seed)).collect::<Result<Vec<_>, _>>()?;
    let mut totals = Totals::default();
    let mut next = 0;
    loop {
        let enough = match options.minutes {
            Some(minutes) => begun.elapsed() >= Duration::from_secs(60 * minutes),
            None => next >= options.dags,
        };
        if enough {
            break;
        }
        let left = if options.minutes.is_some() { u64::MAX } else { options.dags - next };
        let seeds = (0..left.min(FLOWS_PER_ROUND)).map(|n| options.seed + next + n);
        let queues = format!("q_{tag}_{next}_");
        let dags: Vec<Arc<Dag>> = seeds
            .map(|seed| {
                let (flow, plans) = generate(seed, &tag);
                Arc::new(Dag { seed, flow, plans, problems: Mutex::default() })
            })
            .collect();
        next += dags.len() as u64;
        round(&mut client, &mut sessions, &dags, &queues, &mut totals, options.minutes.is_some())?;
    }
    let Totals { passed, failed, runs, disturbed, forks, failing, calls, .. } = totals;
    println!(
        "seed {}: {next} flows, {runs} runs ({failing} meant to fail, {disturbed} cancelled and retried, {forks} \
         forked), {calls} calls, {} serialisation failures retried, {:.1} s",
        options.seed,
        totals.serialisation_failures,
        begun.elapsed().as_secs_f64()
    );
    println!("{passed} passed, {failed} failed");
    Ok(totals)
}

/// Defines the flows, works their runs to the end, then forks of them, and compares.
fn round(
    client: &mut Client,
    sessions: &mut [Session],
    dags: &[Arc<Dag>],
    queues: &str,
    totals: &mut Totals,
    delete: bool,
) -> Result<(), postgres::Error> {
    let mut names: Vec<String> = (0..3).map(|n| format!("{queues}{n}")).collect();
    let own = |d: &&Arc<Dag>| d.flow.steps.iter().any(|s| s.queue.is_none());
    names.extend(dags.iter().filter(own).map(|d| d.flow.slug.clone()));
    let round = Round::new(names);
    for dag in dags {
        if let Err(error) = define(client, &dag.flow, queues) {
            let fault = calls::Fault::from(error);
            let document = dag.flow.definition(queues);
            lock(&dag.problems).push(format!("defining the flow: {fault}\n  definition: {document}"));
            continue;
        }
        client.execute("select pgflow.set_realtime($1)", &[&dag.flow.slug])?;
        let plans: Vec<usize> = (0..dag.plans.len()).collect();
        // run_flows has no start_at: only plans without one go into one call.
        let together = dag.seed % 2 == 0 && dag.plans.iter().all(|p| p.start_in_ms.is_none());
        for chunk in plans.chunks(if together { plans.len().max(1) } else { 1 }) {
            round.plan(Start::Plans(Arc::clone(dag), chunk.to_vec()));
        }
    }
    work(sessions, &round);
    let mut differences = Vec::new();
    for run in round.all() {
        let got = compare::load(client, &run)?;
        if let Some((named, payload)) = &run.fork
            && ["completed", "failed"].contains(&got.status.as_str())
        {
            round.plan(fork(&run, &got, named, payload.as_ref()));
        }
        differences.push((Arc::clone(&run), got));
    }
    if !round.stalled.load(Ordering::Relaxed) && round.unstarted.load(Ordering::Relaxed) > 0 {
        work(sessions, &round);
        for run in round.all().into_iter().filter(|r| r.origin.is_some()) {
            let got = compare::load(client, &run)?;
            differences.push((run, got));
        }
    }
    let mut problems: Vec<(Option<Uuid>, String)> = Vec::new();
    for row in client.query("select run_id, problem from pgflow.check_integrity()", &[])? {
        let problem = format!("check_integrity: {}", row.try_get::<_, String>(1)?);
        problems.push((row.try_get(0)?, problem));
    }
    for row in client.query(include_str!("../sql/told.sql"), &[])? {
        problems.push((row.try_get(0)?, row.try_get(1)?));
    }
    for (id, problem) in problems {
        match differences.iter().find(|(run, _)| Some(run.id) == id) {
            Some((run, _)) => lock(&run.problems).push(problem),
            None => round.problem(format!("{problem} (run {id:?})")),
        }
    }
    if round.stalled.load(Ordering::Relaxed) {
        println!("STALLED: nothing could be claimed or settled for 12 s, although runs were open");
    }
    judge(&round, dags, &differences, queues, totals);
    if delete && lock(&round.problems).is_empty() {
        for dag in dags {
            client.execute("select pgflow.delete_flow($1, true)", &[&dag.flow.slug])?;
        }
        client.batch_execute("truncate realtime.told")?;
    }
    Ok(())
}

fn work(sessions: &mut [Session], round: &Round) {
    round.progressed();
    std::thread::scope(|scope| {
        for session in sessions {
            scope.spawn(|| session.work(round));
        }
    });
}

fn define(client: &mut Client, flow: &Flow, queues: &str) -> Result<(), postgres::Error> {
    let document = flow.definition(queues);
    if !flow.piecewise {
        let sql = "select changed from pgflow.define_flow($1)";
        client.query_one(sql, &[&document])?;
        client.query_one(sql, &[&document])?;
        return Ok(());
    }
    // The fields of the document are the parameters of the functions.
    let call = |client: &mut Client, function: &str, fields: &Value, more: Option<&str>| {
        let mut arguments: Vec<String> = more.map(|m| format!("flow_slug => '{m}'")).into_iter().collect();
        for (field, value) in fields.as_object().into_iter().flatten().filter(|(f, _)| *f != "steps") {
            let literal = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let text = match value {
                Value::Array(slugs) => {
                    let slugs: Vec<&str> = slugs.iter().filter_map(Value::as_str).collect();
                    format!("{{{}}}", slugs.join(","))
                }
                _ => literal.replace('\'', "''"),
            };
            arguments.push(format!("{field} => '{text}'"));
        }
        client.batch_execute(&format!("select pgflow.{function}({})", arguments.join(", ")))
    };
    call(client, "create_flow", &document, None)?;
    for step in document["steps"].as_array().into_iter().flatten() {
        call(client, "add_step", step, Some(&flow.slug))?;
    }
    Ok(())
}

/// A fork of an ended run from the named steps, and what should become of it.
fn fork(run: &Arc<Run>, got: &Got, named: &[usize], payload: Option<&Value>) -> Start {
    let flow = &run.dag.flow;
    let mut named: BTreeSet<usize> = named.iter().copied().collect();
    let kept = loop {
        let mut again = named.clone();
        for (i, step) in flow.steps.iter().enumerate() {
            if step.deps.iter().any(|d| again.contains(d)) {
                again.insert(i);
            }
        }
        let stays = |i: &usize| {
            let status = got.steps.get(&flow.steps[*i].slug).map_or("", |s| s.status.as_str());
            !again.contains(i) && ["completed", "skipped"].contains(&status)
        };
        let kept: BTreeSet<usize> = (0..flow.steps.len()).filter(stays).collect();
        // Running a step again that a kept step's cascade skipped makes no sense: name its cause too.
        let cause = (0..flow.steps.len())
            .filter(|i| !kept.contains(i))
            .flat_map(|i| &flow.steps[i].deps)
            .find(|d| kept.contains(d) && run.expected.steps[**d].cascades());
        match cause {
            Some(&cause) => named.insert(cause),
            None => break kept,
        };
    };
    let ends: Kept = kept.iter().map(|&i| (i, run.expected.steps[i].clone())).collect();
    let expected = interpret(flow, payload.unwrap_or(&run.payload), &ends);
    let named: Vec<usize> = named.into_iter().collect();
    Start::Fork { origin: Arc::clone(run), named: flow.slugs(&named), payload: payload.cloned(), kept, expected }
}

fn judge(round: &Round, dags: &[Arc<Dag>], ended: &[(Arc<Run>, Got)], queues: &str, totals: &mut Totals) {
    for dag in dags {
        let mut problems: Vec<String> =
            lock(&dag.problems).iter().map(|p| format!("FAIL seed {}: {p}", dag.seed)).collect();
        let mut planned = dag.plans.len();
        for (run, got) in ended.iter().filter(|(run, _)| Arc::ptr_eq(&run.dag, dag)) {
            planned -= usize::from(run.origin.is_none());
            totals.runs += 1;
            totals.forks += usize::from(run.origin.is_some());
            totals.disturbed += usize::from(run.disturbed);
            totals.failing += usize::from(run.expected.fails);
            let differences = compare::diff(run, got);
            if !differences.is_empty() || !lock(&run.problems).is_empty() {
                let definition = dag.flow.definition(queues);
                problems.push(compare::report(run, got, &differences, &definition));
            }
        }
        if planned > 0 && problems.is_empty() {
            problems.push(format!("FAIL seed {}: {planned} runs were not started", dag.seed));
        }
        totals.passed += u64::from(problems.is_empty());
        totals.failed += u64::from(!problems.is_empty());
        for problem in problems {
            totals.reports += 1;
            let short = problem.lines().take(3).collect::<Vec<_>>().join("\n");
            println!("{}", if totals.reports <= REPORTS { &problem } else { &short });
        }
    }
    let problems = lock(&round.problems);
    for problem in problems.iter() {
        println!("FAIL round of seed {}: {problem}", dags.first().map_or(0, |d| d.seed));
    }
    totals.failed += u64::from(!problems.is_empty());
    totals.calls += round.calls.load(Ordering::Relaxed);
    totals.serialisation_failures += round.serialisation_failures.load(Ordering::Relaxed);
}

fn explain(seed: u64) {
    let (flow, plans) = generate(seed, "explain");
    println!("seed {seed}\n{:#}", flow.definition("q_"));
    for plan in plans {
        let expected = interpret(&flow, &plan.payload, &Kept::new());
        let output = expected.output.map_or("NULL".to_owned(), |o| o.to_string());
        println!("\npayload {}\nfails: {}, output {output}", plan.payload, expected.fails);
        for (step, end) in flow.steps.iter().zip(&expected.steps) {
            println!("  {}: {:?}, errors {:?}", step.slug, end.end, end.errors);
            for (task, (end, input)) in end.tasks.iter().zip(&end.inputs).enumerate() {
                println!("    [{task}] {} -> {} {:?}", input, end.output, end.attempts);
            }
        }
    }
}
