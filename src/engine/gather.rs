//! The end of a map: the outputs of its tasks become its own, in their order.

use super::advance::{Advance, RunNo};
use super::run_flow;
use crate::error::{Error, Result};
use crate::model::{RunId, StepNo};
use crate::statements;
use crate::store::subtransaction::{self, PROGRAM_LIMIT_EXCEEDED};

statements! {
    COMPLETE_MAPS = "complete_maps.sql",
    LOCK_OPEN_ATTEMPTS = "lock_open_attempts.sql",
    MARK_LARGE = "mark_large.sql",
}

/// Notes that inputs built from these runs, or their outputs, may be too large, see [`run_flow::largest_part`].
pub fn mark_large(runs: &Vec<RunId>) -> Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    MARK_LARGE.execute(&[runs])
}

/// Completes maps all of whose tasks have completed, with the array of their outputs.
pub fn complete(advance: &mut Advance, maps: &[(RunNo, StepNo)]) -> Result<()> {
    if maps.is_empty() {
        return Ok(());
    }
    let mut failures = Vec::new();
    for (ordinal, gathered) in gather(advance, maps, super::surely_small())? {
        let (run, step) = maps[ordinal];
        match gathered {
            Gathered::Completed => {
                advance.step_completed(run, step);
                continue;
            }
            Gathered::Stale => return refuse_stale_snapshot(advance, run, step),
            Gathered::TooLarge => {}
        }
        let attempt = subtransaction::attempt(&[PROGRAM_LIMIT_EXCEEDED], || {
            gather(advance, &[(run, step)], i64::MAX)
        })?;
        match attempt {
            Ok(_) => advance.step_completed(run, step),
            Err(reason) => failures.push((
                run,
                step,
                format!("the output of the map is too large: {reason}"),
            )),
        }
    }
    advance.fail_steps(failures)
}

enum Gathered {
    Completed,
    /// The outputs are larger than was allowed, taken together.
    TooLarge,
    /// The transaction's snapshot is older than some of the outputs.
    Stale,
}

/// Gives maps their outputs if these are not larger than `largest`, taken together.
fn gather(
    advance: &Advance,
    maps: &[(RunNo, StepNo)],
    largest: i64,
) -> Result<Vec<(usize, Gathered)>> {
    let ids: Vec<_> = maps.iter().map(|map| advance.runs[map.0].id).collect();
    let slugs: Vec<_> = maps.iter().map(|m| advance.slug(m.0, m.1)).collect();
    let rows = COMPLETE_MAPS.query(&[&ids, &slugs, &advance.session.now, &largest], |row| {
        let ordinal = usize::try_from(row.get::<i64>(1)? - 1).unwrap_or_default();
        let gathered = match (row.get::<bool>(2)?, row.get::<bool>(4)?) {
            (true, _) => Gathered::Completed,
            (false, true) => Gathered::TooLarge,
            (false, false) => Gathered::Stale,
        };
        Ok((ordinal, gathered, row.opt::<i64>(3)))
    })?;
    let large: Vec<_> = (rows.iter())
        .filter_map(|(ordinal, _, size)| {
            let run = &advance.runs[maps[*ordinal].0];
            ((*size)? > run_flow::largest_part(&run.definition)).then_some(run.id)
        })
        .collect();
    mark_large(&large)?;
    Ok((rows.into_iter())
        .map(|(ordinal, gathered, _)| (ordinal, gathered))
        .collect())
}

/// Has PostgreSQL refuse a transaction that has to gather outputs it does not see.
fn refuse_stale_snapshot(advance: &Advance, run: RunNo, step: StepNo) -> Result<()> {
    let slug = advance.slug(run, step);
    LOCK_OPEN_ATTEMPTS.execute(&[&advance.runs[run].id, &slug])?;
    Err(Error::Internal(format!("map \"{slug}\" lacks outputs")))
}
