//! Leases and the clock: who has lost a lease is told so, whenever it comes back and with whatever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postgres::Client;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::server::{Answer, Database, Fallible, ask};
use crate::work;

/// What a worker sends: a name, a call with `{run}` and `{lease}`, and what an accepted one makes of the attempt.
type Message = (&'static str, &'static str, &'static str);

pub const MESSAGES: &[Message] = &[
    ("complete", "select accepted from pgflow.complete_step_task('{run}', 'a', '1', 0, {lease})", "completed"),
    ("fail", "select accepted from pgflow.fail_step_task('{run}', 'a', 'again', 0, {lease})", "failed"),
    (
        "fail for good",
        "select accepted from pgflow.fail_step_task('{run}', 'a', 'for good', 0, {lease}, false)",
        "failed",
    ),
    ("extend", "select accepted from pgflow.extend_step_task('{run}', 'a', 0, {lease}, 60)", "started"),
    ("release", "select accepted from pgflow.release_step_task('{run}', 'a', 0, {lease})", "queued"),
    (
        "complete in a batch",
        r#"select accepted from pgflow.settle_step_tasks(
             '[{"run_id": "{run}", "step_slug": "a", "lease": {lease}, "output": 1}]')"#,
        "completed",
    ),
    (
        "fail in a batch",
        r#"select accepted from pgflow.settle_step_tasks(
             '[{"run_id": "{run}", "step_slug": "a", "lease": {lease}, "error_message": "again"}]')"#,
        "failed",
    ),
    (
        "release in a batch",
        r#"select accepted from pgflow.settle_step_tasks(
             '[{"run_id": "{run}", "step_slug": "a", "lease": {lease}, "release": true}]')"#,
        "queued",
    ),
    // Its receipt is not told: `f` when nothing came of it.
    (
        "settle and claim",
        r#"with claimed as (select 1 from pgflow.settle_and_claim(
             '[{"run_id": "{run}", "step_slug": "a", "lease": {lease}, "output": 1}]', 'elsewhere'))
           select case when exists (select from claimed) then 'claimed' else 'f' end"#,
        "completed",
    ),
];

#[derive(Default)]
pub struct Report {
    pub passed: usize,
    pub failures: Vec<String>,
    /// At the moment of expiry: how often the result was first, how often the claimer.
    pub results_first: usize,
    pub claims_first: usize,
}

/// A run of one step, and the lease of whoever works on it.
pub struct Scene {
    pub db: Client,
    pub run: String,
    pub lease: String,
}

impl Scene {
    pub fn new(database: &Database) -> Fallible<Scene> {
        let mut db = database.connect("races: worker")?;
        db.simple_query("select pgflow.create_flow('t', max_attempts => 10, base_delay => 0, timeout => 60)")?;
        db.simple_query("select pgflow.add_step('t', 'a')")?;
        Ok(Scene { db, run: String::new(), lease: String::new() })
    }

    /// A new run whose only task is claimed.
    pub fn begin(&mut self) -> Fallible<()> {
        self.run = self.one("select pgflow.run_flow('t')")?;
        self.lease = self.one("select lease from pgflow.claim_step_tasks('t', 1)")?;
        Ok(())
    }

    pub fn one(&mut self, sql: &str) -> Fallible<String> {
        let answer = ask(&mut self.db, sql);
        match (&answer.code, answer.rows.as_slice()) {
            (None, [row]) => Ok(row.clone()),
            _ => Err(format!("{sql}: one row expected, but {answer:?}").into()),
        }
    }

    pub fn fill(&self, sql: &str, lease: &str) -> String {
        sql.replace("{run}", &self.run).replace("{lease}", lease)
    }

    /// Moves all times of the run, as if the clock had been moved the other way.
    pub fn shift(&mut self, by: &str) -> Fallible<()> {
        let run = &self.run;
        self.db.batch_execute(&format!(
            "update pgflow.runs set created_at = created_at + '{by}', start_at = start_at + '{by}',
               started_at = started_at + '{by}', finished_at = finished_at + '{by}' where run_id = '{run}';
             update pgflow.step_states set created_at = created_at + '{by}', started_at = started_at + '{by}',
               finished_at = finished_at + '{by}' where run_id = '{run}';
             update pgflow.step_tasks set queued_at = queued_at + '{by}', started_at = started_at + '{by}',
               finished_at = finished_at + '{by}' where run_id = '{run}';
             update pgflow.live_tasks set ready_at = ready_at + '{by}', lease_expires_at = lease_expires_at + '{by}'
               where run_id = '{run}'"
        ))?;
        Ok(())
    }

