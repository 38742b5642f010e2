//! A connection that may be lost at any moment, and the calls made over it.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use postgres::types::ToSql;
use postgres::{Client, Config, NoTls, Row, Statement};
use serde_json::Value;
use uuid::Uuid;

pub type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The server in `folder`, which lets everybody in.
pub fn connect(folder: &str, name: &str) -> Result<Client, postgres::Error> {
    let mut config = Config::new();
    config.host(folder).port(5432).user("postgres").dbname("postgres").application_name(name);
    config.connect_timeout(Duration::from_secs(10));
    config.connect(NoTls)
}

#[derive(Debug)]
pub enum Trouble {
    /// No answer: whether the call took effect is unknown.
    Lost,
    /// The server raised an error that no kill explains.
    Raised { code: String, message: String },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Trouble::Lost => write!(f, "no answer"),
            Trouble::Raised { code, message } => write!(f, "{code}: {message}"),
        }
    }
}

impl From<postgres::Error> for Trouble {
    fn from(error: postgres::Error) -> Trouble {
        // 57P01 to 57P03: shut down, crashed, cannot connect now.
        let Some(db) = error.as_db_error() else {
            let io = error.source().is_some_and(|s| s.is::<std::io::Error>());
            let code = "-----".to_owned();
            return if io || error.is_closed() {
                Trouble::Lost
            } else {
                Trouble::Raised { code, message: error.to_string() }
            };
        };
        let code = db.code().code();
        if ["57P01", "57P02", "57P03"].contains(&code) {
            return Trouble::Lost;
        }
        let detail = db.detail().map(|d| format!(" ({d})")).unwrap_or_default();
        Trouble::Raised { code: code.to_owned(), message: format!("{}{detail}", db.message()) }
    }
}

/// What a settlement was answered.
pub struct Receipt {
    pub accepted: bool,
    pub task_status: Option<String>,
}

impl Receipt {
    fn from(row: &Row) -> Result<Receipt, postgres::Error> {
        Ok(Receipt { accepted: row.try_get("accepted")?, task_status: row.try_get("task_status")? })
    }
}

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
            run: row.try_get("run_id")?,
            step: row.try_get("step_slug")?,
            task: row.try_get("task_index")?,
            attempt: row.try_get("attempt")?,
            input: row.try_get("input")?,
            lease: row.try_get("lease")?,
        })
    }
}

struct Connection {
    client: Client,
    statements: HashMap<&'static str, Statement>,
}

impl Connection {
    fn prepare(&mut self, sql: &'static str) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

pub struct Caller {
    folder: String,
    name: String,
    connection: Option<Connection>,
}

/// The task that a settlement is about.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    pub run: Uuid,
    pub step: &'a str,
    pub index: i32,
    pub attempt: i32,
    pub lease: i64,
}

impl Caller {
    pub fn new(folder: &str, name: &str) -> Caller {
        Caller { folder: folder.to_owned(), name: name.to_owned(), connection: None }
    }

    /// Waits for the server where that is down.
    fn connection(&mut self) -> Result<&mut Connection, Trouble> {
        while self.connection.is_none() {
            match connect(&self.folder, &self.name).map_err(Trouble::from) {
                Ok(client) => self.connection = Some(Connection { client, statements: HashMap::new() }),
                Err(Trouble::Lost) => std::thread::sleep(Duration::from_millis(50)),
                Err(raised) => return Err(raised),
            }
        }
        self.connection.as_mut().ok_or(Trouble::Lost)
    }

    fn over<T>(&mut self, call: impl Fn(&mut Connection) -> Result<T, postgres::Error>) -> Result<T, Trouble> {
        let result = call(self.connection()?).map_err(Trouble::from);
        if matches!(result, Err(Trouble::Lost)) {
            self.connection = None;
        }
        result
    }

    pub fn rows(&mut self, sql: &'static str, params: Params) -> Result<Vec<Row>, Trouble> {
        self.over(|c| {
            let statement = c.prepare(sql)?;
            c.client.query(&statement, params)
        })
    }

    pub fn receipts(&mut self, sql: &'static str, params: Params) -> Result<Vec<Receipt>, Trouble> {
        Ok(self.rows(sql, params)?.iter().map(Receipt::from).collect::<Result<_, _>>()?)
    }

    pub fn claimed(&mut self, sql: &'static str, params: Params) -> Result<Vec<Claimed>, Trouble> {
        Ok(self.rows(sql, params)?.iter().map(Claimed::from).collect::<Result<_, _>>()?)
    }

    /// Claims in a transaction that does not wait for its commit to be safe.
    pub fn claim_loosely(&mut self, sql: &'static str, params: Params) -> Result<Vec<Claimed>, Trouble> {
        let rows = self.over(|c| {
            let statement = c.prepare(sql)?;
            let mut tx = c.client.transaction()?;
            tx.batch_execute("set local synchronous_commit = off")?;
            let rows = tx.query(&statement, params)?;
            tx.commit()?;
            Ok(rows)
        })?;
        Ok(rows.iter().map(Claimed::from).collect::<Result<_, _>>()?)
    }

    /// The effect and the completion in one transaction. A refused completion takes its effect back.
    pub fn complete_with_effect(&mut self, task: Task, output: &Option<Value>) -> Result<Vec<Receipt>, Trouble> {
        let Task { run, step, index, attempt, lease } = task;
        self.over(|c| {
            let effect = c.prepare("insert into crash_test.ledger values ($1, $2, $3, $4)")?;
            let complete = c.prepare("select * from pgflow.complete_step_task($1, $2, $3, $4, $5)")?;
            let mut tx = c.client.transaction()?;
            tx.execute(&effect, &[&run, &step, &index, &attempt])?;
            let receipt = Receipt::from(&tx.query_one(&complete, &[&run, &step, output, &index, &lease])?)?;
            if receipt.accepted {
                tx.commit()?
            } else {
                tx.rollback()?
            }
            Ok(vec![receipt])
        })
    }
}
