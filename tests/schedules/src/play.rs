//! Plays a program: one statement after the other, then whatever is left, until every run has ended.
//!
//! Of the sessions that do not wait, the one goes next whose next statement has the lowest rank; ranks come from the
//! seeds of the transactions, so that leaving a transaction out does not change the order of the others.

use std::collections::BTreeSet;

use pgflow_model_test::calls::Fault;

use crate::calls::{Call, Chosen};
use crate::crew::{Crew, Stuck};
use crate::ledger::Ledger;
use crate::program::{Level, Program, Transaction};
use crate::session::{Answer, Say};
use crate::{sabotage, verdict};

#[derive(Default)]
pub struct Played {
    /// What happened, the same each time.
    pub trace: String,
    pub problems: Vec<String>,
    pub statements: u64,
    pub waits: u64,
    pub conflicts: u64,
    /// The schedule could not go on.
    pub stuck: bool,
    /// Whether what was to be broken by hand was there to be broken.
    pub sabotaged: bool,
}

/// A statement that has not returned.
enum Pending {
    Begin,
    Commit,
    Rollback,
    Call(Call),
}

/// Where a session stands in its transactions.
#[derive(Default)]
struct Place {
    transaction: usize,
    statement: usize,
    pending: Option<Pending>,
    interrupted: bool,
}

pub struct Play<'a> {
    pub crew: &'a mut Crew,
    pub ledger: Ledger<'a>,
    pub played: Played,
    places: Vec<Place>,
    pub is_draining: bool,
    /// Manual steps that one need not start any more.
    pub begun: BTreeSet<(usize, usize)>,
    /// How many tasks were claimed or settled, fell due or ran out of time, how many manual steps were started.
    pub moves: u64,
}

/// Plays the program from an empty database to its end.
pub fn play(crew: &mut Crew, program: &Program, sabotage: Option<sabotage::Kind>) -> Played {
    let places = program.sessions.iter().map(|_| Place::default()).collect();
    let ledger = Ledger::new(program);
    let mut play =
        Play { crew, ledger, played: Played::default(), places, is_draining: false, begun: BTreeSet::new(), moves: 0 };
    if let Err(Stuck(why)) = play.run(sabotage).and_then(|()| verdict::judge(&mut play)) {
        play.played.stuck = true;
        play.tell(&format!("STUCK {why}"));
        for (session, answer) in play.crew.last_words() {
            let answer = answer.map_or_else(|fault| fault.to_string(), |rows| format!("{} rows", rows.len()));
            play.tell(&format!("    {} at last: {answer}", letter(session)));
        }
        play.played.problems.push(why);
    }
    play.played
}

pub fn letter(session: usize) -> char {
    char::from(b'A' + u8::try_from(session).unwrap_or(25))
}

