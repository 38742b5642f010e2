//! Where the walk over a queue begins.
//!
//! A claim walks the index of ready tasks from its head. What was claimed and settled before leaves dead entries in front
//! of that head, and they stay as long as vacuum has not come by, or cannot do anything because some transaction was
//! left open: a claim would walk over all of them, every time. So a backend remembers the head it saw last for each
//! queue, and begins there.
//!
//! A task can turn up before a remembered head: when a claim is rolled back, or a transaction that placed tasks commits
//! late. So the backend looks from the very beginning now and then, and the more often the cheaper that is: while claims
//! get tasks it spends a twentieth of its time on it at most, and when they get none, it looks sooner. As long as it is
//! cheap, nothing is remembered and every walk begins at the beginning. Tasks of a priority that was not seen yet lie
//! between the walks of those that were, and are always met.
//!
//! The walks over tasks that fell due and over leases that ran out are kept short in the same way.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant as Clock};

use crate::error::Result;
use crate::model::{Executor, Step};
use crate::statements;
use crate::store::value::Parameter;
use crate::store::{Instant, Session, door, pages_touched};

statements! {
    HEAD = "head.sql",
    FIRST_OVERDUE = "first_overdue.sql",
}

/// A walk over more pages than this is worth remembering where it ended.
const CHEAP_PAGES: i64 = 64;
/// A backend looks again after this many tasks that it took from the queue, or after this long.
const LOOK_TASKS: usize = 1000;
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How much longer than a look from the beginning took is waited until the next one: while claims get tasks, and when
/// they get none.
const PATIENCE: u32 = 20;
const PATIENCE_WHEN_IDLE: u32 = 4;
/// Not more often than this, though.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(1);
/// What was placed by a clock a little earlier may commit a little later.
const SLACK_MICROS: i64 = 1_000_000;
/// How many queues a backend remembers for each executor; then it starts afresh.
const REMEMBERED: usize = 1000;
/// No more ranks than this are told apart; the last walk goes on over the others.
const RANKS: usize = 16;

/// Where the walks over a queue begin.
#[derive(Clone, PartialEq)]
struct Marks {
    /// The first turn at each rank; nothing is the beginning.
    heads: BTreeMap<i32, i64>,
    due: Instant,
    leased: Instant,
}

impl Marks {
    const fn none() -> Self {
        Self {
            heads: BTreeMap::new(),
            due: Instant::MINUS_INFINITY,
            leased: Instant::MINUS_INFINITY,
        }
    }
}

/// What a backend knows of a queue.
struct Walk {
    marks: Marks,
    /// The ranks that were met or asked for.
    ranks: BTreeSet<i32>,
    /// How many tasks were taken since the last look.
    taken: usize,
    look_at: Clock,
    look_from_start_at: Clock,
    looked_from_start: Clock,
    look_from_start_took: Duration,
}

impl Walk {
    fn new(now: Clock) -> Self {
        Self {
            marks: Marks::none(),
            ranks: BTreeSet::from([rank(0)]),
            taken: 0,
            look_at: now,
            look_from_start_at: now,
            looked_from_start: now,
            look_from_start_took: Duration::ZERO,
        }
    }
}

/// The tasks of one executor in a queue: what a claim walks over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lane<'a> {
    pub queue: &'a str,
    pub executor: Executor,
}

impl<'a> Lane<'a> {
    pub fn of(step: &'a Step) -> Self {
        Self {
            queue: &step.queue,
            executor: step.executor,
        }
    }
}

#[derive(Default)]
struct Walks(HashMap<Executor, HashMap<String, Walk>>);

impl Walks {
    fn of(&self, lane: Lane) -> Option<&Walk> {
        self.0.get(&lane.executor)?.get(lane.queue)
    }

    fn of_mut(&mut self, lane: Lane) -> Option<&mut Walk> {
        self.0.get_mut(&lane.executor)?.get_mut(lane.queue)
    }
}

thread_local! {
    static WALKS: RefCell<Walks> = RefCell::default();
}

/// The walks over ready tasks: from a rank and turn, to the beginning of a rank.
pub struct Ranges {
    pub ranks: Vec<i32>,
    pub turns: Vec<i64>,
    pub before: Vec<i64>,
}

/// Where the walks of a claim begin.
pub struct Start {
    pub ready: Ranges,
    pub due: Instant,
    pub leased: Instant,
}

