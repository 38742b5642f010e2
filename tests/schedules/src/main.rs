//! Random schedules: small random flows, worked by sessions whose every statement is started by one deterministic
//! scheduler, so that transactions overlap in ways that the seed decides, and compared at the end with the reference
//! interpreter of the model test.
//!
//! ```text
//! PGHOST=… PGDATABASE=… pgflow-schedules-test [--seed N] [--schedules 1500] [--minutes M] [--trace] [--twice]
//! ```
//!
//! The database must have the extension and no flows, and is emptied after each schedule; the user is a superuser.
//! Schedule n has seed N + n, so that `--seed N --schedules 1 --trace` plays one again and prints what happened. Every
//! tenth, or each with `--twice`, is played twice and must take the same course, byte by byte. In the end some are played
//! with something broken by hand on the way, which must be noticed each time.
//!
//! `program` is what a seed says; `play` plays it, `drain` ends it; `crew` tells who waits for whom, `session` speaks to
//! the server; `calls` chooses calls, `answers` judges what comes back by the `ledger`, which knows where each task must
//! stand; `verdict` looks at the end, `sabotage` breaks things.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod calls;
mod crew;
mod drain;
mod ledger;
mod play;
mod program;
mod sabotage;
mod session;
mod verdict;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use pgflow_model_test::calls::Fault;

use crate::crew::Crew;
use crate::play::{Played, play};
use crate::program::{Level, Program};
use crate::sabotage::KINDS;

const MOST_SESSIONS: usize = 4;
/// Every so many schedules the tables are truncated: dead rows of many would only cost time.
const TRUNCATED: u64 = 25;
/// Every so many schedules one is played twice.
const PLAYED_TWICE: u64 = 10;
/// Schedules in which something is broken by hand, of each kind.
const SABOTAGED: u64 = 5;
const REPORTS: u64 = 3;
const MOST_FAILURES: u64 = 10;
/// How many schedules are played at most to make a failing one shorter.
const SHRINKING: usize = 150;

struct Options {
    seed: u64,
    schedules: u64,
    minutes: Option<u64>,
    trace: bool,
    twice: bool,
}

fn options() -> Result<Options, String> {
    let seed = rand::random_range(1..1_000_000_000);
    let mut options = Options { seed, schedules: 1500, minutes: None, trace: false, twice: false };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        match name.as_str() {
            "--trace" => options.trace = true,
            "--twice" => options.twice = true,
            _ => {}
        }
        if name == "--trace" || name == "--twice" {
            continue;
        }
        if !["--seed", "--schedules", "--minutes"].contains(&name.as_str()) {
            return Err(format!("unknown option {name}"));
        }
        let value = args.next().and_then(|v| v.parse::<u64>().ok()).ok_or_else(|| format!("{name} needs a number"))?;
        match name.as_str() {
            "--seed" => options.seed = value,
            "--schedules" => options.schedules = value,
            _ => options.minutes = Some(value),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("pgflow-schedules-test: {problem}");
            return ExitCode::from(2);
        }
    };
    println!("seed {}", options.seed);
    match Stage::set().and_then(|mut stage| stage.test(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("pgflow-schedules-test: {}", Fault::from(error));
            ExitCode::from(2)
        }
    }
}

/// What schedules are played on.
struct Stage {
    crew: Crew,
    is_clean: bool,
    plays: u64,
    passed: u64,
    failed: u64,
}

impl Stage {
    fn set() -> Result<Stage, postgres::Error> {
        let mut crew = Crew::connect(MOST_SESSIONS)?;
        let flows: i64 = crew.admin.query_one("select count(*) from pgflow.flows", &[])?.try_get(0)?;
        if flows > 0 {
            eprintln!("pgflow-schedules-test: the database has flows, and would be emptied: give it one of its own");
            std::process::exit(2);
        }
        let tables = "alter table pgflow.runs set (autovacuum_enabled = off);
                      alter table pgflow.step_states set (autovacuum_enabled = off);
                      alter table pgflow.step_tasks set (autovacuum_enabled = off);
                      alter table pgflow.live_tasks set (autovacuum_enabled = off)";
        crew.admin.batch_execute(tables)?;
        Ok(Stage { crew, is_clean: false, plays: 0, passed: 0, failed: 0 })
    }

    /// Leaves nothing of the last schedule, for serialisable ones not even dead rows: PostgreSQL looks for their
    /// conflicts by page.
    fn play(&mut self, program: &Program, sabotage: Option<sabotage::Kind>) -> Result<Played, postgres::Error> {
        self.plays += 1;
        if !self.is_clean
            || self.plays.is_multiple_of(TRUNCATED)
            || program.uses(Level::Serializable)
            || program.scale > 1
        {
            self.crew.admin.batch_execute(
                "truncate pgflow.flows, pgflow.flow_versions, pgflow.steps, pgflow.deps, pgflow.runs,
                 pgflow.idempotency_keys, pgflow.step_states, pgflow.step_tasks, pgflow.live_tasks",
            )?;
        }
        let played = play(&mut self.crew, program, sabotage);
        self.is_clean = false;
        if played.stuck {
            self.crew = Crew::connect(MOST_SESSIONS)?;
        } else {
            self.crew.admin.execute("select pgflow.delete_flow($1, true)", &[&program.flow.slug])?;
            self.is_clean = true;
        }
        Ok(played)
    }

