//! Who is killed next, and when.

use std::fmt;
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::process::{Processes, Role};
use crate::server::{self, Moment, Recovery, Server};
use crate::{Failure, connection};

#[derive(Clone, Copy, Debug)]
enum Victim {
    /// A worker or starter.
    Process,
    /// One process of the server; the postmaster then resets all.
    Backend,
    /// The postmaster and all its children.
    Server,
    /// The same, and recovery is interrupted.
    Recovery,
}

/// The kinds of kills as they are dealt, in random order: each comes up soon, however short the test.
const DECK: [Victim; 11] = {
    use Victim::{Backend, Process, Recovery, Server};
    [Process, Process, Process, Process, Process, Backend, Backend, Backend, Server, Server, Recovery]
};

#[derive(Default)]
pub struct Counts {
    workers: usize,
    starters: usize,
    backends: usize,
    servers: usize,
    recoveries: usize,
    redo: usize,
    late: usize,
}

impl Counts {
    fn all(&self) -> usize {
        self.workers + self.starters + self.backends + self.servers + self.recoveries + self.late
    }

    /// What is missing to a test worth its name.
    pub fn lacking(&self) -> Vec<String> {
        let interrupted = self.recoveries + self.late;
        let enough = self.workers > 0 && self.backends > 0 && self.servers > 0 && interrupted > 0 && self.all() >= 10;
        if enough { vec![] } else { vec![format!("only {self}; wanted are 10, and some of each kind")] }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Counts { workers, starters, backends, servers, recoveries, redo, late } = self;
        write!(
            f,
            "{} kills: {workers} of a worker, {starters} of a starter, {backends} of a server process, {servers} of the \
             whole server, {recoveries} of the whole server with an immediate stop during recovery ({redo} amid redo), \
             {late} with one just after it",
            self.all()
        )
    }
}

pub struct Killer<'a> {
    server: &'a Server,
    rng: StdRng,
    deck: Vec<Victim>,
    pub counts: Counts,
    /// What check_integrity() said when the server was back.
    pub problems: Vec<String>,
    pub looks: usize,
    last_look: Duration,
    verbose: bool,
    begun: Instant,
}

impl Killer<'_> {
    pub fn new(server: &Server, rng: StdRng, verbose: bool) -> Killer<'_> {
        Killer {
            server,
            rng,
            deck: Vec::new(),
            counts: Counts::default(),
            problems: Vec::new(),
            looks: 0,
            last_look: Duration::ZERO,
            verbose,
            begun: Instant::now(),
        }
    }

    /// Lets some time pass, kills, and brings back what was killed.
    pub fn kill(&mut self, processes: &mut Processes) -> Result<(), Failure> {
        // Mostly there is time to get on with the work; sometimes the next blow falls into what the last one began.
        let longest = *[30, 500, 2_000, 4_000].choose(&mut self.rng).unwrap_or(&500);
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..=longest)));
        processes.look_after()?;
        if self.deck.is_empty() {
            self.deck = DECK.to_vec();
            self.deck.shuffle(&mut self.rng);
        }
        let Some(victim) = self.deck.pop() else { return Ok(()) };
        let at = self.begun.elapsed();
        match victim {
            Victim::Process => match processes.kill(self.rng.random_range(0..processes.count()))? {
                Role::Worker => self.counts.workers += 1,
                Role::Starter => self.counts.starters += 1,
            },
            Victim::Backend => {
                // Now and then one of the server's own, the checkpointer or a writer; not the one that recovers: without
                // that the postmaster gives up, which is no matter of the extension's.
                let own = self.rng.random_bool(0.2);
                if own {
                    self.server.await_connections()?;
                }
                let children = self.server.children(!own)?;
                if let Some(&pid) = children.choose(&mut self.rng) {
                    server::signal("KILL", &[pid])?;
                    self.counts.backends += 1;
                }
                // A few of these kills are followed by the next one at once, amid the reset.
                if self.rng.random_bool(0.7) {
                    self.server.await_connections()?;
                }
            }
            Victim::Server => {
                self.kill_server()?;
                self.counts.servers += 1;
                self.server.start_again()?;
                self.look()?;
            }
            Victim::Recovery => {
                self.kill_server()?;
                let moment = if self.rng.random_bool(0.5) {
                    Moment::Redo(Duration::from_millis(self.rng.random_range(0..8)))
                } else {
                    Moment::Any(Duration::from_millis(self.rng.random_range(0..1_000)))
                };
                let counts = &mut self.counts;
                match self.server.stop_in_recovery(moment)? {
                    Recovery::UnderWay => counts.recoveries += 1,
                    Recovery::Redo => (counts.recoveries, counts.redo) = (counts.recoveries + 1, counts.redo + 1),
                    Recovery::Over => counts.late += 1,
                }
                self.server.start_again()?;
                self.look()?;
            }
        }
        if self.verbose {
            println!(
                "{:>8.2} s  {victim:?}, back after {:.2} s",
                at.as_secs_f64(),
                (self.begun.elapsed() - at).as_secs_f64()
            );
        }
        Ok(())
    }

    /// Recovered is recovered: all invariants hold before anybody has cleared up. It reads everything, so a long test
    /// does without it at some point.
    fn look(&mut self) -> Result<(), Failure> {
        if self.last_look > Duration::from_secs(2) {
            return Ok(());
        }
        let begun = Instant::now();
        let mut client = connection::connect(self.server.folder(), "killer")?;
        for row in client.query("select format('run %s: %s', run_id, problem) from pgflow.check_integrity()", &[])? {
            self.problems.push(row.try_get(0)?);
        }
        self.last_look = begun.elapsed();
        self.looks += 1;
        Ok(())
    }

    fn kill_server(&self) -> Result<(), Failure> {
        let mut pids = vec![self.server.postmaster()?];
        pids.extend(self.server.children(false)?);
        server::signal("KILL", &pids)
    }
}
