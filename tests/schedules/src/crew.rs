//! The sessions, and what tells that each of them has either answered or waits for another one.
//!
//! Only one statement is started at a time, and none while another runs. When a transaction ends, whoever waited for
//! it runs on. Two who waited for it would run on side by side and meet in an order that nobody decides, unless one
//! stands in line behind the other; so of two such the later is interrupted before it comes to that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use pgflow_model_test::calls::{Fault, connect};
use postgres::{Client, Config, NoTls};

use crate::session::{Answer, Say, Session};

/// How long a statement may run without waiting for a lock.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Crew {
    pub sessions: Vec<Session>,
    answers: Receiver<(usize, Answer)>,
    /// Who has not answered, in the order in which they were asked, with those they were last seen to wait for.
    waiting: Vec<(usize, BTreeSet<usize>)>,
    /// In another database: its snapshots hold nothing back here.
    monitor: Client,
    pub admin: Client,
}

/// Answers that came, each with the session that gave it.
pub type Answers = Vec<(usize, Answer)>;

/// The schedule cannot go on.
#[derive(Debug)]
pub struct Stuck(pub String);

impl From<postgres::Error> for Stuck {
    fn from(error: postgres::Error) -> Stuck {
        Stuck(Fault::from(error).to_string())
    }
}

fn connect_monitor() -> Result<Client, postgres::Error> {
    let var = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
    let mut config = Config::new();
    config.host(var("PGHOST").as_deref().unwrap_or("/var/run/postgresql"));
    config.port(var("PGPORT").and_then(|port| port.parse().ok()).unwrap_or(5432));
    config.user(var("PGUSER").as_deref().unwrap_or("postgres")).dbname("postgres");
    if let Some(password) = var("PGPASSWORD") {
        config.password(password);
    }
    config.application_name("schedules monitor").connect(NoTls)
}

impl Crew {
    pub fn connect(size: usize) -> Result<Crew, postgres::Error> {
        let (to, answers) = channel();
        let sessions = (0..size).map(|n| Session::connect(n, to.clone())).collect::<Result<_, _>>()?;
        let admin = connect("schedules")?;
        Ok(Crew { sessions, answers, waiting: Vec::new(), monitor: connect_monitor()?, admin })
    }

    pub fn is_waiting(&self, session: usize) -> bool {
        self.waiting.iter().any(|(s, _)| *s == session)
    }

    /// Whom the session waits for.
    pub fn waits_for(&self, session: usize) -> Option<&BTreeSet<usize>> {
        self.waiting.iter().find(|(s, _)| *s == session).map(|(_, others)| others)
    }

    /// Makes a session say something and lets everything that follows happen. Returns the answers that came, in the
    /// order in which one let the other go on.
    pub fn say(&mut self, session: usize, say: Say) -> Result<Answers, Stuck> {
        self.sessions[session].say(say);
        self.waiting.push((session, BTreeSet::new()));
        self.settle_down(session, false)
    }

    /// Interrupts a session that waits for the same one as another session, beside and not behind it, if there is one.
    pub fn part(&mut self) -> Result<Option<(usize, Answers)>, Stuck> {
        let beside = |(a, of_a): &(usize, BTreeSet<usize>), (b, of_b): &(usize, BTreeSet<usize>)| {
            !of_a.contains(b) && !of_b.contains(a) && !of_a.is_disjoint(of_b)
        };
        let later = (1..self.waiting.len()).find(|&n| self.waiting[..n].iter().any(|w| beside(w, &self.waiting[n])));
        let Some(later) = later else { return Ok(None) };
        let session = self.waiting[later].0;
        self.sessions[session].interrupt()?;
        self.settle_down(session, true).map(|answers| Some((session, answers)))
    }

