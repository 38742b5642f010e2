//! Connections, databases of our own, and what a call answers.

use std::error::Error;
use std::sync::OnceLock;

use postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// SQL that breaks something in each database, so that the test is seen to fail.
pub static SABOTAGE: OnceLock<String> = OnceLock::new();

pub type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Where PGHOST, PGPORT, PGUSER and PGPASSWORD say, in this database; else the one of PGDATABASE.
pub fn connect(database: Option<&str>, name: &str) -> Fallible<Client> {
    let var = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
    let mut config = Config::new();
    config.host(var("PGHOST").as_deref().unwrap_or("/var/run/postgresql"));
    config.port(var("PGPORT").and_then(|p| p.parse().ok()).unwrap_or(5432));
    config.user(var("PGUSER").as_deref().unwrap_or("postgres"));
    config.dbname(database.or(var("PGDATABASE").as_deref()).unwrap_or("postgres"));
    config.application_name(name).options("-c statement_timeout=60s");
    if let Some(password) = var("PGPASSWORD") {
        config.password(password);
    }
    config.connect(NoTls).map_err(|error| format!("cannot connect: {error}").into())
}

/// A database with the extension, dropped with this value: `prune_runs` and `check_integrity` look at a whole database,
/// so each test that works beside others has one of its own.
pub struct Database {
    pub name: String,
}

impl Database {
    pub fn create(label: &str) -> Fallible<Database> {
        let name = format!("pgflow_races_{}_{label}", std::process::id());
        connect(None, "races")?.batch_execute(&format!("create database {name} template template0"))?;
        let database = Database { name };
        let mut client = database.connect("races")?;
        client.batch_execute("create extension pgflow")?;
        client.batch_execute(SABOTAGE.get().map_or("", String::as_str))?;
        Ok(database)
    }

    pub fn connect(&self, name: &str) -> Fallible<Client> {
        connect(Some(&self.name), name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Ok(mut client) = connect(None, "races") {
            let _ = client.batch_execute(&format!("drop database if exists {} with (force)", self.name));
        }
    }
}

/// What a call gave back: its rows as text, or the SQLSTATE of its error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub code: Option<String>,
    pub message: String,
    pub rows: Vec<String>,
}

impl Answer {
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }

    /// Nothing was handed out, nothing deleted.
    pub fn is_empty(&self) -> bool {
        self.code.is_none() && self.rows.iter().all(|row| row == "0")
    }

    fn error(error: &postgres::Error) -> Answer {
        let (code, message) = match error.as_db_error() {
            Some(db) => (db.code().code().to_owned(), format!("{} {}", db.message(), db.detail().unwrap_or(""))),
            None => ("-----".to_owned(), error.to_string()),
        };
        Answer { code: Some(code), message, rows: Vec::new() }
    }
}

pub fn ask(client: &mut Client, sql: &str) -> Answer {
    let messages = match client.simple_query(sql) {
        Ok(messages) => messages,
        Err(error) => {
            // PostgreSQL says so before it lets go of what the call has locked.
            let _ = client.simple_query("");
            return Answer::error(&error);
        }
    };
    let text = |message| match message {
        SimpleQueryMessage::Row(row) => {
            let columns = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL"));
            Some(columns.collect::<Vec<_>>().join(" | "))
        }
        _ => None,
    };
    Answer { rows: messages.into_iter().filter_map(text).collect(), ..Answer::default() }
}
