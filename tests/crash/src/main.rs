//! The crash test: workers, backends and the whole server are killed with SIGKILL at random moments while random flows
//! run, and afterwards nothing may be lost, doubled or forgotten.
//!
//! ```text
//! pgflow-crash-test --pg-config PATH [--seconds 60 | --minutes M] [--seed N] [--workers 4] [--starters 2]
//!                   [--set name=value]… [--keep] [--verbose]
//! ```
//!
//! It starts a throw-away cluster (scripts/cluster) with `fsync` on, and runs itself again as `starter` and `worker`
//! processes. `server` is the cluster, `killer` does the killing, `starter` and `worker` are the processes killed,
//! `journal` is what they leave outside the database, `check` compares. Linux only: it looks for pids in /proc.
//!
//! **What stays determined.** Flows, handlers and expected ends are those of the model test: pure functions of a seed.
//! There a handler counts attempts, and a kill burns attempts at random. So here steps get more attempts than any
//! number of kills can burn, a handler counts only the attempts of its task that *failed*, which none but itself
//! causes, and the last failure of the number of attempts that the model gives a step is sent as not retryable. With
//! the expired attempts left out, each run has to end exactly as the interpreter says.
//!
//! **What is acknowledged.** A process appends to its journal, a file of its own, an effect before each settlement, and
//! each answer when it has it. The kernel keeps what a killed process wrote; only a last line may be torn. Some
//! handlers write their effect into a table instead, in the transaction that completes their task.
//!
//! **Claims with `synchronous_commit = off`.** A quarter of the claims are made so, as clients may: those may be lost
//! and handed out once more under the same attempt number, and their first holder must then be refused.
//!
//! Each check is seen to fail in every run of this program: the data are damaged in a transaction that is rolled
//! back, and the check has to notice. `--set synchronous_commit=off` makes the whole test fail, as it should.
//!
//! The seed decides the flows, their handlers, and the order and the gaps of the kills; what they hit is up to timing.
//! Server and journals stay for a look when a check failed, or with `--keep`. The exit status is 1 when a check failed.

mod cases;
mod check;
mod connection;
mod journal;
mod killer;
mod process;
mod server;
mod settlement;
mod starter;
mod worker;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use killer::Killer;
use process::{Place, Processes};
use server::Server;

pub type Failure = Box<dyn Error>;

/// How long the rest of the work may take once kills have ended.
const PATIENCE: Duration = Duration::from_secs(180);

struct Options {
    pg_config: String,
    seed: u64,
    time: Duration,
    workers: usize,
    starters: usize,
    settings: Vec<String>,
    keep: bool,
    verbose: bool,
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, Failure> {
    let mut options = Options {
        pg_config: String::new(),
        seed: rand::random_range(1..1_000_000_000),
        time: Duration::from_secs(60),
        workers: 4,
        starters: 2,
        settings: ["fsync=on", "full_page_writes=on", "restart_after_crash=on"].map(str::to_owned).to_vec(),
        keep: false,
        verbose: false,
    };
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--pg-config" => options.pg_config = value()?,
            "--seed" => options.seed = value()?.parse()?,
            "--seconds" => options.time = Duration::from_secs(value()?.parse()?),
            "--minutes" => options.time = Duration::from_secs(60 * value()?.parse::<u64>()?),
            "--workers" => options.workers = value()?.parse()?,
            "--starters" => options.starters = value()?.parse()?,
            "--set" => options.settings.push(value()?),
            "--keep" => options.keep = true,
            "--verbose" => options.verbose = true,
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    if options.pg_config.is_empty() || options.workers == 0 || options.starters == 0 {
        return Err("--pg-config is needed, and at least one worker and one starter".into());
    }
    Ok(options)
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).peekable();
    let role = args.next_if(|a| a == "worker" || a == "starter");
    let done = match role.as_deref() {
        Some("worker") => Place::from_args(args).and_then(worker::work).map(|()| true),
        Some(_) => Place::from_args(args).and_then(starter::work).map(|()| true),
        None => options(args).and_then(|o| test(&o)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let source = error.source().map(|s| format!(": {s}")).unwrap_or_default();
            eprintln!("pgflow-crash-test: {error}{source}");
            ExitCode::from(2)
        }
    }
}

fn test(options: &Options) -> Result<bool, Failure> {
    println!(
        "seed {}, {} s of kills, {} workers, {} starters",
        options.seed,
        options.time.as_secs(),
        options.workers,
        options.starters
    );
    let folder = std::env::temp_dir().join(format!("pgflow-crash.{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let server = Server::start(&options.pg_config, &options.settings, &folder)?;
    let result = crash(options, &server, &folder);
    if options.keep || !matches!(result, Ok(true)) {
        // What timing did cannot be done again.
        println!("left for a look: journals in {}, and the server:", folder.display());
        println!("PGHOST={} PGUSER=postgres psql; scripts/cluster stop {0}", server.folder());
        server.keep();
    }
    result
}

fn crash(options: &Options, server: &Server, folder: &Path) -> Result<bool, Failure> {
    connection::connect(server.folder(), "crash test")?.batch_execute(include_str!("../checks/setup.sql"))?;
    let begun = Instant::now();
    let place = Place {
        host: server.folder().to_owned(),
        folder: folder.to_path_buf(),
        seed: options.seed,
        starters: options.starters,
        id: 0,
        life: 0,
    };
    let mut processes = Processes::spawn(&place, options.starters, options.workers)?;
    let rng = StdRng::seed_from_u64(options.seed);
    let mut killer = Killer::new(server, rng, options.verbose);
    // A slow machine gets more time, so that each kind of kill comes up.
    let enough = |killer: &Killer| killer.counts.lacking().is_empty() || begun.elapsed() > 5 * options.time;
    while begun.elapsed() < options.time || !enough(&killer) {
        killer.kill(&mut processes)?;
    }
    let drained = processes.drain(PATIENCE)?;
    println!("{:.0} s, {}", begun.elapsed().as_secs_f64(), killer.counts);

    let mut report = check::Report::default();
    report.add("the kills are enough of each kind", killer.counts.lacking());
    report.add("processes end only when they are killed", std::mem::take(&mut processes.problems));
    let property = format!("check_integrity() finds nothing right after recovery ({} times)", killer.looks);
    report.add(&property, std::mem::take(&mut killer.problems));
    report.add("what was left is worked off when kills end", if drained { vec![] } else { vec![late()] });
    report.add("the server says nothing of a broken state", server.complaints()?);
    check::all(&mut report, server.folder(), folder)?;
    println!("{} passed, {} failed", report.passed, report.failed);
    Ok(report.failed == 0)
}

fn late() -> String {
    format!("not within {} s", PATIENCE.as_secs())
}
