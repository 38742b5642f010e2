//! Limits of queues, and what a claim hands out under limits and pauses.
//!
//! **Strict.** Claims of a limited queue come one after the other: each takes the row of the queue, which it holds until
//! its transaction ends, and only then counts what is leased and what was started. What others claimed is committed by
//! then, so none of it is missed; what others settle meanwhile still counts, so there is never too much. The row is
//! updated, so a snapshot that is older than the last claim is refused with 40001. If somebody else has the row, nothing is
//! handed out: claiming waits for nothing.
//!
//! A claim that began before a queue had any limit does not take its row. So the first claims that find new limits hand
//! out nothing until every transaction has ended that held table `runs` at that moment, as all calls do
//! (`await_claims.sql`).
//!
//! **Windows.** A start is noted with its time, which is read once the row is held, so it is never before the end of a
//! task that made room for it. No window of the period's length, both ends included, holds more starts than allowed.
//!
//! **Keys and paused flows.** Where keys are limited or a flow is paused, the claim walks over the ready tasks in their
//! order and leaves out what is held back. A queue without any of this is claimed from by one statement and pays for one
//! probe.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant as Clock};

use super::claim::{self, Input, Request, Taken};
use super::event;
use super::walks::{self, Lane, Ranges};
use crate::error::Result;
use crate::model::{Executor, RunId};
use crate::statements;
use crate::store::value::ClaimedTask;
use crate::store::{Composite, Instant, Row, Session, door};

statements! {
    RESTRICTIONS = "restrictions.sql",
    LIMITS = "limits.sql",
    TAKE_QUEUE = "take_queue.sql",
    AWAIT_CLAIMS = "await_claims.sql",
    HEAD = "head.sql",
    COUNT_QUEUE = "count_queue.sql",
    COUNT_KEYS = "count_keys.sql",
    READY_TASKS = "ready_tasks.sql",
    LEASE_TASKS = "lease_tasks.sql",
    RECORD_STARTS = "record_starts.sql",
    FORGET_STARTS = "forget_starts.sql",
    NEXT_ROOM = "next_room.sql",
}

/// When to look again after somebody else had the queue.
const SOON: f64 = 0.02;
/// A claim that is not looking at the whole queue gives up after so many tasks that are held back.
const HELD_BACK: usize = 1000;
/// How much longer than a look at the whole queue took that found nothing, the next one is put off.
const PATIENCE: u32 = 20;
/// How many queues a backend remembers; then it starts afresh.
const REMEMBERED: usize = 1000;

/// What a backend remembers. Nothing rests on it but when it looks, and who is woken.
#[derive(Default)]
struct Memory {
    limited: HashSet<String>,
    /// Where somebody else was claiming.
    busy: HashSet<String>,
    /// When the whole queue is looked at again.
    look_at: HashMap<(Executor, String), Clock>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

fn remember<T>(change: impl FnOnce(&mut Memory) -> T) {
    MEMORY.with_borrow_mut(|memory| {
        if memory.limited.len() + memory.busy.len() + memory.look_at.len() > REMEMBERED {
            *memory = Memory::default();
        }
        change(memory);
    });
}

struct Limits {
    is_paused: bool,
    max_running: Option<i32>,
    max_running_per_key: Option<i32>,
    max_started: Option<i32>,
    max_started_per_key: Option<i32>,
    /// Seconds.
    period: f64,
    /// Whether claims from before the limits may be under way.
    awaits_claims: bool,
}

impl Limits {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            is_paused: row.get(1)?,
            max_running: row.opt(2),
            max_running_per_key: row.opt(3),
            max_started: row.opt(4),
            max_started_per_key: row.opt(5),
            period: row.get(6)?,
            awaits_claims: row.get(7)?,
        })
    }

    fn has_keys(&self) -> bool {
        self.max_running_per_key.is_some() || self.max_started_per_key.is_some()
    }

    fn counts_starts(&self) -> bool {
        self.max_started.is_some() || self.max_started_per_key.is_some()
    }

    /// For how many more tasks the queue has room now.
    fn room(&self, queue: &str, now: Instant) -> Result<i64> {
        let counted = i64::from(self.max_running.unwrap_or(0));
        let (leased, started) = COUNT_QUEUE
            .first(&[&queue, &counted, &now, &self.period], |row| {
                Ok((row.get::<i64>(1)?, row.get::<i64>(2)?))
            })?
            .unwrap_or_default();
        Ok(left(self.max_running, leased).min(left(self.max_started, started)))
    }

    fn keys(&self, queue: &str, now: Instant) -> Result<Option<Keys>> {
        if !self.has_keys() {
            return Ok(None);
        }
        let room = |leased, started| {
            left(self.max_running_per_key, leased).min(left(self.max_started_per_key, started))
        };
        let counts = COUNT_KEYS.query(&[&queue, &now, &self.period], |row| {
            let key = row.get::<String>(1)?;
            Ok((key, room(row.get(2)?, row.get(3)?)))
        })?;
        Ok(Some(Keys {
            rooms: counts.into_iter().collect(),
            unused: room(0, 0),
        }))
    }
}

