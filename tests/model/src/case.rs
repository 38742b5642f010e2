//! What the sessions of a round share: the runs, who holds which task, and what was noticed.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use crate::generate::{Flow, Plan};
use crate::interpret::Expected;

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One generated flow with its runs: what counts as passed or failed.
pub struct Dag {
    pub seed: u64,
    pub flow: Flow,
    pub plans: Vec<Plan>,
    /// What went wrong outside of one run.
    pub problems: Mutex<Vec<String>>,
}

/// Where the cancelling and retrying of a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disturbance {
    None,
    Planned,
    /// Between the two calls; the run's end does not count.
    Cancelled,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody else may be handed this attempt or the next one.
    Holds,
    /// About to fail the attempt, or to let its lease run out: the next attempt may turn up.
    GivesUp,
    /// About to release: the same attempt may turn up under another lease.
    Releases,
    /// Completed: never to be seen again.
    Completed,
}

#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub attempt: i32,
    pub lease: i64,
    pub session: usize,
    pub holder: Holder,
}

pub struct Run {
    pub dag: Arc<Dag>,
    pub id: Uuid,
    pub payload: Value,
    pub expected: Expected,
    /// Steps taken over from the run it was forked from.
    pub kept: BTreeSet<usize>,
    pub origin: Option<Uuid>,
    /// Cancelled and retried in between: attempts are not compared.
    pub disturbed: bool,
    pub disturbance: Mutex<Disturbance>,
    /// What is to be forked from it when it has ended.
    pub fork: Option<(Vec<usize>, Option<Value>)>,
    /// The round's clock when it was seen to have ended, else 0.
    pub ended_at: AtomicU64,
    claims: Mutex<HashMap<(usize, i32), Claim>>,
    /// Each call that touched the run, with what it returned.
    pub log: Mutex<Vec<String>>,
    pub problems: Mutex<Vec<String>>,
    started: Instant,
}

impl Run {
    pub fn new(dag: &Arc<Dag>, id: Uuid, payload: Value, expected: Expected, disturbed: bool) -> Run {
        let disturbance = if disturbed { Disturbance::Planned } else { Disturbance::None };
        Run {
            dag: Arc::clone(dag),
            id,
            payload,
            expected,
            kept: BTreeSet::new(),
            origin: None,
            disturbed,
            disturbance: Mutex::new(disturbance),
            fork: None,
            ended_at: AtomicU64::new(0),
            claims: Mutex::default(),
            log: Mutex::default(),
            problems: Mutex::default(),
            started: Instant::now(),
        }
    }

    pub fn note(&self, session: usize, event: &str) {
        let ms = self.started.elapsed().as_millis();
        lock(&self.log).push(format!("{ms:>6} ms  session {session}  {event}"));
    }

    pub fn problem(&self, session: usize, problem: String) {
        self.note(session, &format!("PROBLEM {problem}"));
        let mut problems = lock(&self.problems);
        if problems.len() < 20 {
            problems.push(problem);
        }
    }

    pub fn ended(&self) -> bool {
        self.ended_at.load(Ordering::Relaxed) > 0
    }

    pub fn disturbance(&self) -> Disturbance {
        *lock(&self.disturbance)
    }

    /// Whether steps only end the way the interpreter says, and settling by the holder is never refused before.
    pub fn calm(&self) -> bool {
        !self.disturbed && !self.expected.fails
    }

    pub fn claim(&self, step: usize, task: i32) -> Option<Claim> {
        lock(&self.claims).get(&(step, task)).copied()
    }

    /// Says what a lease's holder is about to do; nothing when the lease is no longer the latest.
    pub fn set_holder(&self, step: usize, task: i32, lease: i64, holder: Holder) {
        if let Some(claim) = lock(&self.claims).get_mut(&(step, task)).filter(|c| c.lease == lease) {
            claim.holder = holder;
        }
    }

    /// Enters a claimed task; an error when it should not have been handed out.
    pub fn enter(&self, step: usize, task: i32, new: Claim) -> Result<(), String> {
        let next = new.attempt;
        let mut claims = lock(&self.claims);
        // Between a claim and its entry here the run may have been cancelled, retried and claimed again.
        let late = |old: &Claim| self.disturbed && next < old.attempt;
        if claims.get(&(step, task)).is_some_and(late) {
            return Ok(());
        }
        let old = claims.insert((step, task), new);
        drop(claims);
        let Some(old) = old else {
            let first = next == 1 || self.disturbed && next > 1;
            return if first { Ok(()) } else { Err(format!("the first attempt is {next}")) };
        };
        let was = format!("attempt {} was handed to session {} under lease {}", old.attempt, old.session, old.lease);
        if old.lease == new.lease {
            Err(format!("the lease is not new: {was}"))
        } else if old.holder == Holder::Completed {
            Err(format!("the task is completed: {was} and completed"))
        } else if next == old.attempt && old.holder == Holder::Releases
            || next > old.attempt && self.disturbed
            || next == old.attempt + 1 && old.holder == Holder::GivesUp
        {
            Ok(())
        } else {
            Err(format!("attempt {next} handed out although {was} ({:?})", old.holder))
        }
    }
}

