//! Limits: sixteen sessions claim as much as they get of a queue that is limited in every way, with batches of any size
//! and at mixed isolation levels, hold it for a moment and settle it somehow. At no moment more than allowed is under way,
//! and in no window more was started: by what the sessions hold, by what another session sees, and by the history. And the
//! limits are reached, so they were what held the sessions back.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postgres::Client;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::pairs::lock;
use crate::server::{Database, Fallible, ask};
use crate::work;

const SESSIONS: u64 = 16;
const KEYS: usize = 6;
const RUNNING: i64 = 7;
const RUNNING_PER_KEY: i64 = 2;
const STARTED: usize = 50;
const STARTED_PER_KEY: usize = 15;
const PERIOD: i64 = 1_000_000;
/// So many runs wait when the director has seen to it.
const WAITING: usize = 300;

#[derive(Default)]
pub struct Report {
    pub passed: usize,
    pub failures: Vec<String>,
    pub starts: usize,
    pub busiest: usize,
    pub most_running: i64,
    pub refused: usize,
}

/// A task that a session holds. Empty keys are none.
struct Task {
    result: String,
    key: String,
    started: i64,
}

#[derive(Default)]
struct Ledger {
    held: HashMap<String, i64>,
    most: i64,
    most_of_key: i64,
    most_seen: i64,
    most_seen_of_key: i64,
    starts: Vec<(i64, String)>,
    refused: usize,
    failures: Vec<String>,
}

impl Ledger {
    /// Tasks begin to be held when their claim was committed, and end before anything is said to the server.
    fn hold(&mut self, tasks: &[Task], how_much: i64) {
        for task in tasks {
            *self.held.entry(task.key.clone()).or_default() += how_much;
        }
        self.most = self.most.max(self.held.values().sum());
        let keyed = self.held.iter().filter(|(key, _)| !key.is_empty());
        self.most_of_key = self.most_of_key.max(keyed.map(|(_, held)| *held).max().unwrap_or(0));
        if how_much > 0 {
            self.starts.extend(tasks.iter().map(|task| (task.started, task.key.clone())));
        }
    }
}

pub fn test(seconds: u64, seed: u64) -> Fallible<Report> {
    let database = Database::create("limits")?;
    let mut director = database.connect("races: director")?;
    director.batch_execute(&format!(
        r#"select pgflow.define_flow('{{"flow_slug": "f", "max_attempts": 1000, "base_delay": 0,
                                        "steps": [{{"step_slug": "s", "queue": "limited"}}]}}');
           select pgflow.limit_queue('limited', {RUNNING}, {STARTED}, '{PERIOD} microseconds', {RUNNING_PER_KEY},
                                     {STARTED_PER_KEY})"#
    ))?;
    let ledger = Mutex::new(Ledger::default());
    let over = AtomicBool::new(false);
    let mut clients: Vec<Client> =
        (0..SESSIONS).map(|no| database.connect(&format!("races: session {no}"))).collect::<Fallible<_>>()?;
    let mut monitor = database.connect("races: monitor")?;
    std::thread::scope(|scope| -> Fallible<()> {
        for (no, client) in clients.iter_mut().enumerate() {
            let rng = StdRng::seed_from_u64(seed.wrapping_mul(1000).wrapping_add(no as u64));
            let mut session = Session { client, rng, ledger: &ledger };
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    session.act();
                }
            });
        }
        let begun = Instant::now();
        let watched = (|| {
            while begun.elapsed() < Duration::from_secs(seconds) {
                feed(&mut director)?;
                watch(&mut monitor, &ledger)?;
            }
            Ok(())
        })();
        over.store(true, Ordering::Relaxed);
        watched
    })?;
    director.batch_execute("select pgflow.limit_queue('limited')")?;
    let ledger = ledger.into_inner().unwrap_or_default();
    let mut report = verdict(&mut director, ledger)?;
    let integrity = work::to_the_end(&mut director, &["limited"])?;
    report.failures.extend(integrity);
    Ok(report)
}

fn feed(director: &mut Client) -> Fallible<()> {
    let ready = "select count(*) from pgflow.live_tasks where status <> 'started'";
    let ready = usize::try_from(director.query_one(ready, &[])?.try_get::<_, i64>(0)?)?;
    if ready < WAITING {
        // One run of seven has no key.
        director.simple_query(&format!(
            "select pgflow.run_flow('f', key => nullif(n % {}, {KEYS})::text) from generate_series(1, {}) n",
            KEYS + 1,
            WAITING - ready
        ))?;
    }
    Ok(())
}

/// What any session can see at any moment.
fn watch(monitor: &mut Client, ledger: &Mutex<Ledger>) -> Fallible<()> {
    let seen = monitor.query(
        "select r.key, count(*) from pgflow.live_tasks t join pgflow.runs r using (run_id)
         where t.lease is not null group by r.key",
        &[],
    )?;
    let mut ledger = lock(ledger);
    let mut sum = 0;
    for row in seen {
        let (key, running): (Option<String>, i64) = (row.try_get(0)?, row.try_get(1)?);
        sum += running;
        if key.is_some() {
            ledger.most_seen_of_key = ledger.most_seen_of_key.max(running);
        }
    }
    ledger.most_seen = ledger.most_seen.max(sum);
    Ok(())
}

struct Session<'a> {
    client: &'a mut Client,
    rng: StdRng,
    ledger: &'a Mutex<Ledger>,
}

