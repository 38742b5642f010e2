//! When is a map over? `step_states.remaining_tasks` says how many of its tasks have not completed, and whoever counts it
//! down to zero ends the step.
//!
//! If each result were counted at once, all workers of a map would queue up for its state, each until the commit of the
//! one before. So a large map ([`LARGE_MAP`]) is **not counted while some of its tasks have not been handed out yet**.
//! Until then it cannot end, its results resolve no dependency, and calls that bring nothing else for a run share the
//! run's lock. The first call that finds all tasks handed out holds the lock alone, counts the live tasks, and from then
//! on the map is counted down like a small one.
//!
//! Why no end is missed: a call shares the lock only if it sees, holding it, a task that waits. Somebody will claim and
//! settle that task later. Of all settlements of a map take the one whose task was claimed last: it begins after that
//! claim, sees no waiting task, and so waits to hold the lock alone. Then every call that shared it has committed, no
//! later one can share it, and the live tasks are all that is left.
//!
//! A claim that finds the last attempt of a task expired takes the lock only if it is free, so while results overlap it may
//! have to leave that task to a later claim.
//!
//! Which maps are not counted is remembered per backend, since a result does not say that its step is a map. A backend
//! that does not know takes the lock alone and learns; one that is wrong finds out when it looks.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::advance::{Advance, RunNo, not_below_zero};
use super::gather;
use super::settle::{Settlement, Verdict};
use crate::error::Result;
use crate::model::{RunId, StepNo};
use crate::statements;
use crate::store::lock::{self, Hold};

statements! {
    UNCOUNTED_MAPS = "uncounted_maps.sql",
    COUNT_DOWN_MAPS = "count_down_maps.sql",
    START_COUNTING = "start_counting.sql",
}

/// How many tasks make a map large. For fewer it is not worth the while.
pub const LARGE_MAP: i32 = 100;

/// How many maps a backend remembers; then it starts afresh.
const REMEMBERED: usize = 1000;

thread_local! {
    static UNCOUNTED: RefCell<HashSet<(RunId, String)>> = RefCell::default();
}

fn remember(run: RunId, slug: &str) {
    UNCOUNTED.with_borrow_mut(|maps| {
        if maps.len() >= REMEMBERED {
            maps.clear();
        }
        maps.insert((run, slug.to_owned()));
    });
}

fn forget(run: RunId, slug: &str) {
    UNCOUNTED.with_borrow_mut(|maps| maps.remove(&(run, slug.to_owned())));
}

/// How a call holds the locks of its runs.
pub struct Holds(BTreeMap<RunId, Hold>);

impl Holds {
    /// Takes the locks of a batch's runs: shared where it only completes tasks of maps that are not counted.
    pub fn take(batch: &[Settlement]) -> Result<Self> {
        let mut holds = Self::wanted(batch);
        lock::lock_runs_as(holds.iter());
        let maps: HashSet<_> = (batch.iter())
            .filter(|settlement| holds.is_shared(settlement.task.run_id))
            .map(|settlement| (settlement.task.run_id, settlement.task.step_slug.as_str()))
            .collect();
        let maps: Vec<_> = maps.into_iter().collect();
        if maps.is_empty() || uncounted(&maps)?.iter().all(|map| map.has_waiting) {
            return Ok(holds);
        }
        // Locks are taken in order or not at all, so all of them are given back first.
        lock::unlock_runs_as(holds.iter());
        for hold in holds.0.values_mut() {
            *hold = Hold::Alone;
        }
        for (run, slug) in maps {
            forget(run, slug);
        }
        lock::lock_runs_as(holds.iter());
        Ok(holds)
    }

    fn wanted(batch: &[Settlement]) -> Self {
        let mut holds = BTreeMap::new();
        let mut seen = HashSet::new();
        UNCOUNTED.with_borrow(|maps| {
            for Settlement { task, verdict, .. } in batch {
                // Live rows of tasks that are named twice are met in an order of their own.
                let can_share = matches!(verdict, Verdict::Complete(_))
                    && !maps.is_empty()
                    && seen.insert(task)
                    && maps.contains(&(task.run_id, task.step_slug.clone()));
                let hold = holds.entry(task.run_id).or_insert(Hold::Shared);
                if !can_share {
                    *hold = Hold::Alone;
                }
            }
        });
        Self(holds)
    }

