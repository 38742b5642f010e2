//! What the page lists: runs, flows, and who the caller is.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::database::Mode;
use crate::failure::Failure;
use crate::server::App;
use crate::token::Caller;

const RUNS: &str = include_str!("statements/runs.sql");
const ATTEMPTS: &str = include_str!("statements/attempts.sql");
const FLOWS: &str = include_str!("statements/flows.sql");
const ME: &str = include_str!("statements/me.sql");

/// How many runs or attempts are listed when nobody says, and at most.
const USUAL: i64 = 50;
const MOST: i64 = 500;

#[derive(Deserialize)]
pub struct Filter {
    flow_slug: Option<String>,
    status: Option<String>,
    before: Option<Uuid>,
    limit: Option<i64>,
}

/// `GET /runs`: the newest first.
pub async fn runs(
    State(app): State<Arc<App>>,
    Query(filter): Query<Filter>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = app.doorkeeper.caller_of(&headers).await?;
    let limit = within_bounds(filter.limit)?;
    // What is left out is no filter, and so is what a form sends empty.
    let given = |value: Option<String>| value.filter(|value| !value.is_empty());
    let (flow_slug, status) = (given(filter.flow_slug), given(filter.status));
    list(
        &app,
        caller,
        RUNS,
        vec![
            Box::new(flow_slug),
            Box::new(status),
            Box::new(filter.before),
            Box::new(limit),
        ],
    )
    .await
}

#[derive(Deserialize)]
pub struct AttemptFilter {
    step_slug: String,
    #[serde(default)]
    failed: bool,
    after_task: Option<i32>,
    after_attempt: Option<i32>,
    limit: Option<i64>,
}

/// `GET /runs/{run_id}/tasks`: every attempt at the tasks of one step, with `failed` those that failed or lost their lease; none
/// of a run that the caller does not see.
pub async fn attempts(
    State(app): State<Arc<App>>,
    Path(run_id): Path<String>,
    Query(filter): Query<AttemptFilter>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = app.doorkeeper.caller_of(&headers).await?;
    let run_id = Uuid::try_parse(&run_id).map_err(|_| Failure::no_run(&run_id))?;
    let limit = within_bounds(filter.limit)?;
    // Behind a task is behind all of its attempts.
    let after_attempt = filter.after_attempt.unwrap_or(i32::MAX);
    list(
        &app,
        caller,
        ATTEMPTS,
        vec![
            Box::new(run_id),
            Box::new(filter.step_slug),
            Box::new(filter.failed),
            Box::new(filter.after_task),
            Box::new(after_attempt),
            Box::new(limit),
        ],
    )
    .await
}

fn within_bounds(limit: Option<i64>) -> Result<i64, Failure> {
    let limit = limit.unwrap_or(USUAL);
    if (1..=MOST).contains(&limit) {
        return Ok(limit);
    }
    Err(Failure::Bad(format!(
        "limit must be 1 to {MOST}, not {limit}"
    )))
}

/// `GET /flows`: those that the caller sees.
pub async fn flows(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Failure> {
    let caller = app.doorkeeper.caller_of(&headers).await?;
    list(&app, caller, FLOWS, Vec::new()).await
}

/// `GET /me`: who the caller is in the database, and what the page need not offer.
pub async fn me(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Failure> {
    let caller = app.doorkeeper.caller_of(&headers).await?;
    let expires_at = caller.expires_at;
    let claims: Value = serde_json::from_str(&caller.claims).unwrap_or_default();
    let text = ask(&app, caller, ME, Vec::new()).await?;
    let mut me: Value = serde_json::from_str(&text).unwrap_or_default();
    me["sub"] = claims["sub"].clone();
    me["expires_at"] = json!(expires_at);
    Ok(respond(me.to_string()))
}

async fn list(
    app: &App,
    caller: Caller,
    statement: &'static str,
    parameters: Vec<Box<dyn ToSql + Send + Sync>>,
) -> Result<Response, Failure> {
    ask(app, caller, statement, parameters).await.map(respond)
}

/// The one value that a statement returns.
async fn ask(
    app: &App,
    caller: Caller,
    statement: &'static str,
    parameters: Vec<Box<dyn ToSql + Send + Sync>>,
) -> Result<String, Failure> {
    let asked = caller.clone();
    app.database
        .act(&caller, Mode::Read, move |transaction| {
            Box::pin(async move {
                let refused = |error| Failure::of_statement(&asked, &error);
                let prepared = transaction
                    .prepare_cached(statement)
                    .await
                    .map_err(refused)?;
                let parameters: Vec<_> = parameters
                    .iter()
                    .map(|parameter| &**parameter as &(dyn ToSql + Sync))
                    .collect();
                let row = transaction
                    .query_one(&prepared, &parameters)
                    .await
                    .map_err(refused)?;
                row.try_get(0).map_err(refused)
            })
        })
        .await
}

fn respond(body: String) -> Response {
    (
        [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        body,
    )
        .into_response()
}