fn left(most: Option<i32>, used: i64) -> i64 {
    most.map_or(i64::MAX, |most| i64::from(most) - used)
}

/// For how many more tasks each key has room.
struct Keys {
    rooms: HashMap<String, i64>,
    /// The room of a key that is not in use.
    unused: i64,
}

impl Keys {
    fn room(&mut self, key: &str) -> &mut i64 {
        self.rooms.entry(key.to_owned()).or_insert(self.unused)
    }
}

/// What of a queue may not be handed out.
struct HeldBack {
    keys: Option<Keys>,
    paused_flows: HashSet<String>,
}

impl HeldBack {
    /// Whether a task may be handed out; it then takes up the room of its key.
    fn admits(&mut self, flow_slug: &str, key: Option<&str>) -> bool {
        if self.paused_flows.contains(flow_slug) {
            return false;
        }
        let (Some(keys), Some(key)) = (&mut self.keys, key) else {
            return true;
        };
        let room = keys.room(key);
        *room -= 1;
        if *room < 0 {
            *room = 0;
            return false;
        }
        true
    }

    /// A task that was admitted is not handed out.
    fn give_back(&mut self, key: Option<&str>) {
        if let (Some(keys), Some(key)) = (&mut self.keys, key) {
            *keys.room(key) += 1;
        }
    }
}

/// Claims tasks of a queue that may be limited or paused, or of which flows may be.
pub fn claim(
    session: &Session,
    request: &Request,
    ready: &Ranges,
) -> Result<Vec<Composite<ClaimedTask>>> {
    let queue = request.lane.queue;
    let Some((is_paused, is_limited, paused_flows)) = RESTRICTIONS
        .latest(&[&queue], |row| {
            Ok((row.get(1)?, row.get(2)?, row.get::<Vec<String>>(3)?))
        })?
        .pop()
    else {
        return Ok(Vec::new());
    };
    if is_paused {
        return Ok(Vec::new());
    }
    let paused_flows = paused_flows.into_iter().collect();
    if is_limited {
        remember(|memory| memory.limited.insert(queue.to_owned()));
        return claim_limited(session, request, ready, paused_flows);
    }
    remember(|memory| memory.limited.remove(queue));
    let held_back = HeldBack {
        keys: None,
        paused_flows,
    };
    let taken = take(session, request, ready, held_back)?;
    claim::hand_out(session, request, taken)
}

