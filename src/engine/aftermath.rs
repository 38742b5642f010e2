//! What the end of a run or of a flow task means for other runs: the only place where one run moves another.
//!
//! A task of a step with executor `flow` has a child: the run whose `parent_lease` is the lease of the task. When the
//! child ends, the task is settled. When the task ends otherwise, or is tried again, nobody waits for the child any more
//! and it is cancelled. Neither depends on which call notices: the lease says whether a task still waits, and a lease
//! is never given twice.
//!
//! A child that fails because one of its flow tasks could not be given a child at all (too deep a nesting, no such flow)
//! fails for good: its parent's task is not tried again, and so on up. Otherwise each generation would multiply the
//! attempts of the one below it.
//!
//! **Locks.** A call that ends a run holds that run's lock, and the other run may be held by a call that comes the opposite
//! way. So nothing is waited for here: locks are tried, rows are taken if they are free. What is not free becomes an
//! errand, a row that commits with the end itself, and [`sweep`] does it later. A call follows an end through any number
//! of generations, one after the other, as far as the number of run locks goes that it may hold.

use std::collections::{BTreeMap, HashSet};

use super::errands::{self, Errands, Kind};
use super::receipt::{self, TaskKey};
use super::settle::{self, Settlement, Verdict};
use super::{LARGEST_JSON, MAX_RUN_LOCKS, advance};
use crate::error::Result;
use crate::model::RunId;
use crate::statements;
use crate::store::subtransaction::{self, LOCK_NOT_AVAILABLE};
use crate::store::{Instant, Json, Session, lock};

statements! {
    ENDED_CHILDREN = "ended_children.sql",
    ORPHANS = "orphans.sql",
    FREE_RUNS = "free_runs.sql",
    LOCK_TASKS_NOWAIT = "lock_tasks_nowait.sql",
    CHILDLESS_TASKS = "childless_tasks.sql",
}

/// Seconds until something that was not free is tried again.
pub const PATIENCE: f64 = 0.1;

/// How many errands a sweep takes: not more than it may lock runs.
const MAX_ERRANDS: i32 = 1000;

/// What a transition leaves to be done to other runs.
#[derive(Default)]
#[must_use]
pub struct Aftermath {
    /// Children that have ended.
    ended: Vec<Ended>,
    /// Runs that may have children under way that no task waits for.
    bereft: Vec<RunId>,
    /// Flow tasks whose attempt has ended, so that they do not wait for its child.
    let_go: Vec<TaskKey>,
}

/// A child that has ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ended {
    child: RunId,
    /// If it failed, another one in its place would fail as well.
    for_good: bool,
}

impl Aftermath {
    pub fn child_ended(&mut self, child: RunId) {
        self.ended.push(Ended {
            child,
            for_good: false,
        });
    }

    /// Those of the children that have ended which are said to, ended for good: no task is tried again because of them.
    pub fn end_for_good(&mut self, is_said: impl Fn(RunId) -> bool) {
        for ended in &mut self.ended {
            ended.for_good |= is_said(ended.child);
        }
    }

    pub fn children_of(&mut self, parent: RunId) {
        self.bereft.push(parent);
    }

    pub fn child_of(&mut self, task: TaskKey) {
        self.let_go.push(task);
    }

    pub fn append(&mut self, mut other: Self) {
        self.ended.append(&mut other.ended);
        self.bereft.append(&mut other.bereft);
        self.let_go.append(&mut other.let_go);
    }

    fn is_empty(&self) -> bool {
        self.ended.is_empty() && self.bereft.is_empty() && self.let_go.is_empty()
    }
}

/// Does what is left to be done to other runs, now or as an errand. Takes at most `run_locks` locks of runs, and says how
/// many are left. Returns whether there was anything to do.
pub fn follow(session: &Session, aftermath: Aftermath, run_locks: &mut usize) -> Result<bool> {
    let is_needed = !aftermath.is_empty();
    if is_needed {
        let mut walk = Walk::new(session, *run_locks);
        walk.go(aftermath)?;
        *run_locks = walk.run_locks;
        walk.errands.leave()?;
    }
    Ok(is_needed)
}