/// The order of priorities: the highest comes first.
pub const fn rank(priority: i32) -> i32 {
    !priority
}

/// Where a claim of this queue begins.
pub fn start(session: &Session, lane: Lane) -> Result<Start> {
    look(session, lane)?;
    let marks = marks(lane);
    Ok(Start {
        ready: ranges(&marks.heads),
        due: marks.due,
        leased: marks.leased,
    })
}

/// A claim took so many tasks of those it asked for, the first one at this rank and turn. If there was none, some may lie
/// before the marks.
pub fn taken(lane: Lane, first: Option<(i32, i64)>, tasks: usize, wanted: usize) {
    update(lane, |walk| {
        walk.taken += tasks;
        if let Some((rank, turn)) = first
            && let Some(head) = walk.marks.heads.get_mut(&rank)
        {
            *head = turn.max(*head);
        }
        if tasks == 0 && wanted > 0 && walk.marks != Marks::none() {
            let patience = walk.look_from_start_took * PATIENCE_WHEN_IDLE;
            let soon = walk.looked_from_start + patience.max(SHORTEST_PATIENCE);
            walk.look_from_start_at = walk.look_from_start_at.min(soon);
            walk.look_at = walk.look_at.min(walk.look_from_start_at);
        }
    });
}

/// When the first lease of the queue ran out, from its mark on; nothing for none.
pub fn leases_ran_out(session: &Session, lane: Lane, first: Option<Instant>) {
    update(lane, |walk| {
        if walk.marks.leased > Instant::MINUS_INFINITY {
            walk.marks.leased = first.unwrap_or(session.now).max(walk.marks.leased);
        }
    });
}

/// Corrects what is known of a queue, by what a snapshot of now shows.
fn update(lane: Lane, change: impl FnOnce(&mut Walk)) {
    if !door::has_fixed_snapshot() {
        WALKS.with_borrow_mut(|walks| walks.of_mut(lane).map(change));
    }
}

/// Where the search for the head of a queue begins, within a priority.
pub fn head_from(session: &Session, lane: Lane, priority: i32) -> Result<i64> {
    if !lane.executor.is_claimed() {
        return Ok(i64::MIN);
    }
    look(session, lane)?;
    let rank = rank(priority);
    Ok(WALKS.with_borrow_mut(|walks| {
        walks.of_mut(lane).map_or(i64::MIN, |walk| {
            if walk.ranks.len() < RANKS {
                walk.ranks.insert(rank);
            }
            walk.marks.heads.get(&rank).copied().unwrap_or(i64::MIN)
        })
    }))
}

fn marks(lane: Lane) -> Marks {
    WALKS.with_borrow(|walks| (walks.of(lane)).map_or(Marks::none(), |walk| walk.marks.clone()))
}

fn ranges(heads: &BTreeMap<i32, i64>) -> Ranges {
    let mut ranges = Ranges {
        ranks: vec![i32::MIN],
        turns: vec![i64::MIN],
        before: Vec::new(),
    };
    for (&rank, &turn) in heads {
        ranges.before.push(i64::from(rank));
        ranges.ranks.push(rank);
        ranges.turns.push(turn);
    }
    ranges.before.push(i64::MAX);
    ranges
}

