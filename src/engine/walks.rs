//! Where the walk over a queue begins.
//!
//! A claim walks the index of ready tasks from its head. What was claimed and settled before leaves dead entries in front
//! of that head, and they stay as long as vacuum has not come by, or cannot do anything because some transaction was
//! left open: a claim would walk over all of them, every time. So a backend remembers the head it saw last for each
//! queue, and begins there.
//!
//! A task can turn up before a remembered head: when a claim is rolled back, or a transaction that placed tasks commits
//! late. So the backend looks from the very beginning now and then, and the more often the cheaper that is: it spends a
//! twentieth of its time on it at most. As long as it is cheap, nothing is remembered and every walk begins at the
//! beginning. Tasks of a priority that was not seen yet lie between the walks of those that were, and are always met.
//!
//! The walks over tasks that fell due and over leases that ran out are kept short in the same way.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant as Clock};

use crate::error::Result;
use crate::statements;
use crate::store::value::Parameter;
use crate::store::{Instant, Session, pages_touched};

statements! {
    HEAD = "head.sql",
    FIRST_OVERDUE = "first_overdue.sql",
}

/// A walk over more pages than this is worth remembering where it ended.
const CHEAP_PAGES: i64 = 64;
/// A backend looks again after this many tasks that it took from the queue, or after this long.
const LOOK_TASKS: usize = 1000;
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How much longer than a look from the beginning took is waited until the next one.
const PATIENCE: u32 = 20;
/// How many queues a backend remembers; then it starts afresh.
const REMEMBERED: usize = 1000;
/// More ranks than this are one walk.
const RANKS: usize = 16;

/// Where the walks over a queue begin.
#[derive(Clone)]
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
    /// How many tasks were taken since the last look.
    taken: usize,
    look_at: Clock,
    look_from_start_at: Clock,
}

thread_local! {
    static WALKS: RefCell<HashMap<String, Walk>> = RefCell::default();
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
pub fn start(session: &Session, queue: &str) -> Result<Start> {
    look(session, queue)?;
    let marks = marks(queue);
    Ok(Start {
        ready: ranges(&marks.heads),
        due: marks.due,
        leased: marks.leased,
    })
}

/// Tasks were taken from the queue.
pub fn taken(queue: &str, tasks: usize) {
    WALKS.with_borrow_mut(|walks| {
        if let Some(walk) = walks.get_mut(queue) {
            walk.taken += tasks;
        }
    });
}

/// Where the search for the head of a queue begins, within a priority.
pub fn head_from(session: &Session, queue: &str, priority: i32) -> Result<i64> {
    look(session, queue)?;
    let head = marks(queue).heads.get(&rank(priority)).copied();
    Ok(head.unwrap_or(i64::MIN))
}

fn marks(queue: &str) -> Marks {
    WALKS.with_borrow(|walks| (walks.get(queue)).map_or(Marks::none(), |walk| walk.marks.clone()))
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
fn look(session: &Session, queue: &str) -> Result<()> {
    let begun = Clock::now();
    let (is_early, is_from_start) = WALKS.with_borrow(|walks| {
        (walks.get(queue)).map_or((false, true), |walk| {
            (
                begun < walk.look_at && walk.taken < LOOK_TASKS,
                begun >= walk.look_from_start_at,
            )
        })
    });
    if is_early {
        return Ok(());
    }
    let before = if is_from_start {
        Marks::none()
    } else {
        marks(queue)
    };
    let (heads, heads_are_cheap) = measured(|| find_heads(session, queue, &before.heads))?;
    let (overdue, overdue_is_cheap) = measured(|| {
        let parameters: [&dyn Parameter; 4] = [&queue, &session.now, &before.due, &before.leased];
        FIRST_OVERDUE.first(&parameters, |row| Ok((row.opt(1), row.opt(2))))
    })?;
    let (due, leased) = overdue.unwrap_or_default();

    let mut marks = before;
    if !heads_are_cheap || !marks.heads.is_empty() {
        marks.heads = heads;
    }
    if !overdue_is_cheap || marks.due > Instant::MINUS_INFINITY {
        marks.due = due.unwrap_or(session.now);
        marks.leased = leased.unwrap_or(session.now);
    }
    let end = Clock::now();
    WALKS.with_borrow_mut(|walks| {
        if walks.len() >= REMEMBERED {
            walks.clear();
        }
        let walk = walks.entry(queue.to_owned()).or_insert(Walk {
            marks: Marks::none(),
            taken: 0,
            look_at: end,
            look_from_start_at: end,
        });
        walk.marks = marks;
        walk.taken = 0;
        walk.look_at = end + LOOK_INTERVAL;
        if is_from_start {
            walk.look_from_start_at = end + (end - begun) * PATIENCE;
        }
    });
    Ok(())
}

/// Walks, and says whether that was cheap. What seems expensive is done again: the first time a backend looks, it also
/// reads the catalogs.
fn measured<T>(walk: impl Fn() -> Result<T>) -> Result<(T, bool)> {
    let mut pages = pages_touched();
    let mut found = walk()?;
    if pages_touched() - pages > CHEAP_PAGES {
        pages = pages_touched();
        found = walk()?;
    }
    Ok((found, pages_touched() - pages <= CHEAP_PAGES))
}

/// The first turn at each rank, found from where it was before. A rank without ready tasks begins at the clock: that is
/// the turn of what comes next.
fn find_heads(
    session: &Session,
    queue: &str,
    before: &BTreeMap<i32, i64>,
) -> Result<BTreeMap<i32, i64>> {
    let mut heads = BTreeMap::new();
    let walks = ranges(before);
    for ((&rank, &turn), &end) in walks.ranks.iter().zip(&walks.turns).zip(&walks.before) {
        let (mut rank, mut turn) = (rank, turn);
        while heads.len() < RANKS {
            let head = HEAD.first(&[&queue, &rank, &turn, &end], |row| {
                Ok((row.get::<i32>(1)?, row.get::<i64>(2)?))
            })?;
            let Some((found, first)) = head else { break };
            heads.insert(found, first);
            if found == i32::MAX {
                break;
            }
            (rank, turn) = (found + 1, i64::MIN);
        }
    }
    for &rank in before.keys() {
        heads.entry(rank).or_insert(session.now.unix_micros());
    }
    Ok(heads)
}
