//! The end of a map: its tasks are counted down, and when none is left their outputs become its own, in their order.

use std::collections::HashMap;

use super::advance::{Advance, RunNo};
use super::run_flow;
use crate::error::Result;
use crate::model::{RunId, StepNo};
use crate::statements;
use crate::store::subtransaction::{self, PROGRAM_LIMIT_EXCEEDED};

statements! {
    COUNT_DOWN_MAPS = "count_down_maps.sql",
    COMPLETE_MAPS = "complete_maps.sql",
    MARK_LARGE = "mark_large.sql",
}

/// Notes that inputs built from these runs may be too large, see [`run_flow::largest_part`].
pub fn mark_large(runs: &Vec<RunId>) -> Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    MARK_LARGE.execute(&[runs])
}

/// Counts down the tasks of maps by how many completed; a map without any left gets its output.
pub fn count_down(advance: &mut Advance, counts: HashMap<(RunNo, StepNo), i32>) -> Result<()> {
    if counts.is_empty() {
        return Ok(());
    }
    let (maps, counts): (Vec<_>, Vec<_>) = counts.into_iter().unzip();
    let ids: Vec<_> = maps.iter().map(|map| advance.runs[map.0].id).collect();
    let slugs: Vec<_> = maps.iter().map(|m| advance.slug(m.0, m.1)).collect();
    let ended: Vec<_> = COUNT_DOWN_MAPS
        .query(&[&ids, &slugs, &counts], |row| {
            Ok((row.get::<i64>(1)?, row.get::<i32>(2)?))
        })?
        .into_iter()
        .filter(|&(_, remaining)| remaining == 0)
        .map(|(ordinal, _)| maps[usize::try_from(ordinal - 1).unwrap_or_default()])
        .collect();
    complete(advance, &ended)
}

/// Completes maps all of whose tasks have completed, with the array of their outputs.
pub fn complete(advance: &mut Advance, maps: &[(RunNo, StepNo)]) -> Result<()> {
    if maps.is_empty() {
        return Ok(());
    }
    let mut failures = Vec::new();
    for (ordinal, gathered) in gather(advance, maps, super::surely_small())? {
        let (run, step) = maps[ordinal];
        if gathered {
            advance.step_completed(run, step);
            continue;
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

/// Returns which maps got their output: not those whose outputs are larger than `largest` taken together.
fn gather(advance: &Advance, maps: &[(RunNo, StepNo)], largest: i64) -> Result<Vec<(usize, bool)>> {
    let ids: Vec<_> = maps.iter().map(|map| advance.runs[map.0].id).collect();
    let slugs: Vec<_> = maps.iter().map(|m| advance.slug(m.0, m.1)).collect();
    let rows = COMPLETE_MAPS.query(&[&ids, &slugs, &advance.session.now, &largest], |row| {
        let ordinal = usize::try_from(row.get::<i64>(1)? - 1).unwrap_or_default();
        Ok((ordinal, row.get::<bool>(2)?, row.opt::<i64>(3)))
    })?;
    let large: Vec<_> = (rows.iter())
        .filter_map(|&(ordinal, _, size)| {
            let run = &advance.runs[maps[ordinal].0];
            (size? > run_flow::largest_part(&run.definition)).then_some(run.id)
        })
        .collect();
    mark_large(&large)?;
    Ok((rows.into_iter())
        .map(|(ordinal, gathered, _)| (ordinal, gathered))
        .collect())
}
