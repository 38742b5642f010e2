//! The functions of the contract, called over one connection.
//!
//! A call runs at READ COMMITTED or REPEATABLE READ, in a transaction of its own or by itself, and now and then once
//! for nothing (rolled back) before it runs for good: none of that may make a difference.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use postgres::types::ToSql;
use postgres::{Client, Config, IsolationLevel, NoTls, Row, Statement};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use uuid::Uuid;

use crate::generate::Plan;

const RECEIPT: &str = "run_id, step_slug, task_index, accepted, task_status, step_status, run_status";
const CLAIMED: &str = "run_id, step_slug, task_index, attempt, input, lease";

/// An error that the server raised.
#[derive(Debug)]
pub struct Fault {
    pub code: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Fault {
    /// Something the server said without raising an error.
    fn ours(message: String) -> Fault {
        Fault { code: "-----".to_owned(), message, detail: None, hint: None }
    }
}

impl From<postgres::Error> for Fault {
    fn from(error: postgres::Error) -> Fault {
        let Some(db) = error.as_db_error() else {
            let cause = std::error::Error::source(&error).map(|c| format!(": {c}"));
            return Fault::ours(format!("{error}{}", cause.unwrap_or_default()));
        };
        let own = |s: Option<&str>| s.map(str::to_owned);
        Fault {
            code: db.code().code().to_owned(),
            message: db.message().to_owned(),
            detail: own(db.detail()),
            hint: own(db.hint()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "ERROR {}: {}", self.code, self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, " DETAIL {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " HINT {hint}")?;
        }
        Ok(())
    }
}

/// The task a call is about, and the lease it gives.
#[derive(Clone, Copy)]
pub struct At<'a> {
    pub run: Uuid,
    pub step: &'a str,
    pub index: i32,
    pub lease: Option<i64>,
}

#[derive(Clone, Debug)]
pub struct Receipt {
    pub run_id: Uuid,
    pub slug: String,
    pub task_index: i32,
    pub accepted: bool,
    pub task: Option<String>,
    pub step: String,
    pub run: String,
}

impl Receipt {
    fn from(row: &Row) -> Result<Receipt, postgres::Error> {
        Ok(Receipt {
            run_id: row.try_get(0)?,
            slug: row.try_get(1)?,
            task_index: row.try_get(2)?,
            accepted: row.try_get(3)?,
            task: row.try_get(4)?,
            step: row.try_get::<_, Option<String>>(5)?.unwrap_or_default(),
            run: row.try_get::<_, Option<String>>(6)?.unwrap_or_default(),
        })
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Receipt { slug, task_index, step, run, .. } = self;
        let accepted = if self.accepted { "accepted" } else { "refused" };
        let task = self.task.as_deref().unwrap_or("NULL");
        write!(f, "{accepted} ({slug}[{task_index}]: task {task}, step {step}, run {run})")
    }
}

#[derive(Clone, Debug)]
pub struct Claimed {
    pub run: Uuid,
    pub step: String,
    pub task: i32,
    pub attempt: i32,
    pub input: Value,
    pub lease: i64,
}

impl Claimed {
    fn from(row: &Row) -> Result<Claimed, postgres::Error> {
        Ok(Claimed {
            run: row.try_get(0)?,
            step: row.try_get(1)?,
            task: row.try_get(2)?,
            attempt: row.try_get(3)?,
            input: row.try_get(4)?,
            lease: row.try_get(5)?,
        })
    }
}

impl fmt::Display for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Claimed { step, task, attempt, lease, .. } = self;
        write!(f, "{step}[{task}] attempt {attempt} lease {lease}")
    }
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

pub struct Caller {
    client: Client,
    rng: StdRng,
    name: String,
    statements: HashMap<String, Statement>,
    /// How the last call was made.
    pub how: &'static str,
    pub calls: u64,
    pub serialisation_failures: u64,
}

/// Where PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE say.
pub fn connect(name: &str) -> Result<Client, postgres::Error> {
    let var = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
    let mut config = Config::new();
    config.host(var("PGHOST").as_deref().unwrap_or("/var/run/postgresql"));
    config.port(var("PGPORT").and_then(|p| p.parse().ok()).unwrap_or(5432));
    config.user(var("PGUSER").as_deref().unwrap_or("postgres"));
    config.dbname(var("PGDATABASE").as_deref().unwrap_or("postgres"));
    config.application_name(name).options("-c statement_timeout=30s");
    if let Some(password) = var("PGPASSWORD") {
        config.password(password);
    }
    config.connect(NoTls)
}

