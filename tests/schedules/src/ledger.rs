//! Where every task must stand, kept beside the database by one who sees all sessions: who holds which lease, what is
//! done, what was acknowledged.
//!
//! Changes are entered when a statement returns and taken back when its transaction rolls back. The engine locks what it
//! changes, so until then no other session can have changed it too.

use std::collections::BTreeMap;

use pgflow_model_test::calls::Receipt;
use serde_json::Value;
use uuid::Uuid;

use crate::program::Program;

/// Run (by its place in the program), step and task.
pub type Key = (usize, usize, i32);

#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Queued; this attempt comes next.
    Free(i32),
    Held(Lease),
    /// Settled for good.
    Done,
    /// It was refused, or settled without a receipt, and may have been cancelled.
    Unsure,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    pub lease: i64,
    pub attempt: i32,
    pub session: usize,
    /// It has run out.
    pub aged: bool,
    /// And somebody has claimed since, which may have ended it without handing its task out.
    pub ended: bool,
    /// The time at which other sessions came to see it.
    pub since: u64,
}

#[derive(Clone, Debug)]
pub enum Deed {
    Complete(Option<Value>),
    Fail { retryable: bool, retry_after: Option<i32> },
    Release,
}

/// A task that a call is about.
#[derive(Clone, Debug)]
pub struct Target {
    pub key: Key,
    pub lease: Option<i64>,
    pub attempt: i32,
}

#[derive(Clone, Default)]
pub struct Run {
    pub id: Option<Uuid>,
    /// The session that made it has not committed.
    pub uncommitted: bool,
    /// Someone tried to cancel it: from then on its tasks may be refused, and its attempts count on.
    pub disturbed: bool,
    pub cancelled: bool,
}

/// What a rollback brings back.
enum Undo {
    /// From what to what; left alone when another session has changed it since, as it may what the server refused.
    Task(Key, Option<Task>, Task),
    Run(usize, Run),
    Accepted(Key),
    Unanswered(Key),
    /// This lease was not taken over.
    Replaced(i64),
}

pub struct Ledger<'a> {
    pub program: &'a Program,
    pub runs: Vec<Run>,
    pub tasks: BTreeMap<Key, Task>,
    /// Completions that were acknowledged.
    pub accepted: BTreeMap<Key, u32>,
    /// Completions sent in a call that returns no receipts.
    pub unanswered: BTreeMap<Key, u32>,
    /// Leases that were taken over by another claim.
    pub replaced: Vec<Target>,
    /// Counts the answers.
    time: u64,
    /// When each session's transaction took the snapshot that it keeps.
    snapshots: Vec<Option<u64>>,
    undo: Vec<Option<Vec<Undo>>>,
}