/// Does the errands that are due. Returns when the next one is.
pub fn sweep(session: &Session) -> Result<Option<Instant>> {
    // While delete_flow holds the table everything is left for later.
    if !lock::try_share_runs_table()? {
        return Ok(Some(session.now.plus_seconds(PATIENCE)));
    }
    let mut aftermath = Aftermath::default();
    for (run, kind) in errands::take(session, MAX_ERRANDS)? {
        match kind {
            Kind::EndChildren => aftermath.children_of(run),
            Kind::TellParent | Kind::TellParentForGood => aftermath.ended.push(Ended {
                child: run,
                for_good: kind == Kind::TellParentForGood,
            }),
        }
    }
    let is_idle = aftermath.is_empty();
    if !is_idle {
        let mut walk = Walk::new(session, MAX_RUN_LOCKS);
        let mut more = Aftermath::default();
        walk.settle_childless(&aftermath.bereft, &mut more)?;
        aftermath.append(more);
        walk.go(aftermath)?;
        walk.errands.leave()?;
    }
    let next = errands::next()?;
    // What is due and was not taken, somebody else is doing.
    let earliest = if is_idle {
        session.now.plus_seconds(PATIENCE)
    } else {
        session.now
    };
    Ok(next.map(|due| due.max(earliest)))
}

/// What the end of a child says of the task of its parent.
struct Report {
    /// The child, unless it is gone.
    child: Option<Ended>,
    settlement: Settlement,
}

impl Report {
    fn size(&self) -> usize {
        match self.settlement.verdict {
            Verdict::Complete(Some(output)) => output.size(),
            _ => 0,
        }
    }
}

struct Walk<'s> {
    session: &'s Session,
    run_locks: usize,
    locked: HashSet<RunId>,
    errands: Errands,
}

impl<'s> Walk<'s> {
    fn new(session: &'s Session, run_locks: usize) -> Self {
        Self {
            session,
            run_locks,
            locked: HashSet::new(),
            errands: Errands::default(),
        }
    }

    /// One generation after the other.
    fn go(&mut self, mut aftermath: Aftermath) -> Result<()> {
        while !aftermath.is_empty() {
            let mut next = Aftermath::default();
            self.tell_parents(aftermath.ended, &mut next)?;
            self.end_children(aftermath.bereft, &aftermath.let_go, &mut next)?;
            aftermath = next;
        }
        Ok(())
    }

    fn try_lock(&mut self, run: RunId) -> bool {
        if self.locked.contains(&run) {
            return true;
        }
        if self.run_locks == 0 || !lock::try_lock_run(run) {
            return false;
        }
        self.run_locks -= 1;
        self.locked.insert(run);
        true
    }

    fn tell_parents(&mut self, ended: Vec<Ended>, next: &mut Aftermath) -> Result<()> {
        if ended.is_empty() {
            return Ok(());
        }
        let mut children: BTreeMap<RunId, bool> = BTreeMap::new();
        for Ended { child, for_good } in ended {
            *children.entry(child).or_default() |= for_good;
        }
        let ids: Vec<_> = children.keys().copied().collect();
        let reports = ENDED_CHILDREN.query(&[&ids], |row| {
            let child: RunId = row.get(1)?;
            let status: String = row.get(6)?;
            // It may have completed all the same, because a step that failed for good was skipped.
            let for_good = status == "failed" && children.get(&child).copied().unwrap_or_default();
            Ok(Report {
                child: Some(Ended { child, for_good }),
                settlement: Settlement {
                    task: TaskKey {
                        run_id: row.get(2)?,
                        step_slug: row.get(3)?,
                        task_index: row.get(4)?,
                    },
                    lease: Some(row.get(5)?),
                    verdict: match status.as_str() {
                        "completed" => Verdict::Complete(row.opt::<Json>(7)),
                        _ => failure(child, &status, row.opt(8), for_good),
                    },
                },
            })
        })?;
        self.settle(reports, next)
    }