    fn iter(&self) -> impl Iterator<Item = (RunId, Hold)> + '_ {
        self.0.iter().map(|(run, hold)| (*run, *hold))
    }

    pub fn is_shared(&self, run: RunId) -> bool {
        self.0.get(&run) == Some(&Hold::Shared)
    }
}

/// Where a map stands that may not be counted.
struct Uncounted {
    /// It is not counted, and has tasks that have not been handed out.
    has_waiting: bool,
    /// How many tasks are live, if none waits.
    live: Option<i32>,
}

/// Looks at what is committed by now, whatever the snapshot of the transaction.
fn uncounted(maps: &[(RunId, &str)]) -> Result<Vec<Uncounted>> {
    let (ids, slugs): (Vec<_>, Vec<_>) = maps.iter().copied().unzip();
    UNCOUNTED_MAPS.latest(&[&ids, &slugs], |row| {
        Ok(Uncounted {
            has_waiting: row.get(1)?,
            live: row.opt(2),
        })
    })
}

/// Counts down maps, whose runs' locks the caller holds alone, by how many of their tasks completed. A map without any
/// left gets its output.
pub fn count_down(advance: &mut Advance, counts: HashMap<(RunNo, StepNo), i32>) -> Result<()> {
    if counts.is_empty() {
        return Ok(());
    }
    let (maps, counts): (Vec<_>, Vec<_>) = counts.into_iter().unzip();
    let ids: Vec<_> = maps.iter().map(|map| advance.runs[map.0].id).collect();
    let slugs: Vec<_> = maps.iter().map(|m| advance.slug(m.0, m.1)).collect();
    let mut remaining = vec![None; maps.len()];
    for (no, left) in COUNT_DOWN_MAPS.query(&[&ids, &slugs, &counts], |row| {
        Ok((row.get::<i64>(1)?, row.get::<i32>(2)?))
    })? {
        not_below_zero(left, "tasks of a map")?;
        remaining[usize::try_from(no - 1).unwrap_or_default()] = Some(left);
    }
    let open: Vec<_> = (0..maps.len())
        .filter(|&no| remaining[no].is_none())
        .collect();
    if !open.is_empty() {
        let maps: Vec<_> = open.iter().map(|&no| (ids[no], slugs[no])).collect();
        for (no, left) in open.into_iter().zip(start_counting(&maps)?) {
            remaining[no] = left;
        }
    }
    let ended: Vec<_> = (maps.into_iter().zip(remaining))
        .filter_map(|(map, left)| (left == Some(0)).then_some(map))
        .collect();
    gather::complete(advance, &ended)
}

/// Counts maps that are not counted, unless they have waiting tasks. Returns how many tasks each has left.
fn start_counting(maps: &[(RunId, &str)]) -> Result<Vec<Option<i32>>> {
    let found = uncounted(maps)?;
    let mut remaining = vec![None; maps.len()];
    let (mut ids, mut slugs, mut live, mut numbers) = (vec![], vec![], vec![], vec![]);
    for (no, (map, found)) in maps.iter().zip(found).enumerate() {
        match found.live {
            None => remember(map.0, map.1),
            Some(tasks) => {
                ids.push(map.0);
                slugs.push(map.1);
                live.push(tasks);
                numbers.push(no);
            }
        }
    }
    if numbers.is_empty() {
        return Ok(remaining);
    }
    for (ordinal, left) in START_COUNTING.query(&[&ids, &slugs, &live], |row| {
        Ok((row.get::<i64>(1)?, row.get::<i32>(2)?))
    })? {
        remaining[numbers[usize::try_from(ordinal - 1).unwrap_or_default()]] = Some(left);
    }
    Ok(remaining)
}