    fn test(&mut self, options: &Options) -> Result<bool, postgres::Error> {
        let begun = Instant::now();
        let (mut played, mut statements, mut waits, mut conflicts) = (0, 0, 0, 0);
        loop {
            let enough = match options.minutes {
                Some(minutes) => begun.elapsed() >= Duration::from_secs(60 * minutes),
                None => played >= options.schedules,
            };
            if enough || self.failed >= MOST_FAILURES {
                break;
            }
            let program = Program::new(options.seed + played);
            let result = self.play(&program, None)?;
            if options.trace {
                println!("schedule {}\n{}", program.seed, result.trace);
            }
            statements += result.statements;
            waits += result.waits;
            conflicts += result.conflicts;
            if !result.problems.is_empty() {
                self.report(&program, result)?;
            } else if (options.twice || played.is_multiple_of(PLAYED_TWICE))
                && !self.takes_the_same_course(&program, &result)?
            {
                self.failed += 1;
            } else {
                self.passed += 1;
            }
            played += 1;
        }
        let noticed = self.sabotage(options.seed, played.min(SABOTAGED * KINDS.len() as u64))?;
        println!(
            "seed {}: {played} schedules, {statements} statements, {waits} waits, {conflicts} serialisation failures; \
             {noticed} schedules with something broken by hand noticed; {:.1} s",
            options.seed,
            begun.elapsed().as_secs_f64()
        );
        println!("{} passed, {} failed", self.passed, self.failed);
        Ok(self.failed == 0)
    }

    fn takes_the_same_course(&mut self, program: &Program, first: &Played) -> Result<bool, postgres::Error> {
        let second = self.play(program, None)?;
        if second.trace == first.trace {
            return Ok(true);
        }
        let differs = first.trace.lines().zip(second.trace.lines()).position(|(a, b)| a != b);
        println!("FAIL seed {}: played twice, it took two courses, from line {differs:?} on", program.seed);
        println!("{}\nand\n{}", first.trace, second.trace);
        Ok(false)
    }

    /// Plays schedules in which something is broken by hand: each must be noticed.
    fn sabotage(&mut self, seed: u64, wanted: u64) -> Result<u64, postgres::Error> {
        let mut noticed = 0;
        let mut next = seed;
        for n in 0..wanted {
            let kind = KINDS[usize::try_from(n).unwrap_or(0) % KINDS.len()];
            for _ in 0..30 {
                let mut program = Program::new(next);
                next += 1;
                // Of a run that fails or is cancelled on the way not everything can be known.
                let is_calm = program.expected.iter().all(|e| !e.fails) && program.plans.iter().all(|p| !p.disturbed);
                if !is_calm || program.uses(Level::Serializable) {
                    continue;
                }
                if kind == sabotage::Kind::ExpectOther {
                    program.expected[0].output = Some(serde_json::json!("something else"));
                }
                let result = self.play(&program, Some(kind))?;
                if !result.sabotaged {
                    continue;
                }
                // A task that is doubled just before its holder hands it back is where it would be anyway.
                let may_be_masked = kind == sabotage::Kind::DoubleTask && result.trace.contains("release ");
                if result.problems.is_empty() && may_be_masked {
                    continue;
                }
                if result.problems.is_empty() {
                    println!("FAIL seed {}: {kind:?} was not noticed\n{}", program.seed, result.trace);
                    self.failed += 1;
                } else {
                    noticed += 1;
                    self.passed += 1;
                }
                break;
            }
        }
        Ok(noticed)
    }

    fn report(&mut self, program: &Program, result: Played) -> Result<(), postgres::Error> {
        self.failed += 1;
        println!("FAIL seed {}: {}", program.seed, result.problems[0]);
        if self.failed > REPORTS {
            return Ok(());
        }
        let (program, result) = self.shrink(program.clone(), result)?;
        println!("  the shortest schedule found that fails:\n{}", result.trace);
        result.problems.iter().for_each(|problem| println!("  {problem}"));
        println!("  definition: {}", program.flow.definition(program::QUEUES));
        program.plans.iter().enumerate().for_each(|(slot, plan)| println!("  payload of r{slot}: {}", plan.payload));
        println!("  again: pgflow-schedules-test --seed {} --schedules 1 --trace", program.seed);
        Ok(())
    }

    /// Leaves out transactions for as long as it still fails.
    fn shrink(&mut self, mut program: Program, mut result: Played) -> Result<(Program, Played), postgres::Error> {
        let mut left = SHRINKING;
        loop {
            let mut shrunk = false;
            for session in 0..program.sessions.len() {
                for transaction in (0..program.sessions[session].len()).rev() {
                    if left == 0 {
                        return Ok((program, result));
                    }
                    left -= 1;
                    let less = program.without(session, transaction);
                    let again = self.play(&less, None)?;
                    if !again.problems.is_empty() {
                        (program, result) = (less, again);
                        shrunk = true;
                    }
                }
            }
            if !shrunk {
                return Ok((program, result));
            }
        }
    }
}