    /// All that is stored of the run, times and leases included.
    pub fn everything(&mut self) -> Fallible<String> {
        let run = self.run.clone();
        self.one(&format!(
            "select jsonb_build_array(
               (select to_jsonb(r) from pgflow.runs r where run_id = '{run}'),
               (select jsonb_agg(to_jsonb(s)) from pgflow.step_states s where run_id = '{run}'),
               (select jsonb_agg(to_jsonb(t) order by attempt) from pgflow.step_tasks t where run_id = '{run}'),
               (select jsonb_agg(to_jsonb(l)) from pgflow.live_tasks l where run_id = '{run}'))"
        ))
    }

    pub fn attempts(&mut self) -> Fallible<String> {
        let sql = format!(
            "select string_agg(status, ' ' order by attempt) from pgflow.step_tasks where run_id = '{}'",
            self.run
        );
        self.one(&sql)
    }

    /// Every message under an old lease is refused and changes nothing.
    pub fn is_fenced_off(&mut self, lease: &str, when: &str, failures: &mut Vec<String>) -> Fallible<usize> {
        for (name, call, _) in MESSAGES {
            let before = self.everything()?;
            let sql = self.fill(call, lease);
            let answer = ask(&mut self.db, &sql);
            if answer.rows != ["f"] {
                failures.push(format!("{when}: {name} is answered with {answer:?}"));
            }
            if self.everything()? != before {
                failures.push(format!("{when}: {name} changed something"));
            }
        }
        Ok(MESSAGES.len())
    }
}

pub fn test(rounds: usize, seed: u64) -> Fallible<Report> {
    let database = Database::create("leases")?;
    let mut report = Report::default();
    // What is answered with something else than one row ends a part, not the report.
    let enter = |part: Fallible<()>, report: &mut Report| {
        report.failures.extend(part.err().map(|error| error.to_string()));
    };
    let moment = at_the_moment_of_expiry(&database, rounds, seed, &mut report);
    enter(moment, &mut report);
    for part in [three_leases, an_hour_later] {
        let mut scene = Scene::new(&database)?;
        let ended = part(&mut scene, &mut report);
        enter(ended, &mut report);
        report.failures.extend(work::to_the_end(&mut scene.db, &["t"])?);
    }
    Ok(report)
}

/// A result and a claimer arrive when the lease runs out: exactly one of them has the task.
fn at_the_moment_of_expiry(database: &Database, rounds: usize, seed: u64, report: &mut Report) -> Fallible<()> {
    let mut scene = Scene::new(database)?;
    let mut claimer = database.connect("races: claimer")?;
    let mut rng = StdRng::seed_from_u64(seed);
    let left = Duration::from_millis(6);
    let expire = "update pgflow.live_tasks set lease_expires_at = clock_timestamp() + interval '6 ms'";
    for (name, call, makes) in MESSAGES {
        let mut wins = [0, 0];
        // Where the two meet depends on the machine: aimed at by how the rounds before went.
        let mut aim: i64 = 1_000;
        for _ in 0..rounds {
            scene.begin()?;
            let sql = scene.fill(call, &scene.lease);
            let expire = format!("{expire} where run_id = '{}'", scene.run);
            let is_over = AtomicBool::new(false);
            let expiry = Instant::now() + left;
            scene.db.simple_query(&expire)?;
            let early = Duration::from_micros(5_000);
            let after = u64::try_from(5_000 + aim + rng.random_range(-500..500)).unwrap_or(0);
            let send_at = expiry - early + Duration::from_micros(after);
            let (sent, taken) = std::thread::scope(|scope| {
                let claims = scope.spawn(|| -> Vec<String> {
                    loop {
                        let last = is_over.load(Ordering::Relaxed);
                        let answer = ask(&mut claimer, "select attempt from pgflow.claim_step_tasks('t', 1)");
                        if last || !answer.rows.is_empty() || answer.code.is_some() {
                            return answer.code.into_iter().chain(answer.rows).collect();
                        }
                    }
                });
                while Instant::now() < send_at {
                    std::hint::spin_loop();
                }
                let sent = ask(&mut scene.db, &sql);
                is_over.store(true, Ordering::Relaxed);
                (sent, claims.join().unwrap_or_default())
            });
            let attempts = scene.attempts()?;
            let first = judge(&sent, &taken, &attempts, makes);
            match first {
                Some(result) => {
                    wins[usize::from(!result)] += 1;
                    aim = (aim + if result { 300 } else { -300 }).clamp(-4_000, 4_000);
                }
                None => report.failures.push(format!(
                    "{name} at the moment of expiry: answered {sent:?}, the claimer got {taken:?}, attempts {attempts}"
                )),
            }
            report.passed += usize::from(first.is_some());
            ask(&mut scene.db, &format!("select status from pgflow.cancel_run('{}')", scene.run));
        }
        report.results_first += wins[0];
        report.claims_first += wins[1];
        if wins.contains(&0) && rounds >= 20 {
            report
                .failures
                .push(format!("{name} never met the claimer: {} results and {} claims were first", wins[0], wins[1]));
        }
    }
    Ok(())
}