fn claim_limited(
    session: &Session,
    request: &Request,
    ready: &Ranges,
    paused_flows: HashSet<String>,
) -> Result<Vec<Composite<ClaimedTask>>> {
    let queue = request.lane.queue;
    // First without the row, so that asking writes nothing while there is nothing to be had.
    let seen = LIMITS.first(&[&queue], Limits::read)?;
    // What ended since an old snapshot was taken is not seen by it: it cannot tell whether old claims are over.
    let is_blind = door::has_fixed_snapshot();
    let Some(seen) = seen.filter(|limits| !(limits.is_paused || limits.awaits_claims && is_blind))
    else {
        return Ok(Vec::new());
    };
    if seen.room(queue, session.now)? <= 0 || !has_ready_tasks(request.lane, ready)? {
        return Ok(Vec::new());
    }
    let Some(limits) = TAKE_QUEUE.first(&[&queue], Limits::read)? else {
        remember(|memory| memory.busy.insert(queue.to_owned()));
        return Ok(Vec::new());
    };
    if limits.is_paused || (limits.awaits_claims && !old_claims_are_over(queue)?) {
        return Ok(Vec::new());
    }
    let now = Instant::now();
    let room = limits.room(queue, now)?;
    let keys = limits.keys(queue, now)?;
    // The starts are dated after what made room for them.
    let session = &Session {
        now: Instant::now(),
        ..*session
    };
    let max_tasks = i64::from(request.max_tasks).min(room);
    if max_tasks <= 0 {
        return Ok(Vec::new());
    }
    let request = &Request {
        max_tasks: i32::try_from(max_tasks).unwrap_or(i32::MAX),
        ..*request
    };
    let held_back = HeldBack { keys, paused_flows };
    let taken = take(session, request, ready, held_back)?;
    if taken.len() as i64 == max_tasks && room > max_tasks {
        // Whoever found the row taken may have some, too.
        if request.lane.executor == Executor::Worker {
            event::tasks_ready(request.lane);
        } else {
            event::queue_has_room(queue);
        }
    }
    if limits.counts_starts() {
        FORGET_STARTS.execute(&[&queue, &now, &limits.period])?;
        let runs: Vec<RunId> = taken.iter().map(|task| task.run_id).collect();
        if !runs.is_empty() {
            let by_key = limits.max_started_per_key.is_some();
            RECORD_STARTS.execute(&[&queue, &runs, &session.now, &by_key])?;
        }
    }
    claim::hand_out(session, request, taken)
}

/// Whether all transactions have ended that may have claimed before the queue had limits. The caller has the queue.
fn old_claims_are_over(queue: &str) -> Result<bool> {
    let are_over = AWAIT_CLAIMS.first(&[&queue], |row| row.get(1))? == Some(true);
    if !are_over {
        remember(|memory| memory.busy.insert(queue.to_owned()));
    }
    Ok(are_over)
}

