//! A session of the fuzzer: what it may be told, what it must not be told, and whether it is still whole.

use std::sync::{Arc, Mutex, PoisonError};

use postgres::{Client, Config, NoTls, SimpleQueryMessage};

/// What a call may be refused with: the contract's list of SQLSTATEs.
pub const REFUSALS: &[&str] = &["22004", "22023", "PT404", "PT409", "42501"];

/// Every call must end by itself well before this.
pub const TIMEOUT: &str = "20s";

#[derive(Debug)]
pub struct Refusal {
    pub code: String,
    pub message: String,
    pub detail: String,
    /// The connection is gone with it.
    pub fatal: bool,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} {}", self.code, cut(&self.message, 300))?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " DETAIL {}", cut(&self.detail, 300)) }
    }
}

impl From<&postgres::Error> for Refusal {
    fn from(error: &postgres::Error) -> Refusal {
        match error.as_db_error() {
            Some(db) => Refusal {
                code: db.code().code().to_owned(),
                message: db.message().to_owned(),
                detail: db.detail().unwrap_or_default().to_owned(),
                fatal: db.severity() != "ERROR",
            },
            None => Refusal {
                code: "-----".to_owned(),
                message: format!("{error} {:?}", std::error::Error::source(error)),
                detail: String::new(),
                fatal: true,
            },
        }
    }
}

pub fn cut(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

pub struct Server {
    client: Client,
    name: &'static str,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Where PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE say.
    pub fn connect(name: &'static str) -> Result<Server, postgres::Error> {
        let warnings = Arc::default();
        Ok(Server { client: connect(name, &warnings)?, name, warnings })
    }

    pub fn reconnect(&mut self) -> Result<(), postgres::Error> {
        self.client = connect(self.name, &self.warnings)?;
        Ok(())
    }

    /// One statement; the rows as texts.
    pub fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Refusal> {
        let messages = self.client.simple_query(sql).map_err(|e| Refusal::from(&e))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect()),
            _ => None,
        });
        Ok(rows.collect())
    }

    pub fn execute(&mut self, sql: &str) -> Result<(), Refusal> {
        self.client.batch_execute(sql).map_err(|e| Refusal::from(&e))
    }

    /// The first column of the first row.
    pub fn value(&mut self, sql: &str) -> Result<Option<String>, Refusal> {
        Ok(self.rows(sql)?.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    /// Warnings that came since this was last asked.
    pub fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is wrong between two transactions: warnings, settings, rights, locks.
    pub fn drift(&mut self) -> Result<Vec<String>, Refusal> {
        let mut wrong = self.warnings();
        wrong.extend(self.value("select fuzz.drift()")?);
        Ok(wrong)
    }

    pub fn integrity(&mut self) -> Result<Vec<String>, Refusal> {
        let rows = self.rows("select run_id, problem from pgflow.check_integrity() limit 20")?;
        Ok(rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect())
    }
}

fn connect(name: &str, warnings: &Arc<Mutex<Vec<String>>>) -> Result<Client, postgres::Error> {
    let var = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
    let mut config = Config::new();
    config.host(var("PGHOST").as_deref().unwrap_or("/var/run/postgresql"));
    config.port(var("PGPORT").and_then(|p| p.parse().ok()).unwrap_or(5432));
    config.user(var("PGUSER").as_deref().unwrap_or("postgres"));
    config.dbname(var("PGDATABASE").as_deref().unwrap_or("postgres"));
    let options = format!("-c statement_timeout={TIMEOUT} -c client_min_messages=warning -c jit=off");
    config.application_name(&format!("fuzz: {name}")).options(&options);
    if let Some(password) = var("PGPASSWORD") {
        config.password(password);
    }
    let warnings = Arc::clone(warnings);
    config.notice_callback(move |notice| {
        if notice.severity() == "WARNING" {
            warnings.lock().unwrap_or_else(PoisonError::into_inner).push(format!("WARNING {}", notice.message()));
        }
    });
    config.connect(NoTls)
}

/// A text as an SQL literal.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}
