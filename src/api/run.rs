//! For those who run flows: start, finish a step from outside, start a manual step, call off.

use pgrx::prelude::*;

use super::arguments::{no_nulls, required};
use crate::engine::{
    cancel_run, complete_step, fork_run, receipt, retry_run, rights, run_flow, send_event,
    start_step,
};
use crate::error::{Error, Result};
use crate::model::RunId;
use crate::store::value::{RunRow, StepStateRow, TaskReceipt};
use crate::store::{Composite, Instant, Json, JsonArray, enter};

/// Starts a run of the latest version of a flow and returns its id.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn run_flow(
    flow_slug: Option<&str>,
    payload: default!(Option<Json>, "'{}'"),
    idempotency_key: default!(Option<&str>, "NULL"),
    priority: default!(Option<i32>, 0),
    start_at: default!(Option<Instant>, "NULL"),
    key: default!(Option<&str>, "NULL"),
) -> RunId {
    enter(|session| {
        rights::may_run(session, flow_slug)?;
        let request = run_flow::Request {
            flow_slug: required("flow_slug", flow_slug)?,
            payloads: JsonArray::of(required("payload", payload)?),
            idempotency_keys: idempotency_key
                .map(|key| vec![Some(key.to_owned())])
                .unwrap_or_default(),
            priority: required("priority", priority)?,
            start_at,
            key,
            creator: None,
            parents: None,
        };
        run_flow::run_flow(session, &request)?
            .pop()
            .ok_or_else(|| Error::Internal("no run was started".into()))
    })
}

/// Starts a run for each payload and returns their ids in the same order.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn run_flows(
    flow_slug: Option<&str>,
    payloads: Option<JsonArray>,
    idempotency_keys: default!(Option<Vec<Option<String>>>, "NULL"),
    priority: default!(Option<i32>, 0),
) -> SetOfIterator<'static, RunId> {
    SetOfIterator::new(enter(|session| {
        rights::may_run(session, flow_slug)?;
        let payloads = required("payloads", payloads)?;
        let keys = idempotency_keys.as_ref().map(Vec::len);
        check_counts(payloads.len(), keys)?;
        let request = run_flow::Request {
            flow_slug: required("flow_slug", flow_slug)?,
            payloads,
            idempotency_keys: idempotency_keys.unwrap_or_default(),
            priority: required("priority", priority)?,
            start_at: None,
            key: None,
            creator: None,
            parents: None,
        };
        run_flow::run_flow(session, &request)
    }))
}

fn check_counts(payloads: usize, keys: Option<usize>) -> Result<()> {
    if payloads > run_flow::MAX_PAYLOADS {
        return Err(Error::invalid_with_hint(
            format!("{payloads} payloads are too many"),
            format!("Start at most {} runs in a call.", run_flow::MAX_PAYLOADS),
        ));
    }
    if let Some(keys) = keys
        && keys != payloads
    {
        return Err(Error::invalid_with_hint(
            format!("{keys} idempotency keys do not match {payloads} payloads"),
            "Give one key for each payload; it may be null.",
        ));
    }
    Ok(())
}

/// Starts a manual step whose deps are resolved.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn start_step(run_id: Option<RunId>, step_slug: Option<&str>) -> Composite<StepStateRow> {
    enter(|session| {
        rights::may_move(session, run_id)?;
        start_step::start_step(
            session,
            required("run_id", run_id)?,
            required("step_slug", step_slug)?,
        )
    })
}

/// Finishes an external step, or settles the only task of another single step.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn complete_step(
    run_id: Option<RunId>,
    step_slug: Option<&str>,
    output: default!(Option<Json>, "NULL"),
) -> Composite<TaskReceipt> {
    enter(|session| {
        rights::may_complete(session, run_id, step_slug)?;
        receipt::of_one(&complete_step::complete_step(
            session,
            required("run_id", run_id)?,
            required("step_slug", step_slug)?,
            output,
        )?)
    })
}

/// Completes every external step that waits for an event, and returns how many.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn send_event(
    name: Option<&str>,
    payload: default!(Option<Json>, "'null'"),
    key: default!(Option<&str>, "NULL"),
) -> i64 {
    enter(|session| {
        rights::may_send_events(session)?;
        let request = send_event::Request {
            name: required("name", name)?,
            payload,
            key,
        };
        send_event::send_event(session, &request)
    })
}

/// Cancels a run and everything unfinished in it.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn cancel_run(run_id: Option<RunId>, reason: default!(Option<&str>, "NULL")) -> Composite<RunRow> {
    enter(|session| {
        rights::may_move(session, run_id)?;
        cancel_run::cancel_run(
            session,
            required("run_id", run_id)?,
            reason.map(str::to_owned),
        )
    })
}

/// Puts a failed or cancelled run back to started.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn retry_run(run_id: Option<RunId>) -> Composite<RunRow> {
    enter(|session| {
        rights::may_move(session, run_id)?;
        retry_run::retry_run(session, required("run_id", run_id)?)
    })
}

/// Starts a new run that goes on from an ended one.
#[pg_extern(schema = "pgflow")]
#[search_path(pg_catalog, pg_temp)]
fn fork_run(
    run_id: Option<RunId>,
    from_step_slugs: Option<Vec<Option<String>>>,
    payload: default!(Option<Json>, "NULL"),
) -> RunId {
    enter(|session| {
        rights::may_move(session, run_id)?;
        fork_run::fork_run(
            session,
            required("run_id", run_id)?,
            &no_nulls(
                "from_step_slugs",
                required("from_step_slugs", from_step_slugs)?,
            )?,
            payload,
        )
    })
}