    /// Fails the tasks of these runs whose child does not exist any more.
    fn settle_childless(&mut self, parents: &[RunId], next: &mut Aftermath) -> Result<()> {
        if parents.is_empty() {
            return Ok(());
        }
        let reports = CHILDLESS_TASKS.query(&[&parents.to_vec(), &MAX_ERRANDS], |row| {
            Ok(Report {
                child: None,
                settlement: Settlement {
                    task: TaskKey {
                        run_id: row.get(1)?,
                        step_slug: row.get(2)?,
                        task_index: row.get(3)?,
                    },
                    lease: Some(row.get(4)?),
                    verdict: Verdict::Fail {
                        message: "the child run was deleted with its flow".to_owned(),
                        retryable: false,
                        retry_after: None,
                    },
                },
            })
        })?;
        self.settle(reports, next)
    }

    fn settle(&mut self, reports: Vec<Report>, next: &mut Aftermath) -> Result<()> {
        let mut parents: BTreeMap<RunId, Vec<Report>> = BTreeMap::new();
        for report in reports {
            let parent = report.settlement.task.run_id;
            parents.entry(parent).or_default().push(report);
        }
        let mut batches: Vec<Vec<Report>> = Vec::new();
        for (parent, reports) in parents {
            if self.try_lock(parent) {
                batches.extend(in_chunks(reports));
            } else {
                self.leave(reports);
            }
        }
        // All at once: as a rule they are free. If not, each batch alone, so that one does not hold up the others.
        if batches.len() > 1 && fits(batches.iter().flatten()) {
            let all: Vec<_> = batches.iter().flatten().collect();
            if let Some(aftermath) = settle_if_free(self.session, &all)? {
                next.append(aftermath);
                return Ok(());
            }
        }
        for batch in batches {
            match settle_if_free(self.session, &batch.iter().collect::<Vec<_>>())? {
                Some(aftermath) => next.append(aftermath),
                None => self.leave(batch),
            }
        }
        Ok(())
    }

    fn leave(&mut self, reports: Vec<Report>) {
        let later = self.session.now.plus_seconds(PATIENCE);
        for report in reports {
            match report.child {
                Some(Ended { child, for_good }) => {
                    let kind = if for_good {
                        Kind::TellParentForGood
                    } else {
                        Kind::TellParent
                    };
                    self.errands.add(child, kind, later);
                }
                None => {
                    let parent = report.settlement.task.run_id;
                    self.errands.add(parent, Kind::EndChildren, later);
                }
            }
        }
    }

    fn end_children(
        &mut self,
        mut bereft: Vec<RunId>,
        let_go: &[TaskKey],
        next: &mut Aftermath,
    ) -> Result<()> {
        if bereft.is_empty() && let_go.is_empty() {
            return Ok(());
        }
        bereft.sort_unstable();
        bereft.dedup();
        let (ids, slugs, indexes) = receipt::columns(let_go.iter());
        // One more than can be ended tells that there are more.
        let most = i32::try_from(self.run_locks + 1).unwrap_or(i32::MAX);
        let orphans = ORPHANS.query(&[&bereft, &ids, &slugs, &indexes, &most], |row| {
            Ok(Orphan {
                child: row.get(1)?,
                parent: row.get(2)?,
                parent_status: row.opt(3),
            })
        })?;
        let is_all = orphans.len() < most as usize;
        let later = self.session.now.plus_seconds(PATIENCE);
        let mut locked = BTreeMap::new();
        for orphan in orphans {
            if self.try_lock(orphan.child) {
                locked.insert(orphan.child, orphan);
            } else {
                self.errands.add(orphan.parent, Kind::EndChildren, later);
            }
        }
        let ids: Vec<_> = locked.keys().copied().collect();
        let free = if ids.is_empty() {
            Vec::new()
        } else {
            FREE_RUNS.query(&[&ids], |row| row.get::<RunId>(1))?
        };
        if !is_all {
            // If none was free, it does not help to look at the same ones again at once.
            let due = if free.is_empty() {
                later
            } else {
                self.session.now
            };
            let parents = (bereft.iter().copied()).chain(let_go.iter().map(|task| task.run_id));
            for parent in parents {
                self.errands.add(parent, Kind::EndChildren, due);
            }
        }
        let mut messages = Vec::with_capacity(free.len());
        for id in &free {
            messages.push(locked.remove(id).map(|orphan| orphan.message().to_owned()));
        }
        for orphan in locked.into_values() {
            self.errands.add(orphan.parent, Kind::EndChildren, later);
        }
        if free.is_empty() {
            return Ok(());
        }
        let mut aftermath = advance::end_runs(self.session, "cancelled", &free, &messages)?;
        // No task waits for them.
        aftermath.ended.clear();
        next.append(aftermath);
        Ok(())
    }
}