impl Session<'_> {
    fn act(&mut self) {
        let tasks = self.claim();
        if tasks.is_empty() {
            std::thread::sleep(Duration::from_millis(self.rng.random_range(1..10)));
            return;
        }
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..60)));
        lock(self.ledger).hold(&tasks, -1);
        let results: Vec<String> = tasks
            .iter()
            .map(|task| {
                let how = ["\"output\": 1", "\"output\": 2", "\"error_message\": \"no\"", "\"release\": true"];
                task.result.replace("%", how.choose(&mut self.rng).unwrap_or(&how[0]))
            })
            .collect();
        let results = results.join(", ");
        let answer = ask(self.client, &format!("select accepted from pgflow.settle_step_tasks('[{results}]')"));
        if answer.code.is_some() || answer.rows.iter().any(|accepted| accepted != "t") {
            lock(self.ledger).failures.push(format!("a settlement is answered with {answer:?}"));
        }
    }

    /// Tasks whose claim was committed.
    fn claim(&mut self) -> Vec<Task> {
        let levels = ["read committed", "read committed", "repeatable read", "serializable"];
        let level = levels.choose(&mut self.rng).unwrap_or(&levels[0]);
        let most = self.rng.random_range(1..=10);
        ask(self.client, &format!("begin isolation level {level}"));
        // A lease of 1000 seconds says when it began.
        let answer = ask(
            self.client,
            &format!(
                r#"select c.run_id, c.lease, coalesce(r.key, ''),
                          (extract(epoch from c.lease_expires_at) * 1000000)::bigint - 1000000000
                   from pgflow.claim_step_tasks('limited', {most}, 1000, 'worker') c
                   left join pgflow.runs r using (run_id)"#
            ),
        );
        let ends_well = answer.code.is_none() && !self.rng.random_bool(0.1);
        // Other sessions have time to meet the open transaction.
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..3)));
        let end = ask(self.client, if ends_well { "commit" } else { "rollback" });
        match answer.code.as_deref().or(end.code.as_deref()) {
            None => {}
            Some("40001") => lock(self.ledger).refused += 1,
            Some(_) => lock(self.ledger).failures.push(format!("a claim is answered with {answer:?}, {end:?}")),
        }
        if !ends_well || end.code.is_some() {
            return Vec::new();
        }
        let tasks: Vec<Task> = answer.rows.iter().filter_map(|row| task(row)).collect();
        lock(self.ledger).hold(&tasks, 1);
        tasks
    }
}

fn task(row: &str) -> Option<Task> {
    let mut columns = row.split(" | ");
    let (run, lease, key) = (columns.next()?, columns.next()?, columns.next()?);
    Some(Task {
        result: format!(r#"{{"run_id": "{run}", "step_slug": "s", "lease": {lease}, %}}"#),
        key: key.to_owned(),
        started: columns.next()?.parse().ok()?,
    })
}

fn verdict(director: &mut Client, mut ledger: Ledger) -> Fallible<Report> {
    ledger.starts.sort_unstable();
    let mut by_key: HashMap<&str, Vec<i64>> = HashMap::new();
    for (at, key) in ledger.starts.iter().filter(|(_, key)| !key.is_empty()) {
        by_key.entry(key).or_default().push(*at);
    }
    let all: Vec<i64> = ledger.starts.iter().map(|(at, _)| *at).collect();
    let busiest = busiest(&all);
    let busiest_of_key = by_key.values().map(|starts| self::busiest(starts)).max().unwrap_or(0);
    // A released attempt has no start in the history any more; all others have.
    let history = |partition: &str| {
        format!(
            "select coalesce(max(running), 0)::bigint
             from (select sum(change) over ({partition} order by at, change) as running
                   from (select r.key, t.started_at as at, 1 as change
                         from pgflow.step_tasks t join pgflow.runs r using (run_id) where t.started_at is not null
                         union all
                         select r.key, t.finished_at, -1
                         from pgflow.step_tasks t join pgflow.runs r using (run_id)
                         where t.started_at is not null and t.finished_at is not null) c
                   where {}) s",
            if partition.is_empty() { "true" } else { "key is not null" }
        )
    };
    let ran: i64 = director.query_one(&history(""), &[])?.try_get(0)?;
    let ran_of_key: i64 = director.query_one(&history("partition by key"), &[])?.try_get(0)?;
    let mut report = Report {
        starts: all.len(),
        busiest,
        most_running: ledger.most,
        refused: ledger.refused,
        failures: ledger.failures,
        ..Report::default()
    };
    for (what, found, most) in [
        ("held at once", ledger.most, RUNNING),
        ("held at once of a key", ledger.most_of_key, RUNNING_PER_KEY),
        ("seen to be under way at once", ledger.most_seen, RUNNING),
        ("seen to be under way at once of a key", ledger.most_seen_of_key, RUNNING_PER_KEY),
        ("under way at once by the history", ran, RUNNING),
        ("under way at once of a key by the history", ran_of_key, RUNNING_PER_KEY),
        ("started in a window", busiest as i64, STARTED as i64),
        ("started of a key in a window", busiest_of_key as i64, STARTED_PER_KEY as i64),
    ] {
        if found > most {
            report.failures.push(format!("{found} tasks were {what}, and {most} may be"));
        } else {
            report.passed += 1;
        }
    }
    if ran < RUNNING || ran_of_key < RUNNING_PER_KEY || busiest < STARTED {
        let found = format!("{ran} under way, {ran_of_key} of a key, {busiest} started");
        report.failures.push(format!("the limits were not reached: {found}"));
    }
    Ok(report)
}

/// The most starts in a window of the period, both ends included.
fn busiest(starts: &[i64]) -> usize {
    let in_window = |first: usize| starts[first..].partition_point(|at| at - starts[first] <= PERIOD);
    (0..starts.len()).map(in_window).max().unwrap_or(0)
}
