//! The race test: calls that meet, locks, leases and the clock.
//!
//! ```text
//! PGHOST=… pgflow-races-test [--seed N] [--accept] [--only WORD]… [--sample 12] [--stages 3] [--rounds 30]
//!                            [--seconds 20] [--clock-file FILE] [--sabotage FILE] [PART]…
//! ```
//!
//! PART is one of these; all when none is named. The user is a superuser; the program makes databases of its own and
//! drops them.
//!
//! - `pairs`: each call against each other, in each scene of `scenes`, so that they overlap (`stage`); the end must be
//!   that of one after the other (`verdict`). Each pair meets at READ COMMITTED, where the first commits and where it
//!   rolls back; of `--sample` pairs one also meets at REPEATABLE READ and SERIALIZABLE (all of them: 1; which ones
//!   follows from the seed). Who waits for whom is compared with `matrix.txt`, which `--accept` writes anew. `--only
//!   WORD`, which may be repeated, leaves out pairs in whose scene and calls the word does not occur.
//! - `stress`: 32 sessions call everything at random on the same 50 runs for `--seconds`. With `--clock-file` the clock
//!   jumps meanwhile: libfaketime reads the server's time from there, see `tests/races/clock`.
//! - `leases`: results that arrive when the lease runs out (`--rounds` of each kind), and after it.
//! - `clock`: the clock is moved back.
//! - `limits`: 16 sessions claim from a limited queue for `--seconds`.
//!
//! `--sabotage` runs the SQL of a file in each database first (a trigger that loses an update, say), to see what the
//! test makes of it.

mod acts;
mod clock;
mod leases;
mod limits;
mod matrix;
mod pairs;
mod scenes;
mod server;
mod stage;
mod stress;
mod verdict;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use server::Fallible;

const PARTS: [&str; 5] = ["pairs", "leases", "clock", "limits", "stress"];

struct Options {
    seed: u64,
    seconds: u64,
    clock_file: Option<PathBuf>,
    rounds: usize,
    accept: bool,
    parts: Vec<String>,
    pairs: pairs::Options,
}

fn options() -> Result<Options, String> {
    let seed = rand::random_range(1..1_000_000_000);
    let pairs = pairs::Options { stages: 3, sample: 12, seed, only: Vec::new() };
    let mut options =
        Options { seed, seconds: 20, clock_file: None, rounds: 30, accept: false, parts: Vec::new(), pairs };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        match name.as_str() {
            "--accept" => options.accept = true,
            "--clock-file" => options.clock_file = args.next().map(PathBuf::from),
            "--sabotage" => {
                let file = args.next().unwrap_or_default();
                let sql = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
                server::SABOTAGE.get_or_init(|| sql);
            }
            "--only" => options.pairs.only.extend(args.next()),
            "--seed" | "--seconds" | "--rounds" | "--sample" | "--stages" => {
                let value = args.next().and_then(|v| v.parse::<u64>().ok());
                let value = value.ok_or_else(|| format!("{name} needs a number"))?;
                let size = usize::try_from(value.max(1)).unwrap_or(1);
                match name.as_str() {
                    "--seed" => options.seed = value,
                    "--seconds" => options.seconds = value,
                    "--rounds" => options.rounds = size,
                    "--sample" => options.pairs.sample = size,
                    _ => options.pairs.stages = size,
                }
            }
            part if PARTS.contains(&part) => options.parts.push(name),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    options.pairs.seed = options.seed;
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("pgflow-races-test: {problem}");
            return ExitCode::from(2);
        }
    };
    println!("seed {}", options.seed);
    match test(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("pgflow-races-test: {error}");
            ExitCode::from(2)
        }
    }
}

fn test(options: &Options) -> Fallible<bool> {
    let (mut passed, mut failed) = (0, 0);
    for part in PARTS {
        if !options.parts.is_empty() && !options.parts.iter().any(|wanted| wanted == part) {
            continue;
        }
        let begun = Instant::now();
        let (good, failures, summary) = match part {
            "pairs" => pairs(options)?,
            "leases" => {
                let r = leases::test(options.rounds, options.seed)?;
                let who = format!("results were first {} times, claimers {} times", r.results_first, r.claims_first);
                (r.passed, r.failures, format!("at the moment of expiry {who}"))
            }
            "clock" => {
                let report = clock::test()?;
                (report.passed, report.failures, "the clock went back".to_owned())
            }
            "limits" => {
                let r = limits::test(options.seconds, options.seed)?;
                let summary = format!(
                    "{} starts, at most {} held at once and {} in a window; {} claims ended with a serialisation failure",
                    r.starts, r.most_running, r.busiest, r.refused
                );
                (r.passed, r.failures, summary)
            }
            _ => stress(options)?,
        };
        for failure in &failures {
            println!("FAIL {part}: {failure}");
        }
        println!("{part}: {summary}; {} failures, {:.1} s", failures.len(), begun.elapsed().as_secs_f64());
        passed += good;
        failed += failures.len();
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0 && passed > 0)
}

fn pairs(options: &Options) -> Fallible<(usize, Vec<String>, String)> {
    let mut report = pairs::test(&options.pairs)?;
    let changes = report.matrix.compare(options.accept)?;
    report.failures.extend(changes.into_iter().map(|change| format!("matrix.txt: {change}")));
    let pairs::Report { overlaps, waited, refused, .. } = report;
    let summary = format!(
        "{overlaps} meetings, in {waited} the second call waited, {refused} ended with a serialisation failure"
    );
    Ok((report.passed, report.failures, summary))
}

fn stress(options: &Options) -> Fallible<(usize, Vec<String>, String)> {
    let report = stress::test(options.seconds, options.seed, options.clock_file.as_deref())?;
    let mut lines: Vec<String> = Vec::new();
    for (function, (calls, codes)) in &report.answers {
        let mut codes: Vec<String> = codes.iter().map(|(code, times)| format!("{times} x {code}")).collect();
        codes.sort_unstable();
        lines.push(format!("  {function:<20} {calls:>7} calls  {}", codes.join(", ")));
    }
    lines.sort_unstable();
    println!("{}", lines.join("\n"));
    let summary = format!(
        "{} calls of {} sessions, {} attempts handed out, the longest call took {} ms",
        report.calls,
        stress::SESSIONS,
        report.handed_out,
        report.longest.as_millis()
    );
    let passed = usize::from(report.failures.is_empty());
    Ok((passed, report.failures, summary))
}
