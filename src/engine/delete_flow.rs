//! `delete_flow`: a flow with all its versions, and its runs when asked for.

use super::define;
use crate::error::{Error, Result, quoted};
use crate::statements;
use crate::store::{Session, latch, lock};

statements! {
    COUNT_RUNS_OF_FLOW = "count_runs_of_flow.sql",
    DELETE_RUNS_OF_FLOW = "delete_runs_of_flow.sql",
    DELETE_FLOW = "delete_flow.sql",
    LEAVE_ERRANDS_OF_FLOW = "leave_errands_of_flow.sql",
}

/// How far the runs are counted that stand in the way.
const COUNTED_RUNS: i32 = 1000;

pub fn delete_flow(session: &Session, flow_slug: &str, with_runs: bool) -> Result<()> {
    // First without a lock: nobody holds up all other flows for one that is not theirs.
    define::check_owner(session, flow_slug)?;
    // Before what counts is read: a run that begins now would outlive its definition.
    lock::own_runs_table()?;
    let flow = define::lock_existing(session, flow_slug)?;
    if with_runs {
        refuse_unseen_runs(&flow.slug)?;
        LEAVE_ERRANDS_OF_FLOW.execute(&[&flow.slug, &rand::random::<i64>(), &session.now])?;
        latch::set_at_commit();
        DELETE_RUNS_OF_FLOW.execute(&[&flow.slug])?;
    } else {
        let runs = COUNT_RUNS_OF_FLOW
            .latest(&[&flow.slug, &COUNTED_RUNS], |row| row.get::<i32>(1))?
            .pop()
            .unwrap_or(0);
        if runs > 0 {
            return Err(has_runs(flow_slug, runs));
        }
    }
    DELETE_FLOW.execute(&[&flow.slug])
}

/// Under REPEATABLE READ runs that were committed after the transaction's snapshot cannot be deleted, and would outlive
/// their definition.
fn refuse_unseen_runs(flow_slug: &String) -> Result<()> {
    let everything: [&dyn crate::store::value::Parameter; 2] = [flow_slug, &i32::MAX];
    let count = |row: &crate::store::Row| row.get::<i32>(1);
    let visible = COUNT_RUNS_OF_FLOW.query(&everything, count)?;
    if COUNT_RUNS_OF_FLOW.latest(&everything, count)? == visible {
        return Ok(());
    }
    Err(Error::Conflict {
        message: "flow has new runs",
        detail: format!(
            "Runs of flow {} began after the snapshot of this transaction was taken.",
            quoted(flow_slug)
        ),
        hint: Some("Try again in a new transaction."),
    })
}

fn has_runs(flow_slug: &str, runs: i32) -> Error {
    let count = match runs {
        1 => "1 run".to_owned(),
        COUNTED_RUNS => format!("{COUNTED_RUNS} runs or more"),
        _ => format!("{runs} runs"),
    };
    Error::Conflict {
        message: "flow has runs",
        detail: format!("Flow {} has {count}.", quoted(flow_slug)),
        hint: Some("Prune its runs first, or delete them with it: with_runs => true."),
    }
}