fn has_ready_tasks(lane: Lane, ready: &Ranges) -> Result<bool> {
    for ((rank, turn), before) in ready.ranks.iter().zip(&ready.turns).zip(&ready.before) {
        let executor = lane.executor.as_str();
        let head = HEAD.first(&[&lane.queue, rank, turn, before, &executor], |_| Ok(()))?;
        if head.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn take(
    session: &Session,
    request: &Request,
    ready: &Ranges,
    held_back: HeldBack,
) -> Result<Vec<Taken>> {
    if held_back.keys.is_none() && held_back.paused_flows.is_empty() {
        return claim::take(session, request, ready);
    }
    take_admitted(session, request, ready, held_back)
}

/// A task on the way of a claim.
struct Candidate {
    run_id: RunId,
    step_slug: String,
    task_index: i32,
    key: Option<String>,
}

/// Leases the next ready tasks that are not held back.
fn take_admitted(
    session: &Session,
    request: &Request,
    ready: &Ranges,
    mut held_back: HeldBack,
) -> Result<Vec<Taken>> {
    let lane = request.lane;
    let wanted = usize::try_from(request.max_tasks).unwrap_or_default();
    let begun = Clock::now();
    let looks_at_all = MEMORY.with_borrow(|memory| {
        let look_at = memory.look_at.get(&(lane.executor, lane.queue.to_owned()));
        look_at.is_none_or(|at| *at <= begun)
    });
    let mut passed = 0;
    let mut chosen = Vec::new();
    let mut taken = Vec::new();
    let executor = lane.executor.as_str();
    READY_TASKS.walk(
        &[
            &lane.queue,
            &ready.ranks,
            &ready.turns,
            &ready.before,
            &executor,
        ],
        |row| {
            let key = row.opt::<String>(2);
            if held_back.admits(&row.get::<String>(1)?, key.as_deref()) {
                chosen.push(Candidate {
                    run_id: row.get(3)?,
                    step_slug: row.get(4)?,
                    task_index: row.get(5)?,
                    key,
                });
            } else {
                passed += 1;
            }
            if taken.len() + chosen.len() == wanted {
                lease(session, request, &mut chosen, &mut taken, &mut held_back)?;
            }
            let is_enough = taken.len() == wanted || (!looks_at_all && passed >= HELD_BACK);
            Ok(if is_enough {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        },
    )?;
    lease(session, request, &mut chosen, &mut taken, &mut held_back)?;
    if passed >= HELD_BACK && looks_at_all {
        let key = (lane.executor, lane.queue.to_owned());
        let end = Clock::now();
        let patience = if taken.is_empty() {
            (end - begun) * PATIENCE
        } else {
            Duration::ZERO
        };
        remember(|memory| memory.look_at.insert(key, end + patience));
    }
    // What is held back stays before what was taken: the walk begins where it began.
    let missing = if passed == 0 { wanted } else { 0 };
    walks::taken(lane, None, taken.len(), missing);
    Ok(taken)
}

/// Leases the chosen tasks, but for those that are somebody else's by now.
fn lease(
    session: &Session,
    request: &Request,
    chosen: &mut Vec<Candidate>,
    taken: &mut Vec<Taken>,
    held_back: &mut HeldBack,
) -> Result<()> {
    if chosen.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = chosen.iter().map(|task| task.run_id).collect();
    let slugs: Vec<_> = chosen.iter().map(|task| task.step_slug.as_str()).collect();
    let indexes: Vec<_> = chosen.iter().map(|task| task.task_index).collect();
    let leased = LEASE_TASKS.query(
        &[
            &ids,
            &slugs,
            &indexes,
            &claim::leases(chosen.len()),
            &session.now,
            &request.lease_seconds,
            &request.grace,
        ],
        |row| {
            let taken = Taken {
                opens_run: row.get(1)?,
                run_id: row.get(2)?,
                flow_slug: row.get(3)?,
                step_slug: row.get(4)?,
                task_index: row.get(5)?,
                attempt: row.get(6)?,
                lease: row.get(7)?,
                lease_expires_at: row.get(8)?,
                place: (row.get(9)?, row.get(10)?),
                input: Input::Unread,
            };
            Ok((row.get::<i64>(11)?, taken))
        },
    )?;
    let mut leased = leased.into_iter().peekable();
    for (no, candidate) in chosen.drain(..).enumerate() {
        match leased.next_if(|(ordinal, _)| *ordinal == no as i64 + 1) {
            Some((_, task)) => taken.push(task),
            None => held_back.give_back(candidate.key.as_deref()),
        }
    }
    Ok(())
}

/// A task of a queue has ended or was handed back. If the queue is known to be limited, whoever waits for room is told.
pub fn task_ended(queue: &str) {
    let is_limited =
        MEMORY.with_borrow(|memory| !memory.limited.is_empty() && memory.limited.contains(queue));
    if is_limited {
        event::queue_has_room(queue);
    }
}

/// When to ask a queue again whose limits hold tasks back: when its window has room again, or soon, if the last claim of this
/// backend found somebody else claiming. `None` when nothing but the end of a running task makes room, or there is room.
pub fn next_room(session: &Session, queue: &str) -> Result<Option<Instant>> {
    let was_busy = MEMORY.with_borrow_mut(|memory| memory.busy.remove(queue));
    let limits = LIMITS.first(&[&queue], Limits::read)?;
    let Some(limits) = limits.filter(|limits| !limits.is_paused) else {
        return Ok(None);
    };
    if was_busy {
        return Ok(Some(session.now.plus_seconds(SOON)));
    }
    if limits.max_running == Some(0) || limits.max_started == Some(0) {
        return Ok(None);
    }
    let most_per_key = limits.max_started_per_key.filter(|most| *most > 0);
    let room = NEXT_ROOM.first(
        &[
            &queue,
            &session.now,
            &limits.period,
            &limits.max_started,
            &most_per_key,
        ],
        |row| Ok(row.opt(1)),
    )?;
    Ok(room.flatten())
}