/// Finds where the walks over a queue begin, if it is time to look again.
fn look(session: &Session, lane: Lane) -> Result<()> {
    // An old snapshot shows an old head.
    if door::has_fixed_snapshot() {
        return Ok(());
    }
    let begun = Clock::now();
    let Some(plan) = WALKS.with_borrow_mut(|walks| {
        let walks = walks.0.entry(lane.executor).or_default();
        let is_first = !walks.contains_key(lane.queue);
        if is_first && walks.len() >= REMEMBERED {
            walks.clear();
        }
        let walk = (walks.entry(lane.queue.to_owned())).or_insert_with(|| Walk::new(begun));
        if begun < walk.look_at && walk.taken < LOOK_TASKS {
            return None;
        }
        let is_from_start = begun >= walk.look_from_start_at;
        // A look that is cancelled is not begun again at once.
        walk.look_at = begun + LOOK_INTERVAL;
        if is_from_start {
            walk.looked_from_start = begun;
            walk.look_from_start_at =
                begun + SHORTEST_PATIENCE.max(walk.look_from_start_took * PATIENCE);
        }
        Some(Look {
            is_first,
            is_from_start,
            from: if is_from_start {
                Marks::none()
            } else {
                walk.marks.clone()
            },
            ranks: walk.ranks.clone(),
        })
    }) else {
        return Ok(());
    };

    let (heads, pages) = plan.measured(|| find_heads(lane, &plan.from.heads))?;
    let heads_are_cheap = pages <= CHEAP_PAGES + 4 * heads.len() as i64;
    let (overdue, pages) = plan.measured(|| {
        let parameters: [&dyn Parameter; 5] = [
            &lane.queue,
            &session.now,
            &plan.from.due,
            &plan.from.leased,
            &lane.executor.as_str(),
        ];
        FIRST_OVERDUE.first(&parameters, |row| Ok((row.opt(1), row.opt(2))))
    })?;
    let overdue_is_cheap = pages <= CHEAP_PAGES;

    let mut marks = plan.from;
    let mut ranks = plan.ranks;
    if !heads_are_cheap || !marks.heads.is_empty() {
        ranks.extend(heads.keys().take(RANKS));
        marks.heads = with_empty_ranks(session, heads, &marks.heads, &ranks);
    }
    if !overdue_is_cheap || marks.due > Instant::MINUS_INFINITY {
        let (due, leased) = overdue.unwrap_or_default();
        let recently = Instant(session.now.0.saturating_sub(SLACK_MICROS));
        marks.due = due.unwrap_or(recently);
        // A lease begins before it runs out: it is there by then.
        marks.leased = leased.unwrap_or(session.now);
    }
    let end = Clock::now();
    WALKS.with_borrow_mut(|walks| {
        if let Some(walk) = walks.of_mut(lane) {
            walk.marks = marks;
            walk.ranks = ranks;
            walk.taken = 0;
            walk.look_at = end + LOOK_INTERVAL;
            if plan.is_from_start {
                walk.looked_from_start = end;
                walk.look_from_start_took = end - begun;
                walk.look_from_start_at = end + (end - begun) * PATIENCE;
            }
        }
    });
    Ok(())
}

/// What a look is to do.
struct Look {
    is_first: bool,
    is_from_start: bool,
    from: Marks,
    ranks: BTreeSet<i32>,
}

impl Look {
    /// Walks, and says over how many pages. The first time a backend looks, it also reads the catalogs, so what seems
    /// expensive then is done again.
    fn measured<T>(&self, walk: impl Fn() -> Result<T>) -> Result<(T, i64)> {
        let mut before = pages_touched();
        let mut found = walk()?;
        if self.is_first && pages_touched() - before > CHEAP_PAGES {
            before = pages_touched();
            found = walk()?;
        }
        Ok((found, pages_touched() - before))
    }
}

/// The first turn at each rank that has ready tasks, found from where it was before.
fn find_heads(lane: Lane, before: &BTreeMap<i32, i64>) -> Result<BTreeMap<i32, i64>> {
    let mut heads = BTreeMap::new();
    let walks = ranges(before);
    for ((&rank, &turn), &end) in walks.ranks.iter().zip(&walks.turns).zip(&walks.before) {
        let (mut rank, mut turn) = (rank, turn);
        while heads.len() < RANKS {
            let head = HEAD.first(
                &[&lane.queue, &rank, &turn, &end, &lane.executor.as_str()],
                |row| Ok((row.get::<i32>(1)?, row.get::<i64>(2)?)),
            )?;
            let Some((found, first)) = head else { break };
            heads.insert(found, first);
            if found == i32::MAX {
                break;
            }
            (rank, turn) = (found + 1, i64::MIN);
        }
    }
    Ok(heads)
}

/// Adds the known ranks without ready tasks: they begin at the clock, which is the turn of what comes next. When there are
/// too many ranks to have looked at all, nothing is said of those behind the last head.
fn with_empty_ranks(
    session: &Session,
    mut heads: BTreeMap<i32, i64>,
    before: &BTreeMap<i32, i64>,
    known: &BTreeSet<i32>,
) -> BTreeMap<i32, i64> {
    let last = (heads.len() >= RANKS)
        .then(|| heads.keys().next_back().copied())
        .flatten();
    let recently = session.now.unix_micros().saturating_sub(SLACK_MICROS);
    for &rank in known {
        if last.is_none_or(|last| rank < last) {
            let mark = before.get(&rank).copied().unwrap_or(i64::MIN).max(recently);
            heads.entry(rank).or_insert(mark);
        }
    }
    heads
}
