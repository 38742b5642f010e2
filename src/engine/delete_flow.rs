//! `delete_flow`: a flow with all its versions and schedules, and its runs when asked for.

use super::{define, realtime};
use crate::error::{Error, Result, quoted};
use crate::statements;
use crate::store::value::Parameter;
use crate::store::{Row, Session, Statement, has_grants, latch, lock};

statements! {
    COUNT_RUNS_OF_FLOW = "count_runs_of_flow.sql",
    DELETE_RUNS_OF_FLOW = "delete_runs_of_flow.sql",
    DELETE_FLOW = "delete_flow.sql",
    COUNT_SCHEDULES_OF_FLOW = "count_schedules_of_flow.sql",
    DELETE_SCHEDULES_OF_FLOW = "delete_schedules_of_flow.sql",
    COUNT_GRANTS_OF_FLOW = "count_grants_of_flow.sql",
    DELETE_GRANTS_OF_FLOW = "delete_grants_of_flow.sql",
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
        refuse_unseen(
            &COUNT_RUNS_OF_FLOW,
            &[&flow.slug, &i32::MAX],
            ("flow has new runs", "Runs"),
            &flow.slug,
        )?;
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
    // Waits for whoever schedules the flow; only a later statement sees what they made.
    DELETE_FLOW.execute(&[&flow.slug])?;
    refuse_unseen(
        &COUNT_SCHEDULES_OF_FLOW,
        &[&flow.slug],
        ("flow has new schedules", "Schedules"),
        &flow.slug,
    )?;
    DELETE_SCHEDULES_OF_FLOW.execute(&[&flow.slug])?;
    if has_grants() {
        refuse_unseen(
            &COUNT_GRANTS_OF_FLOW,
            &[&flow.slug],
            ("flow has new grants", "Grants"),
            &flow.slug,
        )?;
        DELETE_GRANTS_OF_FLOW.execute(&[&flow.slug])?;
    }
    realtime::forget_flow(&flow.slug)
}

/// Under REPEATABLE READ what was committed after the transaction's snapshot cannot be deleted, and would outlive the
/// flow.
fn refuse_unseen(
    count: &Statement,
    parameters: &[&dyn Parameter],
    (message, what): (&'static str, &str),
    flow_slug: &str,
) -> Result<()> {
    let read = |row: &Row| row.get::<i32>(1);
    let visible = count.query(parameters, read)?;
    if count.latest(parameters, read)? == visible {
        return Ok(());
    }
    Err(Error::Conflict {
        message,
        detail: format!(
            "{what} of flow {} were made after the snapshot of this transaction was taken.",
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
