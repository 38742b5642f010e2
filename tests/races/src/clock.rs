//! The clock is moved back by an hour: what is stored lies in the future then. Leases last longer than they should and
//! what is to come comes late, but nothing is handed out twice, nothing is refused, and everything ends.
//!
//! The clock stays and the rows are moved, which is the same to the engine, as it never compares two clocks;
//! `tests/races/clock` moves the clock of a server for real.

use crate::leases::{MESSAGES, Scene};
use crate::server::{Database, Fallible, ask};
use crate::work;

#[derive(Default)]
pub struct Report {
    pub passed: usize,
    pub failures: Vec<String>,
}

impl Report {
    fn check(&mut self, holds: bool, what: &str) {
        self.passed += usize::from(holds);
        if !holds {
            self.failures.push(what.to_owned());
        }
    }
}

const CLAIM: &str = "select attempt from pgflow.claim_step_tasks('t', 10)";
const BACK: &str = "1 hour";
const ON: &str = "-1 hour";

pub fn test() -> Fallible<Report> {
    let database = Database::create("clock")?;
    let mut scene = Scene::new(&database)?;
    let mut report = Report::default();
    for message in MESSAGES {
        leased(&mut scene, message, &mut report)?;
    }
    queued(&mut scene, &mut report)?;
    delayed(&mut scene, &mut report)?;
    ended(&mut scene, &mut report)?;
    let integrity = work::to_the_end(&mut scene.db, &["t"])?;
    report.check(integrity.is_empty(), &integrity.join("; "));
    Ok(report)
}

/// Whoever has a lease keeps it, and its result counts, though it finishes before it began.
fn leased(scene: &mut Scene, message: &(&str, &str, &str), report: &mut Report) -> Fallible<()> {
    let (name, call, makes) = *message;
    scene.begin()?;
    scene.shift(BACK)?;
    let taken = ask(&mut scene.db, CLAIM);
    report.check(
        taken.rows.is_empty() && taken.code.is_none(),
        &format!("{name}: a leased task is handed out: {taken:?}"),
    );
    let lease = scene.lease.clone();
    let sql = scene.fill(call, &lease);
    let answer = ask(&mut scene.db, &sql);
    let told = if name == "settle and claim" { "f" } else { "t" };
    report.check(answer.rows == [told], &format!("{name} after the clock went back: {answer:?}"));
    let attempts = scene.attempts()?;
    report.check(attempts.starts_with(makes), &format!("{name} after the clock went back leaves {attempts}"));
    // An extended lease begins now, by the new clock; then it runs out by it.
    if makes == "started" {
        let sql = format!(
            "select lease_expires_at between clock_timestamp() + interval '50 seconds'
                                        and clock_timestamp() + interval '61 seconds'
             from pgflow.live_tasks where run_id = '{}'",
            scene.run
        );
        report.check(scene.one(&sql)? == "t", "an extended lease does not begin now");
    }
    // What was handed back or is tried again is claimed once, at the latest when the clock has caught up.
    let mut all = ask(&mut scene.db, CLAIM).rows;
    if all.is_empty() {
        scene.shift(ON)?;
        all = ask(&mut scene.db, CLAIM).rows;
    }
    let wanted: &[&str] = match (makes, name) {
        ("queued", _) => &["1"],
        ("failed", "fail" | "fail in a batch") => &["2"],
        // The extended lease has run out by now.
        ("started", _) => &["2"],
        _ => &[],
    };
    report.check(all == wanted, &format!("{name}: then {all:?} is handed out and not {wanted:?}"));
    ask(&mut scene.db, &format!("select status from pgflow.cancel_run('{}')", scene.run));
    Ok(())
}

/// Tasks that wait are handed out once, those of runs before and after in one queue.
fn queued(scene: &mut Scene, report: &mut Report) -> Fallible<()> {
    for _ in 0..5 {
        scene.run = scene.one("select pgflow.run_flow('t')")?;
        scene.shift(BACK)?;
        scene.one("select pgflow.run_flow('t')")?;
    }
    let mut runs = Vec::new();
    for _ in 0..12 {
        runs.extend(ask(&mut scene.db, "select run_id from pgflow.claim_step_tasks('t', 1)").rows);
    }
    let count = runs.len();
    runs.sort_unstable();
    runs.dedup();
    report.check(
        count == 10 && runs.len() == 10,
        &format!("of 10 ready tasks {count} were handed out, of {} runs", runs.len()),
    );
    for run in &runs {
        scene.run.clone_from(run);
        let receipt = ask(&mut scene.db, &format!("select accepted from pgflow.complete_step_task('{run}', 'a')"));
        report.check(receipt.rows == ["t"], &format!("a result is answered with {receipt:?}"));
    }
    Ok(())
}

/// Retries, delayed steps and delayed runs come late, but come, and once.
fn delayed(scene: &mut Scene, report: &mut Report) -> Fallible<()> {
    let fail = "select accepted from pgflow.fail_step_task('{run}', 'a', 'again', 0, {lease}, retry_after => 30)";
    scene.begin()?;
    let lease = scene.lease.clone();
    let sql = scene.fill(fail, &lease);
    scene.one(&sql)?;
    for (moved, wanted, what) in [
        (BACK, "", "a retry comes early"),
        (ON, "", "a retry comes before its time"),
        ("-1 minute", "2", "a retry does not come when its time has come"),
        ("-1 second", "", "a retry comes twice"),
    ] {
        scene.shift(moved)?;
        let got = ask(&mut scene.db, CLAIM).rows.concat();
        report.check(got == wanted, &format!("{what}: {got:?}"));
    }
    scene.run = scene.one("select pgflow.run_flow('t', start_at => clock_timestamp() + interval '30 seconds')")?;
    for (moved, wanted, what) in [
        (BACK, "", "a delayed run begins early"),
        (ON, "", "a delayed run begins before its time"),
        ("-1 minute", "1", "a delayed run does not begin when its time has come"),
    ] {
        scene.shift(moved)?;
        let got = ask(&mut scene.db, CLAIM).rows.concat();
        report.check(got == wanted, &format!("{what}: {got:?}"));
    }
    Ok(())
}

/// What is done with a run as a whole does not mind that it began, or ended, in the future.
fn ended(scene: &mut Scene, report: &mut Report) -> Fallible<()> {
    scene.begin()?;
    scene.shift(BACK)?;
    let run = scene.run.clone();
    for (call, wanted) in [
        ("select status from pgflow.cancel_run('{run}', 'called off')", "cancelled"),
        ("select status from pgflow.retry_run('{run}')", "started"),
        ("select status from pgflow.cancel_run('{run}')", "cancelled"),
        ("select status from pgflow.runs where run_id = pgflow.fork_run('{run}', '{a}')", ""),
        ("select pgflow.get_run('{run}')->'run'->>'status'", "cancelled"),
    ] {
        let answer = ask(&mut scene.db, &call.replace("{run}", &run));
        let right = answer.code.is_none() && answer.rows.concat() == wanted;
        report.check(right, &format!("{call}: {answer:?}"));
    }
    // It ended an hour from now, so it is too young to be pruned, until then.
    scene.shift(BACK)?;
    let is_kept = format!("select count(*) from pgflow.runs where run_id = '{run}'");
    scene.one("select pgflow.prune_runs('0')")?;
    report.check(scene.one(&is_kept)? == "1", "a run that ends in the future is pruned");
    scene.shift("-2 hours")?;
    scene.one("select pgflow.prune_runs('0')")?;
    report.check(scene.one(&is_kept)? == "0", "a run is not pruned when it has ended long ago");
    Ok(())
}
