//! Two calls on a scene: one after the other, or so that they overlap.
//!
//! To overlap, session 1 makes its call and keeps its transaction open; session 2 makes its own and either returns or
//! is seen waiting for session 1; then session 1 ends its transaction.

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use postgres::Client;

use crate::acts::Act;
use crate::scenes::Scene;
use crate::server::{Answer, Database, Fallible, ask};
use crate::work;

const STATE: &str = include_str!("state.sql");
const PATIENCE: Duration = Duration::from_secs(20);
const SWEEP_EVERY: u32 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::ReadCommitted => "READ COMMITTED",
            Level::RepeatableRead => "REPEATABLE READ",
            Level::Serializable => "SERIALIZABLE",
        }
    }
}

/// How session 1 ends its transaction, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Commit,
    Rollback,
    /// Commit before session 2 makes its call, whose snapshot is older.
    CommitFirst,
}

/// What calls answered, in the order in which they were made, and left behind; ids as they are.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub answers: Vec<Answer>,
    pub state: Vec<(String, String)>,
    /// The run that the scene was made of.
    pub run: String,
    /// What session 2 waited for.
    pub waited: Option<String>,
}

pub struct Stage {
    director: Client,
    first: Client,
    second: Client,
    names: HashMap<String, String>,
    shows: u32,
    /// Dropped last: nobody is connected any more.
    _database: Database,
}

impl Stage {
    pub fn new(label: &str) -> Fallible<Stage> {
        let database = Database::create(label)?;
        let director = database.connect("races: director")?;
        let first = database.connect("races: session 1")?;
        let second = database.connect("races: session 2")?;
        Ok(Stage { director, first, second, names: HashMap::new(), shows: 0, _database: database })
    }

    /// Makes the scene anew.
    pub fn set(&mut self, scene: &Scene) -> Fallible<()> {
        self.strike()?;
        self.shows += 1;
        // What was deleted would slow the claims down, and one that is slow may begin where the last one ended.
        if self.shows.is_multiple_of(SWEEP_EVERY) {
            self.director.batch_execute("vacuum pgflow.live_tasks")?;
        }
        if self.shows.is_multiple_of(10 * SWEEP_EVERY) {
            self.director.batch_execute("vacuum analyze")?;
        }
        for sql in scene.opening {
            self.director.simple_query(sql)?;
        }
        for row in self.director.query(
            "select r.run_id::text, l.step_slug, l.task_index, l.lease
             from pgflow.runs r left join pgflow.live_tasks l on l.run_id = r.run_id and l.lease is not null",
            &[],
        )? {
            self.names.insert("{run}".to_owned(), row.try_get(0)?);
            if let (Some(step), Some(index), Some(lease)) = (
                row.try_get::<_, Option<String>>(1)?,
                row.try_get::<_, Option<i32>>(2)?,
                row.try_get::<_, Option<i64>>(3)?,
            ) {
                self.names.insert(format!("{{{step}.{index}}}"), lease.to_string());
            }
        }
        for sql in scene.twist {
            let sql = self.fill(sql);
            self.director.simple_query(&sql)?;
        }
        let [sql_1, sql_2] = scene.rehearsal.map(|sql| self.fill(sql));
        self.first.simple_query(&sql_1)?;
        self.second.simple_query(&sql_2)?;
        Ok(())
    }

    fn strike(&mut self) -> Fallible<()> {
        self.names.clear();
        let sql = "select pgflow.delete_flow(flow_slug, true) from pgflow.flows";
        self.director.simple_query(sql)?;
        Ok(())
    }

    /// The statement with the names of this scene in it.
    fn fill(&self, sql: &str) -> String {
        self.names.iter().fold(sql.to_owned(), |sql, (name, value)| sql.replace(name, value))
    }