impl Caller {
    pub fn connect(session: usize, seed: u64) -> Result<Caller, postgres::Error> {
        let name = format!("model session {session}");
        let rng = StdRng::seed_from_u64(seed.rotate_left(32).wrapping_add(session as u64));
        let client = connect(&name)?;
        let statements = HashMap::new();
        Ok(Caller { client, rng, name, statements, how: "", calls: 0, serialisation_failures: 0 })
    }

    fn prepare(&mut self, sql: &str) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Runs the calls in one transaction.
    fn transact(&mut self, calls: &[(&str, Params)]) -> Result<Vec<Vec<Row>>, Fault> {
        let mut statements = Vec::new();
        for (sql, params) in calls {
            statements.push((self.prepare(sql)?, *params));
        }
        self.calls += calls.len() as u64;
        let repeatable = self.rng.random_bool(0.25);
        let level = if repeatable { IsolationLevel::RepeatableRead } else { IsolationLevel::ReadCommitted };
        let mut rehearse = self.rng.random_bool(0.04);
        self.how = match (repeatable, rehearse) {
            (false, false) => "",
            (false, true) => ", after a rollback",
            (true, false) => ", REPEATABLE READ",
            (true, true) => ", REPEATABLE READ after a rollback",
        };
        let alone = calls.len() == 1 && !repeatable && !rehearse && self.rng.random_bool(0.6);
        for _ in 0..200 {
            match self.attempt(level, &statements, alone, rehearse) {
                Ok(_) if rehearse => rehearse = false,
                Ok(rows) => return Ok(rows),
                Err(e) if repeatable && e.code().is_some_and(|c| c.code() == "40001") => {
                    self.serialisation_failures += 1;
                    std::thread::sleep(Duration::from_millis(self.rng.random_range(0..3)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Fault::ours("200 serialisation failures (40001) in a row".to_owned()))
    }

    fn attempt(
        &mut self,
        level: IsolationLevel,
        statements: &[(Statement, Params)],
        alone: bool,
        rehearse: bool,
    ) -> Result<Vec<Vec<Row>>, postgres::Error> {
        if alone {
            return statements.iter().map(|(s, params)| self.client.query(s, params)).collect();
        }
        let mut tx = self.client.build_transaction().isolation_level(level).start()?;
        let rows: Vec<_> = statements.iter().map(|(s, params)| tx.query(s, params)).collect::<Result<_, _>>()?;
        if rehearse {
            tx.rollback()?
        } else {
            tx.commit()?
        }
        Ok(rows)
    }

    fn rows(&mut self, sql: &str, params: Params) -> Result<Vec<Row>, Fault> {
        Ok(self.transact(&[(sql, params)])?.pop().unwrap_or_default())
    }

    /// The first column of every row.
    fn column<T>(&mut self, sql: &str, params: Params) -> Result<Vec<T>, Fault>
    where
        T: for<'a> postgres::types::FromSql<'a>,
    {
        self.rows(sql, params)?.iter().map(|r| Ok(r.try_get(0)?)).collect()
    }

    fn one<T>(
        &mut self,
        sql: &str,
        params: Params,
        from: impl Fn(&Row) -> Result<T, postgres::Error>,
    ) -> Result<T, Fault> {
        let rows = self.rows(sql, params)?;
        match rows.as_slice() {
            [row] => Ok(from(row)?),
            _ => Err(Fault::ours(format!("{} rows where there should be one: {sql}", rows.len()))),
        }
    }

    fn receipt(&mut self, function: &str, params: Params) -> Result<Receipt, Fault> {
        self.one(&format!("select {RECEIPT} from pgflow.{function}"), params, Receipt::from)
    }

    pub fn run_flow(&mut self, flow: &str, plans: &[&Plan]) -> Result<Vec<Uuid>, Fault> {
        if let [plan] = plans {
            let sql = "select pgflow.run_flow($1, $2, $3, $4, \
                       clock_timestamp() + $5 * interval '1 ms', null)";
            let delay = plan.start_in_ms.map(f64::from);
            let params: Params = &[&flow, &plan.payload, &plan.key, &plan.priority, &delay];
            let ids = self.column(sql, params)?;
            if plan.key.is_some() && self.column::<Uuid>(sql, params)? != ids {
                return Err(Fault::ours("the same idempotency key gave another run".to_owned()));
            }
            return Ok(ids);
        }
        let payloads: Vec<&Value> = plans.iter().map(|p| &p.payload).collect();
        let keys: Vec<&Option<String>> = plans.iter().map(|p| &p.key).collect();
        let priority = plans.first().map_or(0, |p| p.priority);
        let sql = "select pgflow.run_flows($1, $2, $3, $4)";
        self.column(sql, &[&flow, &payloads, &keys, &priority])
    }

    pub fn fork_run(&mut self, run: Uuid, steps: &[String], payload: Option<&Value>) -> Result<Uuid, Fault> {
        self.one("select pgflow.fork_run($1, $2, $3)", &[&run, &steps, &payload], |r| r.try_get(0))
    }

    pub fn cancel_run(&mut self, run: Uuid, reason: &str) -> Result<(String, Option<String>), Fault> {
        let sql = "select status, error_message from pgflow.cancel_run($1, $2)";
        self.one(sql, &[&run, &reason], |r| Ok((r.try_get(0)?, r.try_get(1)?)))
    }

    pub fn retry_run(&mut self, run: Uuid) -> Result<String, Fault> {
        self.one("select status from pgflow.retry_run($1)", &[&run], |r| r.try_get(0))
    }

    pub fn start_step(&mut self, run: Uuid, step: &str) -> Result<String, Fault> {
        self.one("select status from pgflow.start_step($1, $2)", &[&run, &step], |r| r.try_get(0))
    }

    pub fn claim(&mut self, queue: &str, max: i32, lease: Option<i32>) -> Result<Vec<Claimed>, Fault> {
        let sql = format!("select {CLAIMED} from pgflow.claim_step_tasks($1, $2, $3, $4)");
        let name = self.name.clone();
        let rows = self.rows(&sql, &[&queue, &max, &lease, &name])?;
        Ok(rows.iter().map(Claimed::from).collect::<Result<_, _>>()?)
    }

    pub fn complete(&mut self, t: At, output: Option<&Value>) -> Result<Receipt, Fault> {
        self.receipt("complete_step_task($1, $2, $3, $4, $5)", &[&t.run, &t.step, &output, &t.index, &t.lease])
    }

    pub fn complete_step(&mut self, t: At, output: Option<&Value>) -> Result<Receipt, Fault> {
        self.receipt("complete_step($1, $2, $3)", &[&t.run, &t.step, &output])
    }

    pub fn fail(&mut self, t: At, message: &str, retryable: bool) -> Result<Receipt, Fault> {
        let params: Params = &[&t.run, &t.step, &message, &t.index, &t.lease, &retryable];
        self.receipt("fail_step_task($1, $2, $3, $4, $5, $6)", params)
    }

    pub fn extend(&mut self, t: At, seconds: Option<i32>) -> Result<Receipt, Fault> {
        let params: Params = &[&t.run, &t.step, &t.index, &t.lease, &seconds];
        self.receipt("extend_step_task($1, $2, $3, $4, $5)", params)
    }

    pub fn release(&mut self, t: At) -> Result<Receipt, Fault> {
        self.receipt("release_step_task($1, $2, $3, $4)", &[&t.run, &t.step, &t.index, &t.lease])
    }

    pub fn settle(&mut self, results: &Value) -> Result<Vec<Receipt>, Fault> {
        let sql = format!("select {RECEIPT} from pgflow.settle_step_tasks($1)");
        let rows = self.rows(&sql, &[&results])?;
        Ok(rows.iter().map(Receipt::from).collect::<Result<_, _>>()?)
    }

    pub fn settle_and_claim(&mut self, results: &Value, queue: &str, max: i32) -> Result<Vec<Claimed>, Fault> {
        let sql = format!("select {CLAIMED} from pgflow.settle_and_claim($1, $2, $3, null, $4)");
        let name = self.name.clone();
        let rows = self.rows(&sql, &[&results, &queue, &max, &name])?;
        Ok(rows.iter().map(Claimed::from).collect::<Result<_, _>>()?)
    }

    /// The same in two calls of one transaction.
    pub fn settle_then_claim(
        &mut self,
        results: &Value,
        queue: &str,
        max: i32,
    ) -> Result<(Vec<Receipt>, Vec<Claimed>), Fault> {
        let settle = format!("select {RECEIPT} from pgflow.settle_step_tasks($1)");
        let claim = format!("select {CLAIMED} from pgflow.claim_step_tasks($1, $2)");
        let answers = self.transact(&[(&settle, &[&results]), (&claim, &[&queue, &max])])?;
        let rows = |n: usize| answers.get(n).map_or(&[][..], Vec::as_slice).iter();
        let receipts = rows(0).map(Receipt::from).collect::<Result<_, _>>()?;
        let claimed = rows(1).map(Claimed::from).collect::<Result<_, _>>()?;
        Ok((receipts, claimed))
    }

    /// Which of these runs have ended.
    pub fn ended(&mut self, runs: &[Uuid]) -> Result<Vec<Uuid>, Fault> {
        let sql = "select run_id from pgflow.runs where run_id = any($1) \
                   and status in ('completed', 'failed', 'cancelled')";
        self.column(sql, &[&runs])
    }
}
