//! `GET /runs/{run_id}/events`: server-sent events, as <https://html.spec.whatwg.org/multipage/server-sent-events.html>
//! describes them. The first is `state`, the run as `get_run` returns it; then a `change` for each thing that happens.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::database::Mode;
use crate::failure::Failure;
use crate::options::HEARTBEAT;
use crate::server::App;
use crate::watches::Watcher;

const GET_RUN: &str = include_str!("statements/get_run.sql");

#[derive(Deserialize)]
pub struct Parameters {
    /// For EventSource, which cannot send headers.
    access_token: Option<String>,
}

pub async fn events(
    State(app): State<Arc<App>>,
    Path(run_id): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Failure> {
    let run_id = Uuid::try_parse(&run_id).map_err(|_| Failure::no_run(&run_id))?;
    let caller = match parameters.access_token.as_deref() {
        Some(token) => app.doorkeeper.bearer(token).await?,
        None => app.doorkeeper.caller_of(&headers).await?,
    };
    // It watches before the state is read: nothing falls between.
    let watcher = app.watches.join(run_id, &caller).await?;
    let asked = caller.clone();
    let state: String = app
        .database
        .act(&caller, Mode::Read, move |transaction| {
            Box::pin(async move {
                let refused = |error| Failure::of_statement(&asked, &error);
                let statement = transaction.prepare_cached(GET_RUN).await.map_err(refused)?;
                let row = transaction
                    .query_one(&statement, &[&run_id])
                    .await
                    .map_err(refused)?;
                row.try_get(0).map_err(refused)
            })
        })
        .await?;
    tracing::debug!("{} watches run {run_id}", caller.role);
    let ends = caller
        .remaining()
        .and_then(|remaining| Instant::now().checked_add(remaining));
    let first = Event::default().event("state").data(state);
    let rest = Rest {
        watcher: Some(watcher),
        ends,
        goes_down: app.goes_down.clone(),
        waiting: vec![first],
    };
    let sse = Sse::new(stream::unfold(rest, next)).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    // Told to proxies that would else collect what is sent.
    Ok((
        [("x-accel-buffering", "no"), ("cache-control", "no-store")],
        sse,
    ))
}

/// What is still to be sent.
struct Rest {
    /// Nothing when the stream ends.
    watcher: Option<Watcher>,
    ends: Option<Instant>,
    goes_down: watch::Receiver<bool>,
    /// In reverse order.
    waiting: Vec<Event>,
}

async fn next(mut rest: Rest) -> Option<(Result<Event, Infallible>, Rest)> {
    loop {
        if let Some(event) = rest.waiting.pop() {
            return Some((Ok(event), rest));
        }
        let watcher = rest.watcher.as_mut()?;
        let end = async {
            match rest.ends {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let happened = tokio::select! {
            happened = watcher.next() => happened.map(Some),
            () = end => Ok(None),
            // The client comes again, to whoever serves then.
            _ = rest.goes_down.wait_for(|down| *down) => return None,
        };
        match happened {
            Ok(Some(events)) => {
                let events = events
                    .into_iter()
                    .map(|event| Event::default().event("change").data(event.message));
                rest.waiting = events.rev().collect();
            }
            Ok(None) => {
                rest.watcher = None;
                rest.waiting
                    .push(Event::default().event("expired").data("{}"));
            }
            Err(failure) => {
                rest.watcher = None;
                rest.waiting.push(
                    Event::default()
                        .event("gone")
                        .data(failure.body().to_string()),
                );
            }
        }
    }
}