impl<'a> Ledger<'a> {
    pub fn new(program: &'a Program) -> Ledger<'a> {
        Ledger {
            program,
            runs: vec![Run::default(); program.plans.len()],
            tasks: BTreeMap::new(),
            accepted: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            replaced: Vec::new(),
            time: 0,
            snapshots: vec![None; program.sessions.len()],
            undo: program.sessions.iter().map(|_| None).collect(),
        }
    }

    pub fn begin(&mut self, session: usize) {
        self.undo[session] = Some(Vec::new());
    }

    /// The session's transaction sees nothing that is committed from now on.
    pub fn take_snapshot(&mut self, session: usize) {
        self.snapshots[session].get_or_insert(self.time);
    }

    /// An answer has come.
    pub fn tick(&mut self) {
        self.time += 1;
    }

    pub fn commit(&mut self, session: usize) {
        self.snapshots[session] = None;
        for undo in self.undo[session].take().unwrap_or_default() {
            match undo {
                Undo::Run(slot, _) => self.runs[slot].uncommitted = false,
                Undo::Task(key, ..) => {
                    if let Some(Task::Held(lease)) = self.tasks.get_mut(&key) {
                        lease.since = self.time;
                    }
                }
                Undo::Accepted(_) | Undo::Unanswered(_) | Undo::Replaced(_) => {}
            }
        }
    }

    /// The lease that a target names, if it is the current one; `None` also when the session's snapshot is older, and
    /// the server will not know it either.
    pub fn lease(&self, session: usize, target: &Target) -> Option<&Lease> {
        match self.tasks.get(&target.key) {
            Some(Task::Held(held)) if target.lease.is_none_or(|lease| lease == held.lease) => {
                Some(held).filter(|held| self.snapshots[session].is_none_or(|taken| held.since <= taken))
            }
            _ => None,
        }
    }

    pub fn roll_back(&mut self, session: usize) {
        self.snapshots[session] = None;
        for undo in self.undo[session].take().unwrap_or_default().into_iter().rev() {
            match undo {
                Undo::Task(key, _, after) if self.tasks.get(&key) != Some(&after) => {}
                Undo::Task(key, Some(before), _) => drop(self.tasks.insert(key, before)),
                Undo::Task(key, None, _) => drop(self.tasks.remove(&key)),
                Undo::Run(slot, run) => {
                    let disturbed = self.runs[slot].disturbed;
                    self.runs[slot] = Run { disturbed, ..run };
                }
                Undo::Accepted(key) => *self.accepted.entry(key).or_default() -= 1,
                Undo::Unanswered(key) => *self.unanswered.entry(key).or_default() -= 1,
                Undo::Replaced(lease) => self.replaced.retain(|target| target.lease != Some(lease)),
            }
        }
    }

    fn remember(&mut self, session: usize, undo: impl FnOnce(&Ledger) -> Undo) {
        if self.undo[session].is_some() {
            let undo = undo(self);
            self.undo[session].get_or_insert_default().push(undo);
        }
    }

    pub fn set(&mut self, session: usize, key: Key, task: Task) {
        self.remember(session, |ledger| Undo::Task(key, ledger.tasks.get(&key).cloned(), task.clone()));
        self.tasks.insert(key, task);
    }

    pub fn set_run(&mut self, session: usize, slot: usize, change: impl FnOnce(&mut Run)) {
        self.remember(session, |ledger| Undo::Run(slot, ledger.runs[slot].clone()));
        change(&mut self.runs[slot]);
    }

    /// Whether the session has an open transaction.
    pub fn is_open(&self, session: usize) -> bool {
        self.undo[session].is_some()
    }

    pub fn find_run(&self, id: Uuid) -> Option<usize> {
        self.runs.iter().position(|run| run.id == Some(id))
    }

    /// The run's id, for who may see it.
    pub fn visible(&self, session: usize, slot: usize) -> Option<Uuid> {
        let run = &self.runs[slot];
        let own = || (self.undo[session].iter().flatten()).any(|u| matches!(u, Undo::Run(s, _) if *s == slot));
        run.id.filter(|_| !run.uncommitted || own())
    }

    /// Leases that are held, also those that another session has settled and not committed; not those that it has
    /// claimed and not committed.
    pub fn held(&self) -> Vec<(Key, Lease)> {
        let mut held: BTreeMap<Key, Option<Lease>> = BTreeMap::new();
        for undo in self.undo.iter().flatten().flatten() {
            if let Undo::Task(key, before, _) = undo {
                held.entry(*key).or_insert_with(|| match before {
                    Some(Task::Held(lease)) => Some(lease.clone()),
                    _ => None,
                });
            }
        }
        for (key, task) in &self.tasks {
            if let Task::Held(lease) = task {
                held.entry(*key).or_insert_with(|| Some(lease.clone()));
            }
        }
        held.into_iter().filter_map(|(key, lease)| Some((key, lease?))).collect()
    }

    /// Whether a transaction under way has touched the task.
    pub fn is_in_flight(&self, key: Key) -> bool {
        self.undo.iter().flatten().flatten().any(|u| matches!(u, Undo::Task(k, ..) if *k == key))
    }

    /// Enters a claimed task; says what is wrong with handing it out.
    pub fn claim(&mut self, session: usize, key: Key, attempt: i32, lease: i64) -> Option<String> {
        let new = Lease { lease, attempt, session, aged: false, ended: false, since: self.time };
        let disturbed = self.runs[key.0].disturbed;
        let wrong = match self.tasks.get(&key) {
            _ if disturbed => None,
            None if attempt == 1 => None,
            None => Some(format!("the first attempt is {attempt}")),
            Some(Task::Free(next)) if *next == attempt => None,
            Some(Task::Free(next)) => Some(format!("attempt {attempt} handed out where {next} comes next")),
            Some(Task::Held(old)) if old.aged && attempt == old.attempt + 1 => None,
            Some(Task::Held(old)) => {
                Some(format!("attempt {attempt} handed out while session {} holds {}", old.session, old.attempt))
            }
            Some(Task::Done) => Some(format!("attempt {attempt} handed out although the task is done")),
            Some(Task::Unsure) => None,
        };
        if let Some(Task::Held(old)) = self.tasks.get(&key).cloned() {
            self.remember(session, |_| Undo::Replaced(old.lease));
            self.replaced.push(Target { key, lease: Some(old.lease), attempt: old.attempt });
        }
        self.set(session, key, Task::Held(new));
        wrong
    }

    /// Somebody claims: leases that ran out may be ended now, whether or not their tasks are handed out.
    pub fn end_aged(&mut self) {
        for task in self.tasks.values_mut() {
            if let Task::Held(lease) = task {
                lease.ended |= lease.aged;
            }
        }
    }

    /// Whether the task's step goes on until the task is settled, whatever happens elsewhere.
    fn is_safe(&self, key: Key) -> bool {
        let expected = &self.program.expected[key.0];
        !expected.fails && expected.steps[key.1].output().is_some()
    }

    /// Enters a receipt; says what is wrong with it.
    pub fn settle(&mut self, session: usize, target: &Target, deed: &Deed, receipt: &Receipt) -> Option<String> {
        let Target { key, lease, .. } = *target;
        let step = &self.program.flow.steps[key.1];
        let goes_on = receipt.step == "started" && receipt.run == "started";
        let ended = self.lease(session, target).is_some_and(|held| held.ended);
        let current = match self.tasks.get(&key) {
            Some(Task::Held(_)) => self.lease(session, target).is_some(),
            None => step.external && lease.is_none() && goes_on,
            Some(Task::Unsure) => receipt.accepted && lease.is_none(),
            Some(Task::Free(_) | Task::Done) => false,
        };
        let disturbed = self.runs[key.0].disturbed;
        if !receipt.accepted {
            let wrong = current && !ended && !disturbed && (goes_on || !step.external && self.is_safe(key));
            if current && !step.external {
                self.set(session, key, Task::Unsure);
            }
            return wrong.then(|| "refused the holder of the lease".to_owned());
        }
        // An external task that is not in the books was started by the engine, and may be done with it.
        let current = current || step.external && !self.tasks.contains_key(&key);
        if !current && !disturbed {
            return Some("accepted from someone who has no lease".to_owned());
        }
        let got = receipt.task.as_deref().unwrap_or("NULL");
        let (expected, next) = match deed {
            Deed::Fail { retryable: true, .. } if disturbed => (got, Task::Unsure),
            // Another result of the batch has ended the step or the run.
            Deed::Fail { retryable: true, .. } | Deed::Release if !goes_on => (got, Task::Unsure),
            _ => self.follows(target, deed),
        };
        if matches!(deed, Deed::Complete(_)) && got == "completed" {
            self.remember(session, |_| Undo::Accepted(key));
            *self.accepted.entry(key).or_default() += 1;
        }
        self.set(session, key, next);
        (got != expected).then(|| format!("expected task_status {expected}"))
    }

    /// What the deed makes of the task: its status in the receipt, and what comes next.
    fn follows(&self, target: &Target, deed: &Deed) -> (&'static str, Task) {
        let Target { key, attempt, .. } = *target;
        let step = &self.program.flow.steps[key.1];
        let budget = i32::try_from(step.max_attempts(&self.program.flow)).unwrap_or(i32::MAX);
        match deed {
            Deed::Complete(_) => {
                let task = usize::try_from(key.2).ok();
                let end = task.and_then(|task| self.program.expected[key.0].steps[key.1].tasks.get(task));
                (end.and_then(|end| end.attempts.last()).copied().unwrap_or("completed"), Task::Done)
            }
            Deed::Release => ("queued", Task::Free(attempt)),
            Deed::Fail { retryable: true, .. } if attempt < budget => ("queued", Task::Free(attempt + 1)),
            Deed::Fail { .. } => ("failed", Task::Done),
        }
    }

    /// Enters what a call without receipts was to settle.
    pub fn settle_unanswered(&mut self, session: usize, target: &Target, deed: &Deed) {
        let held = self.lease(session, target).cloned();
        if matches!(deed, Deed::Complete(_)) {
            self.remember(session, |_| Undo::Unanswered(target.key));
            *self.unanswered.entry(target.key).or_default() += 1;
        }
        if let Some(held) = held {
            let certain = !held.ended && self.is_safe(target.key) && !self.runs[target.key.0].disturbed;
            let next = if certain { self.follows(target, deed).1 } else { Task::Unsure };
            self.set(session, target.key, next);
        }
    }
}