    pub fn state(&mut self, with_workers: bool) -> Fallible<Vec<(String, String)>> {
        let rows = self.director.query(STATE, &[&with_workers])?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    pub fn run(&self) -> String {
        self.names.get("{run}").cloned().unwrap_or_default()
    }

    /// One more call, when the others are over.
    pub fn call(&mut self, act: &Act) -> Answer {
        let sql = self.fill(act.sql);
        ask(&mut self.director, &sql)
    }

    pub fn one_after_the_other(&mut self, scene: &Scene, acts: &[&Act], with_workers: bool) -> Fallible<Outcome> {
        self.set(scene)?;
        let answers = acts.iter().map(|act| self.call(act)).collect();
        Ok(Outcome { answers, state: self.state(with_workers)?, run: self.run(), waited: None })
    }

    pub fn overlap(&mut self, scene: &Scene, acts: [&Act; 2], level: Level, end: End) -> Fallible<Outcome> {
        self.set(scene)?;
        let [sql_1, sql_2] = acts.map(|act| self.fill(act.sql));
        let in_transaction = level != Level::ReadCommitted;
        let begin = format!("begin isolation level {}", level.name());
        if in_transaction {
            self.second.batch_execute(&begin)?;
            // This takes the snapshot.
            self.second.batch_execute("select 1 from pgflow.runs limit 1")?;
        }
        self.first.batch_execute(&begin)?;
        let mut answer_1 = ask(&mut self.first, &sql_1);
        let holder = pid(&mut self.director, "races: session 1")?;
        let waiter = pid(&mut self.director, "races: session 2")?;
        if end == End::CommitFirst {
            finish(&mut self.first, "commit", &mut answer_1);
        }
        let (director, first, second) = (&mut self.director, &mut self.first, &mut self.second);
        let (waited, mut answer_2) = std::thread::scope(|scope| -> Fallible<_> {
            let (tell, told) = mpsc::channel();
            scope.spawn(move || {
                let _ = tell.send(ask(second, &sql_2));
            });
            let looked = look(director, &told, holder, waiter);
            match end {
                End::Commit => finish(first, "commit", &mut answer_1),
                End::Rollback => finish(first, "rollback", &mut answer_1),
                End::CommitFirst => {}
            }
            let (waited, early) = looked?;
            let answer = match early {
                Some(answer) => answer,
                None => {
                    told.recv_timeout(PATIENCE).map_err(|_| "session 2 does not return after the end of session 1")?
                }
            };
            Ok((waited, answer))
        })?;
        if in_transaction {
            finish(&mut self.second, "commit", &mut answer_2);
        }
        Ok(Outcome { answers: vec![answer_1, answer_2], state: self.state(true)?, run: self.run(), waited })
    }

    pub fn play_out(&mut self) -> Fallible<Vec<String>> {
        work::to_the_end(&mut self.director, &["f"])
    }
}

fn pid(director: &mut Client, name: &str) -> Fallible<i32> {
    let sql = "select pid from pg_stat_activity where application_name = $1 and datname = current_database()";
    Ok(director.query_one(sql, &[&name])?.try_get(0)?)
}

/// Ends a transaction; a call that failed has nothing to commit.
fn finish(client: &mut Client, how: &str, answer: &mut Answer) {
    let how = if answer.code.is_some() { "rollback" } else { how };
    let ended = ask(client, how);
    if ended.code.is_some() {
        *answer = ended;
        let _ = client.batch_execute("rollback");
    }
}

/// Watches session 2 until it has its answer or waits for session 1, and for what.
fn look(
    director: &mut Client,
    told: &mpsc::Receiver<Answer>,
    holder: i32,
    waiter: i32,
) -> Fallible<(Option<String>, Option<Answer>)> {
    let begun = Instant::now();
    let waits = director.prepare(
        "select l.locktype from pg_catalog.pg_locks l
         where l.pid = $1 and not l.granted and $2 = any (pg_catalog.pg_blocking_pids($1))",
    )?;
    while begun.elapsed() < PATIENCE {
        if let Ok(answer) = told.recv_timeout(Duration::from_micros(400)) {
            return Ok((None, Some(answer)));
        }
        if let Some(row) = director.query_opt(&waits, &[&waiter, &holder])? {
            let kind = match row.try_get::<_, String>(0)?.as_str() {
                "advisory" => "run".to_owned(),
                "relation" => "table".to_owned(),
                "transactionid" | "tuple" | "speculative token" => "row".to_owned(),
                other => other.to_owned(),
            };
            return Ok((Some(kind), None));
        }
    }
    Err("session 2 neither returns nor waits for session 1".into())
}
