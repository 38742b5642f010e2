//! The fuzzer: hostile documents, batches and calls against a real server, and its memory after very many calls.
//!
//! ```text
//! PGHOST=… PGDATABASE=… pgflow-fuzz-test [--seed N] [--documents 2000] [--batches 600] [--calls 6000] [--memory 50000 [--kind K]]
//! ```
//!
//! `cargo fuzz` wants a nightly toolchain and a library without a server around it, so this is a seeded fuzzer that knows
//! the structure of its inputs and drives the SQL functions themselves. Each number says how many; 0 leaves a target
//! out; `--kind` picks one of the kinds that `memory` knows. `--seed`, random when not given, and printed, brings back an input as the same seed plus its number; calls also
//! depend on the ids of runs, so the script of one that failed is kept. Inputs that failed, and others worth keeping,
//! are files in `corpus/`, and tried first. The database must have the extension, and nothing else of value; the user is
//! a superuser, and the server runs on this machine.
//!
//! `json` makes and mutates documents, `values` hostile arguments, `ways` the scripts that make a call; `define`,
//! `settle`, `calls` and `memory` are the targets, each with what it expects. `server` is a session, `report` counts.
//! The exit status is 1 when anything was not as expected.

use std::process::ExitCode;
use std::time::Instant;

use report::Report;
use server::{Refusal, Server};

mod calls;
mod define;
mod json;
mod memory;
mod report;
mod server;
mod settle;
mod values;
mod ways;

struct Options {
    seed: u64,
    documents: u64,
    batches: u64,
    calls: u64,
    memory: u64,
    kind: Option<String>,
}

fn options() -> Result<Options, String> {
    let seed = rand::random_range(1..1_000_000_000);
    let mut options = Options { seed, documents: 2000, batches: 600, calls: 6000, memory: 50_000, kind: None };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let option = match name.as_str() {
            "--seed" => &mut options.seed,
            "--documents" => &mut options.documents,
            "--batches" => &mut options.batches,
            "--calls" => &mut options.calls,
            "--memory" => &mut options.memory,
            "--kind" => {
                options.kind = args.next();
                continue;
            }
            _ => return Err(format!("unknown option {name}")),
        };
        *option = args.next().and_then(|v| v.parse().ok()).ok_or_else(|| format!("{name} needs a number"))?;
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("pgflow-fuzz-test: {problem}");
            return ExitCode::from(2);
        }
    };
    println!("seed {}", options.seed);
    match test(&options) {
        Ok((passed, failed)) => {
            println!("{passed} passed, {failed} failed");
            ExitCode::from(u8::from(failed > 0))
        }
        Err(refusal) => {
            eprintln!("pgflow-fuzz-test: {refusal}");
            ExitCode::from(2)
        }
    }
}

type Target<'a> = &'a dyn Fn(&mut Server, &mut Report) -> Result<(), Refusal>;

fn test(options: &Options) -> Result<(u64, u64), Refusal> {
    let Options { seed, documents, batches, calls, memory, .. } = *options;
    let kind = options.kind.as_deref();
    let mut server = Server::connect("fuzz").map_err(|e| Refusal::from(&e))?;
    let targets: [(&str, u64, Target); 4] = [
        ("define", documents, &|server, report| define::fuzz(server, seed, documents, report)),
        ("settle", batches, &|server, report| settle::fuzz(server, seed, batches, report)),
        ("calls", calls, &|server, report| calls::fuzz(server, seed, calls, report)),
        ("memory", memory, &|server, report| memory::test(server, memory, kind, report)),
    ];
    let mut totals = (0, 0);
    for (name, _, target) in targets.iter().filter(|(_, size, _)| *size > 0) {
        server.execute(include_str!("../sql/setup.sql"))?;
        server.warnings();
        let begun = Instant::now();
        let mut report = Report::default();
        target(&mut server, &mut report)?;
        println!("{}", report.line(name, begun.elapsed().as_secs_f64()));
        totals = (totals.0 + report.passed, totals.1 + report.failed);
    }
    server.execute("drop schema fuzz, fuzz_hostile cascade")?;
    // Other databases of the cluster may be fuzzed as well, and then need them.
    let roles = ["pgflow_fuzz_nobody", "pgflow_fuzz_somebody"];
    roles.iter().for_each(|role| drop(server.execute(&format!("drop owned by {role}; drop role {role}"))));
    Ok(totals)
}
