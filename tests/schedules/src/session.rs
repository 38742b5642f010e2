//! A session of the server on a thread of its own: it is told one statement at a time and answers when that returns,
//! so that whoever schedules can go on while a statement waits for a lock.

use std::sync::mpsc::{Receiver, Sender, channel};

use pgflow_model_test::calls::{Fault, connect};
use postgres::types::ToSql;
use postgres::{CancelToken, Client, NoTls, Row};
use uuid::Uuid;

pub type Parameters = Vec<Box<dyn ToSql + Sync + Send>>;

pub enum Say {
    /// `begin …`, and a query that takes the transaction's snapshot at once.
    Begin(&'static str, bool),
    Commit,
    Rollback,
    Query(&'static str, Parameters),
    /// A query that makes a run and returns its id, which is random and decides about the order of locks: made again
    /// until the id lies in its share of all ids, or is one of those known.
    Start(&'static str, Parameters, Share),
}

/// The `part`th of `parts` equal parts of the lock keys of runs.
pub struct Share {
    pub part: usize,
    pub parts: usize,
    pub known: Vec<Uuid>,
}

impl Share {
    fn takes(&self, id: Uuid) -> bool {
        let mut half = [0; 8];
        half.copy_from_slice(&id.as_bytes()[8..]);
        // The engine orders its locks by the last 64 bits, of which the first two are the same in every UUID.
        let place = u128::from(u64::from_be_bytes(half) << 2);
        self.known.contains(&id) || (place * self.parts as u128) >> 64 == self.part as u128
    }
}

pub type Answer = Result<Vec<Row>, Fault>;

pub struct Session {
    pub pid: i32,
    cancel: CancelToken,
    to: Sender<Say>,
}

impl Session {
    /// `answers` gets each answer with the number of the session. The thread ends when the session is dropped.
    pub fn connect(number: usize, answers: Sender<(usize, Answer)>) -> Result<Session, postgres::Error> {
        let mut client = connect(&format!("schedules session {number}"))?;
        // A cycle of waits is seen by who schedules; the server is to say so too, and soon.
        client.batch_execute("set deadlock_timeout = '300ms'")?;
        let pid = client.query_one("select pg_backend_pid()", &[])?.try_get(0)?;
        let cancel = client.cancel_token();
        let (to, told) = channel();
        std::thread::spawn(move || work(client, &told, number, &answers));
        Ok(Session { pid, cancel, to })
    }

    pub fn say(&self, say: Say) {
        // If the thread has ended its answer will be missed.
        let _ = self.to.send(say);
    }

    /// Ends the statement that is running.
    pub fn interrupt(&self) -> Result<(), postgres::Error> {
        self.cancel.cancel_query(NoTls)
    }
}

fn work(client: Client, told: &Receiver<Say>, number: usize, answers: &Sender<(usize, Answer)>) {
    let mut connection = Connection { client, is_open: false, statements: Vec::new() };
    for say in told {
        let mut answer = connection.speak(say).map_err(Fault::from);
        if answer.is_err() {
            // The client hears of an error before the server has let go of the locks.
            connection.is_open = false;
            if answer.as_ref().is_err_and(|fault| fault.code == "57014") {
                // On a busy machine a cancellation may come when the statement is over, and would hit the next one.
                let _ = connection.client.batch_execute("rollback");
                let _ = connection.client.batch_execute("select pg_sleep(0.02)");
            }
            if let Err(error) = connection.client.batch_execute("rollback; select pg_advisory_unlock_all()") {
                answer = Err(Fault::from(error));
            }
        }
        if answers.send((number, answer)).is_err() {
            break;
        }
    }
}

struct Connection {
    client: Client,
    is_open: bool,
    statements: Vec<(&'static str, postgres::Statement)>,
}

impl Connection {
    fn speak(&mut self, say: Say) -> Result<Vec<Row>, postgres::Error> {
        match say {
            Say::Begin(begin, looks) => {
                self.client.batch_execute(begin)?;
                self.is_open = true;
                if looks {
                    self.client.batch_execute("select count(*) from pgflow.runs")?;
                }
                Ok(Vec::new())
            }
            Say::Commit => self.end("commit"),
            Say::Rollback => self.end("rollback"),
            Say::Query(sql, parameters) => self.query(sql, &parameters),
            Say::Start(sql, parameters, share) => self.start(sql, &parameters, &share),
        }
    }

    /// Between two tries the locks of the first are given up, and another session could slip in: so only one session at
    /// a time tries.
    fn start(
        &mut self,
        sql: &'static str,
        parameters: &Parameters,
        share: &Share,
    ) -> Result<Vec<Row>, postgres::Error> {
        self.client.batch_execute("select pg_advisory_lock(7, 7)")?;
        let alone = !self.is_open;
        if alone {
            self.client.batch_execute("begin")?;
        }
        let rows = loop {
            self.client.batch_execute("savepoint start")?;
            let rows = self.query(sql, parameters)?;
            if rows.first().is_none_or(|row| row.try_get(0).is_ok_and(|id| share.takes(id))) {
                break rows;
            }
            self.client.batch_execute("rollback to start")?;
        };
        if alone {
            self.client.batch_execute("commit")?;
        }
        self.client.batch_execute("select pg_advisory_unlock(7, 7)")?;
        Ok(rows)
    }

    fn end(&mut self, how: &str) -> Result<Vec<Row>, postgres::Error> {
        self.is_open = false;
        self.client.batch_execute(how)?;
        Ok(Vec::new())
    }

    fn query(&mut self, sql: &'static str, parameters: &Parameters) -> Result<Vec<Row>, postgres::Error> {
        let known = self.statements.iter().find(|(text, _)| std::ptr::eq(*text, sql) || *text == sql);
        let statement = match known {
            Some((_, statement)) => statement.clone(),
            None => {
                let statement = self.client.prepare(sql)?;
                self.statements.push((sql, statement.clone()));
                statement
            }
        };
        let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|p| &**p as _).collect();
        self.client.query(&statement, &parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIANT: u64 = 1 << 63;

    #[test]
    fn each_id_is_in_one_share() {
        for random in [0_u64, 1, u64::MAX / 8, u64::MAX / 8 + 1, u64::MAX / 12, u64::MAX / 4] {
            let id = Uuid::from_u64_pair(7, VARIANT | random);
            let takers = (0..3).filter(|&part| Share { part, parts: 3, known: Vec::new() }.takes(id)).count();
            assert_eq!(takers, 1, "{random}");
        }
        assert!(Share { part: 0, parts: 2, known: Vec::new() }.takes(Uuid::from_u64_pair(0, VARIANT | 5)));
        assert!(Share { part: 1, parts: 2, known: Vec::new() }.takes(Uuid::from_u64_pair(0, VARIANT | (u64::MAX / 5))));
    }
}