/// A child that no task of its parent waits for.
struct Orphan {
    child: RunId,
    parent: RunId,
    /// Nothing when the parent is gone.
    parent_status: Option<String>,
}

impl Orphan {
    fn message(&self) -> &'static str {
        match self.parent_status.as_deref() {
            None => "the parent run was deleted",
            Some("cancelled") => "the parent run was cancelled",
            Some("failed") => "the parent run failed",
            Some(_) => "the parent run goes on without it",
        }
    }
}

fn failure(child: RunId, status: &str, message: Option<String>, for_good: bool) -> Verdict {
    let what = if status == "cancelled" {
        "was cancelled"
    } else {
        "failed"
    };
    Verdict::Fail {
        message: match message {
            Some(message) => format!("child run {child} {what}: {message}"),
            None => format!("child run {child} {what}"),
        },
        // Who cancels a child wants no other one in its place.
        retryable: status != "cancelled" && !for_good,
        retry_after: None,
    }
}

/// Settles tasks, whose runs' locks the caller holds, if nobody holds a row that this touches; else leaves everything as
/// it was.
pub fn settle_if_free_of(session: &Session, batch: &[Settlement]) -> Result<Option<Aftermath>> {
    let (ids, slugs, indexes) = receipt::columns(batch.iter().map(|settlement| &settlement.task));
    subtransaction::attempt(&[LOCK_NOT_AVAILABLE], || {
        LOCK_TASKS_NOWAIT.execute(&[&ids, &slugs, &indexes])?;
        settle::settle_nowait(session, batch)
    })
    .map(std::result::Result::ok)
}

fn settle_if_free(session: &Session, reports: &[&Report]) -> Result<Option<Aftermath>> {
    let batch: Vec<_> = (reports.iter())
        .map(|report| report.settlement.clone())
        .collect();
    let mut settled = settle_if_free_of(session, &batch)?;
    if let Some(aftermath) = &mut settled {
        let hopeless: HashSet<_> = (reports.iter())
            .filter(|report| report.child.is_some_and(|child| child.for_good))
            .map(|report| report.settlement.task.run_id)
            .collect();
        aftermath.end_for_good(|run| hopeless.contains(&run));
    }
    Ok(settled)
}

/// Whether the outputs can be handed to PostgreSQL as one array.
fn fits<'a>(reports: impl Iterator<Item = &'a Report>) -> bool {
    reports.map(Report::size).sum::<usize>() <= LARGEST_JSON
}

fn in_chunks(reports: Vec<Report>) -> Vec<Vec<Report>> {
    let mut chunks: Vec<Vec<Report>> = Vec::new();
    let mut size = 0;
    for report in reports {
        size += report.size();
        match chunks.last_mut() {
            Some(chunk) if size <= LARGEST_JSON => chunk.push(report),
            _ => {
                size = report.size();
                chunks.push(vec![report]);
            }
        }
    }
    chunks
}