    /// `answers` says that the session asked does not wait any more, whatever it looks like.
    fn settle_down(&mut self, asked: usize, answers: bool) -> Result<Answers, Stuck> {
        let begun = Instant::now();
        let mut came: Answers = Vec::new();
        let mut first = true;
        loop {
            let pause = if first { Duration::from_micros(1000) } else { Duration::from_micros(200) };
            first = false;
            match self.answers.recv_timeout(pause) {
                Ok(answer) => came.push(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Stuck("the sessions have ended".to_owned())),
            }
            came.extend(self.answers.try_iter());
            let silent: Vec<usize> =
                self.waiting.iter().map(|w| w.0).filter(|s| came.iter().all(|(c, _)| c != s)).collect();
            let complete = !answers || !silent.contains(&asked);
            if complete && (silent.is_empty() || self.all_wait(&silent)?) {
                break;
            }
            if begun.elapsed() > PATIENCE {
                return Err(Stuck(format!("session {silent:?} neither answers nor waits for a lock")));
            }
        }
        let mut sorted = Vec::new();
        while !came.is_empty() {
            // Who was asked did what let the others go on.
            let next = (came.iter())
                .position(|(s, _)| *s == asked)
                .or_else(|| came.iter().position(|(s, _)| came.iter().all(|(c, _)| !self.did_wait(*s, *c))));
            sorted.push(came.remove(next.unwrap_or(0)));
        }
        // As they were before, until the last of them was sorted.
        self.waiting.retain(|(s, _)| sorted.iter().all(|(c, _)| c != s));
        self.look()?;
        Ok(sorted)
    }

    fn did_wait(&self, session: usize, other: usize) -> bool {
        self.waits_for(session).is_some_and(|others| others.contains(&other))
    }

    /// Whom each of these backends waits for, by process id.
    fn blockers(&mut self, sessions: &[usize]) -> Result<BTreeMap<usize, Vec<i32>>, Stuck> {
        let pids: Vec<i32> = sessions.iter().map(|&s| self.sessions[s].pid).collect();
        let row = self.monitor.query_one(
            "select array_agg(pg_blocking_pids(pid)::text order by n) from unnest($1::int[]) with ordinality p(pid, n)",
            &[&pids],
        )?;
        let texts: Vec<String> = row.try_get(0)?;
        let parse = |text: &String| text.trim_matches(['{', '}']).split(',').filter_map(|p| p.parse().ok()).collect();
        Ok(sessions.iter().copied().zip(texts.iter().map(parse)).collect())
    }

    /// Whether all of these wait for locks that only sessions of ours hold.
    fn all_wait(&mut self, sessions: &[usize]) -> Result<bool, Stuck> {
        let blockers = self.blockers(sessions)?;
        let ours = |pid: &i32| self.sessions.iter().any(|s| s.pid == *pid);
        Ok(blockers.values().all(|pids| !pids.is_empty() && pids.iter().all(ours)))
    }

    /// Notes whom those wait for who have not answered; a cycle is an error.
    fn look(&mut self) -> Result<(), Stuck> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let silent: Vec<usize> = self.waiting.iter().map(|w| w.0).collect();
        let blockers = self.blockers(&silent)?;
        for (session, others) in &mut self.waiting {
            let pids = blockers.get(session).map_or(&[][..], Vec::as_slice);
            *others = (0..self.sessions.len()).filter(|&n| pids.contains(&self.sessions[n].pid)).collect();
        }
        let mut stuck = silent;
        loop {
            let before = stuck.len();
            let waiting = &self.waiting;
            let others = |s: usize| waiting.iter().find(|w| w.0 == s).map(|w| &w.1);
            let held_up = stuck.clone();
            stuck.retain(|&s| others(s).is_some_and(|others| others.iter().any(|other| held_up.contains(other))));
            if stuck.is_empty() {
                return Ok(());
            }
            if stuck.len() == before {
                return Err(Stuck(format!("deadlock: sessions {stuck:?} wait for each other")));
            }
        }
    }

    /// Waits a moment for what the server says of those who are stuck.
    pub fn last_words(&mut self) -> Answers {
        let mut came = Vec::new();
        while let Ok(answer) = self.answers.recv_timeout(Duration::from_millis(800)) {
            came.push(answer);
        }
        came
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for (session, _) in &self.waiting {
            let _ = self.sessions[*session].interrupt();
        }
    }
}