impl Play<'_> {
    pub fn tell(&mut self, line: &str) {
        self.played.trace.push_str(line);
        self.played.trace.push('\n');
    }

    pub fn problem(&mut self, problem: String) {
        self.tell(&format!("      PROBLEM {}", problem.lines().next().unwrap_or_default()));
        self.played.problems.push(problem);
    }

    fn run(&mut self, sabotage: Option<sabotage::Kind>) -> Result<(), Stuck> {
        let definition = self.ledger.program.flow.definition(crate::program::QUEUES);
        self.crew.admin.execute("select from pgflow.define_flow($1)", &[&definition])?;
        let total: usize = self.ledger.program.sessions.iter().flatten().map(Transaction::len).sum();
        let mut done = 0;
        while let Some(session) = self.next() {
            self.step(session)?;
            done += 1;
            if let Some(kind) = sabotage.filter(|_| !self.played.sabotaged && done * 3 >= total) {
                self.played.sabotaged = sabotage::commit(self, kind)?;
            }
        }
        if self.places.iter().any(|place| place.pending.is_some()) {
            return Err(Stuck("sessions wait although no transaction is open".to_owned()));
        }
        if let Some(kind) = sabotage.filter(|_| !self.played.sabotaged) {
            self.played.sabotaged = sabotage::commit(self, kind)?;
        }
        self.drain()
    }

    fn transaction(&self, session: usize) -> Option<&Transaction> {
        self.ledger.program.sessions[session].get(self.places[session].transaction)
    }

    fn next(&self) -> Option<usize> {
        let free = (0..self.places.len()).filter(|&s| self.places[s].pending.is_none());
        let ranked = free.filter_map(|s| Some((self.transaction(s)?.rank(self.places[s].statement), s)));
        ranked.min().map(|(_, session)| session)
    }

    fn step(&mut self, session: usize) -> Result<(), Stuck> {
        let Some(transaction) = self.transaction(session).cloned() else { return Ok(()) };
        let statement = self.places[session].statement;
        let alone = transaction.level == Level::Alone;
        let call = if alone { Some(statement) } else { statement.checked_sub(1) };
        match call {
            None => {
                self.ledger.begin(session);
                let looks = if transaction.looks { ", look" } else { "" };
                let text = format!("{}{looks}", transaction.level.begin());
                self.say(session, &text, Say::Begin(transaction.level.begin(), transaction.looks), Pending::Begin)
            }
            Some(call) if call < transaction.calls.len() => {
                let kind = transaction.calls[call];
                let chosen = self.ledger.choose(session, kind, call == 0, &mut transaction.dice(call));
                self.call(session, chosen)
            }
            Some(_) if transaction.commits => self.say(session, "commit", Say::Commit, Pending::Commit),
            Some(_) => self.say(session, "rollback", Say::Rollback, Pending::Rollback),
        }
    }

    pub fn call(&mut self, session: usize, chosen: Chosen) -> Result<(), Stuck> {
        let level = self.transaction(session).filter(|_| !self.is_draining).map(|t| t.level);
        if level.is_some_and(Level::may_conflict) {
            self.ledger.take_snapshot(session);
        }
        if let Call::Cancel(slot) | Call::Retry(slot) = chosen.call {
            self.ledger.runs[slot].disturbed = true;
        }
        self.say(session, &chosen.text, chosen.say, Pending::Call(chosen.call))
    }

    fn say(&mut self, session: usize, text: &str, say: Say, pending: Pending) -> Result<(), Stuck> {
        self.played.statements += 1;
        let line = format!("{:>3} {} {text}", self.played.statements, letter(session));
        self.tell(&line);
        self.places[session].pending = Some(pending);
        let mut answers = self.crew.say(session, say)?;
        let mut waits = self.crew.is_waiting(session);
        loop {
            for (who, answer) in answers {
                if who != session {
                    let line = format!("    {} goes on", letter(who));
                    self.tell(&line);
                }
                self.enter(who, answer);
            }
            if waits {
                let others: String = self.crew.waits_for(session).into_iter().flatten().map(|s| letter(*s)).collect();
                self.tell(&format!("      waits for {others}"));
                self.played.waits += 1;
                waits = false;
            }
            match self.crew.part()? {
                Some((who, more)) => {
                    self.tell(&format!("    {} is interrupted: it would go on beside another one", letter(who)));
                    self.places[who].interrupted = true;
                    answers = more;
                }
                None => return Ok(()),
            }
        }
    }

    /// Takes an answer into the books and moves the session on.
    fn enter(&mut self, session: usize, answer: Answer) {
        self.ledger.tick();
        let place = &mut self.places[session];
        let interrupted = std::mem::take(&mut place.interrupted);
        let Some(pending) = place.pending.take() else { return };
        let rows = match answer {
            Ok(rows) => rows,
            Err(fault) => return self.fail(session, &pending, interrupted, &fault),
        };
        match pending {
            Pending::Begin => {
                if self.transaction(session).is_some_and(|t| t.looks) {
                    self.ledger.take_snapshot(session);
                }
            }
            Pending::Commit => self.ledger.commit(session),
            Pending::Rollback => self.ledger.roll_back(session),
            Pending::Call(call) => {
                if let Err(error) = self.apply(session, &call, &rows) {
                    self.problem(format!("an answer that cannot be read: {error}"));
                }
            }
        }
        self.places[session].statement += 1;
        let over = self.transaction(session).is_none_or(|t| self.places[session].statement >= t.len());
        if over && !self.is_draining {
            self.next_transaction(session);
        }
    }

    fn next_transaction(&mut self, session: usize) {
        self.places[session].transaction += 1;
        self.places[session].statement = 0;
    }

    fn fail(&mut self, session: usize, pending: &Pending, interrupted: bool, fault: &Fault) {
        let level = if self.is_draining { None } else { self.transaction(session).map(|t| t.level) };
        let code = fault.code.as_str();
        self.tell(&format!("      {code}"));
        let expected = match (code, pending) {
            ("57014", _) => interrupted,
            // A run may be younger than a snapshot that is kept.
            ("40001" | "PT404", _) => level.is_some_and(Level::may_conflict),
            ("PT409", Pending::Call(Call::StartStep(..) | Call::Retry(_))) => fault.detail.is_some(),
            _ => false,
        };
        self.played.conflicts += u64::from(code == "40001");
        if !expected {
            self.problem(format!("session {}: {fault}", letter(session)));
        }
        self.ledger.roll_back(session);
        if !self.is_draining {
            self.next_transaction(session);
        }
    }
}