/// A run that some session is to start.
pub enum Start {
    /// By `run_flow` when one, by `run_flows` when several.
    Plans(Arc<Dag>, Vec<usize>),
    /// By `fork_run`: origin, named steps, payload, the steps kept, and what to expect.
    Fork { origin: Arc<Run>, named: Vec<String>, payload: Option<Value>, kept: BTreeSet<usize>, expected: Expected },
}

/// Runs that are worked together.
pub struct Round {
    pub queues: Vec<String>,
    pub starts: Mutex<Vec<Start>>,
    pub unstarted: AtomicUsize,
    pub runs: RwLock<HashMap<Uuid, Arc<Run>>>,
    pub problems: Mutex<Vec<String>>,
    pub calls: AtomicU64,
    pub serialisation_failures: AtomicU64,
    pub stalled: AtomicBool,
    begun: Instant,
    /// When something was last claimed or settled, in milliseconds since the round began.
    progress: AtomicU64,
}

const STALL: Duration = Duration::from_secs(12);

impl Round {
    pub fn new(queues: Vec<String>) -> Round {
        Round {
            queues,
            starts: Mutex::default(),
            unstarted: AtomicUsize::new(0),
            runs: RwLock::default(),
            problems: Mutex::default(),
            calls: AtomicU64::new(0),
            serialisation_failures: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
            begun: Instant::now(),
            progress: AtomicU64::new(0),
        }
    }

    pub fn plan(&self, start: Start) {
        self.unstarted.fetch_add(1, Ordering::Relaxed);
        lock(&self.starts).push(start);
    }

    pub fn enter(&self, run: Run) {
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        runs.insert(run.id, Arc::new(run));
    }

    pub fn all(&self) -> Vec<Arc<Run>> {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        runs.values().cloned().collect()
    }

    pub fn open(&self) -> Vec<Arc<Run>> {
        let mut runs = self.all();
        runs.retain(|r| !r.ended());
        runs
    }

    /// A task may be claimed before the session that started its run has said so.
    pub fn find(&self, id: Uuid) -> Option<Arc<Run>> {
        for _ in 0..2_000 {
            let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(run) = runs.get(&id) {
                return Some(Arc::clone(run));
            }
            drop(runs);
            if self.unstarted.load(Ordering::Relaxed) == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    pub fn progressed(&self) {
        self.progress.store(self.now(), Ordering::Relaxed);
    }

    pub fn stalls(&self) -> bool {
        let idle = self.now().saturating_sub(self.progress.load(Ordering::Relaxed));
        if Duration::from_millis(idle) > STALL {
            self.stalled.store(true, Ordering::Relaxed);
        }
        self.stalled.load(Ordering::Relaxed)
    }

    /// Milliseconds since the round began, from 1.
    pub fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    pub fn problem(&self, problem: String) {
        let mut problems = lock(&self.problems);
        if problems.len() < 50 && !problems.contains(&problem) {
            problems.push(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::generate;
    use crate::interpret::{Kept, interpret};

    fn run(disturbed: bool) -> Run {
        let (flow, plans) = generate(1, "t");
        let dag = Dag { seed: 1, flow, plans, problems: Mutex::default() };
        let payload = dag.plans[0].payload.clone();
        let expected = interpret(&dag.flow, &payload, &Kept::new());
        Run::new(&Arc::new(dag), Uuid::nil(), payload, expected, disturbed)
    }

    fn claim(attempt: i32, lease: i64) -> Claim {
        Claim { attempt, lease, session: 0, holder: Holder::Holds }
    }

    #[test]
    fn a_held_task_is_nobody_elses() {
        let r = run(false);
        assert!(r.enter(0, 0, claim(1, 10)).is_ok());
        assert!(r.enter(0, 0, claim(1, 11)).is_err());
        assert!(r.enter(0, 0, claim(1, 11)).is_err(), "not under the same lease");
        assert!(r.enter(0, 1, claim(2, 12)).is_err(), "attempts begin at 1");
    }

    #[test]
    fn what_the_holder_does_decides_what_may_turn_up() {
        let r = run(false);
        assert!(r.enter(0, 0, claim(1, 10)).is_ok());
        r.set_holder(0, 0, 10, Holder::Releases);
        assert!(r.enter(0, 0, claim(1, 11)).is_ok());
        r.set_holder(0, 0, 10, Holder::Completed);
        r.set_holder(0, 0, 11, Holder::GivesUp);
        assert!(r.enter(0, 0, claim(2, 12)).is_ok());
        r.set_holder(0, 0, 12, Holder::Completed);
        assert!(r.enter(0, 0, claim(3, 13)).is_err());
    }

    #[test]
    fn a_retried_run_goes_on_counting() {
        let r = run(true);
        assert!(r.enter(0, 0, claim(2, 10)).is_ok());
        assert!(r.enter(0, 0, claim(4, 11)).is_ok());
        assert!(r.enter(0, 0, claim(4, 12)).is_err());
    }
}