/// Whether the result was first; nothing when what is there is neither.
fn judge(sent: &Answer, taken: &[String], attempts: &str, makes: &str) -> Option<bool> {
    let is_silent = sent.rows == ["f"] && makes == "completed" && attempts.starts_with("completed");
    let accepted = match sent.rows.as_slice() {
        [row] => row == "t" || is_silent,
        _ => return None,
    };
    let (wanted, claims): (&[&str], &str) = match (accepted, makes) {
        (false, _) => (&["expired started"], "2"),
        (true, "completed") => (&["completed"], ""),
        (true, "started") => (&["started"], ""),
        // The claimer takes up what was handed back, as the same attempt.
        (true, "queued") => (&["started"], "1"),
        // A failed attempt is followed by the next one, unless it failed for good.
        (true, _) => (&["failed started", "failed"], if attempts == "failed" { "" } else { "2" }),
    };
    (wanted.contains(&attempts) && taken.concat() == claims).then_some(accepted)
}

/// Three times the lease runs out and another worker takes over; then they all come back.
fn three_leases(scene: &mut Scene, report: &mut Report) -> Fallible<()> {
    scene.begin()?;
    let mut old = vec![scene.lease.clone()];
    for attempt in 2..=4 {
        scene.shift("-1 hour")?;
        let row = scene.one("select attempt || ' ' || lease from pgflow.claim_step_tasks('t', 1)")?;
        let (number, lease) = row.split_once(' ').unwrap_or_default();
        if number != attempt.to_string() {
            report.failures.push(format!("the takeover is attempt {number} and not {attempt}"));
        }
        for lease in &old {
            let when = format!("under attempt {attempt}");
            report.passed += scene.is_fenced_off(lease, &when, &mut report.failures)?;
        }
        old.push(lease.to_owned());
    }
    let last = old.pop().unwrap_or_default();
    let sql = scene.fill(MESSAGES[0].1, &last);
    let accepted = scene.one(&sql)?;
    let attempts = scene.attempts()?;
    if accepted != "t" || attempts != "expired expired expired completed" {
        report.failures.push(format!("the fourth worker: accepted {accepted}, attempts {attempts}"));
    }
    for lease in &old {
        report.passed += scene.is_fenced_off(lease, "after the end", &mut report.failures)?;
    }
    Ok(())
}

/// A worker returns after an hour: nobody took over and its result counts; or somebody did, and has finished or not.
fn an_hour_later(scene: &mut Scene, report: &mut Report) -> Fallible<()> {
    scene.begin()?;
    scene.shift("-1 hour")?;
    let (extend, complete) = (scene.fill(MESSAGES[3].1, &scene.lease), scene.fill(MESSAGES[0].1, &scene.lease));
    if scene.one(&extend)? != "t" || scene.one(&complete)? != "t" || scene.attempts()? != "completed" {
        report.failures.push("after an hour, though nobody took over, the worker is not heard".to_owned());
    }
    report.passed += 1;
    for finished in [false, true] {
        scene.begin()?;
        let old = scene.lease.clone();
        scene.shift("-1 hour")?;
        let new = scene.one("select lease from pgflow.claim_step_tasks('t', 1)")?;
        if finished {
            let sql = scene.fill(MESSAGES[0].1, &new);
            scene.one(&sql)?;
            scene.shift("-1 hour")?;
        }
        let when = if finished { "an hour after the end" } else { "an hour after a takeover" };
        report.passed += scene.is_fenced_off(&old, when, &mut report.failures)?;
    }
    // When even the run is gone.
    let (old, run) = (scene.lease.clone(), scene.run.clone());
    scene.one("select pgflow.prune_runs('0')")?;
    let sql = scene.fill(MESSAGES[0].1, &old);
    if !ask(&mut scene.db, &sql).is("PT404") {
        report.failures.push(format!("a result for the pruned run {run} is not PT404"));
    }
    report.passed += 1;
    Ok(())
}
