//! `GET /runs/{run_id}/events`: server-sent events, as <https://html.spec.whatwg.org/multipage/server-sent-events.html>
//! describes them. The first is `state`, the run as `get_run` returns it; then a `change` for each thing that happens.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use crate::database::Mode;
use crate::failure::Failure;
use crate::options::{HEARTBEAT, SLOWEST};
use crate::server::App;
use crate::watches::Watcher;

const GET_RUN: &str = include_str!("statements/get_run.sql");

/// How many events wait for a client; what happens meanwhile is told as the difference, later.
const MAX_WAITING: usize = 4;

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
    let watcher = app.watches.join(run_id, &caller, None).await?;
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
    let (events, waiting) = mpsc::channel(MAX_WAITING);
    let first = Event::default().event("state").data(state);
    let goes_down = app.goes_down.clone();
    tokio::spawn(async move {
        // Whoever takes nothing for so long is not there any more, or not worth waiting for.
        let _ = tell(watcher, first, goes_down, &events).await;
    });
    let sse = Sse::new(stream::unfold(waiting, async |mut waiting| {
        let event = waiting.recv().await?;
        Some((Ok::<_, Infallible>(event), waiting))
    }));
    // Told to proxies that would else collect what is sent.
    Ok((
        [("x-accel-buffering", "no"), ("cache-control", "no-store")],
        sse,
    ))
}

/// Sends what there is to tell, until the token runs out, the run is gone, or the client is.
async fn tell(
    mut watcher: Watcher,
    first: Event,
    mut goes_down: watch::Receiver<bool>,
    events: &mpsc::Sender<Event>,
) -> Result<(), SendTimeoutError<Event>> {
    let ends = (watcher.caller().remaining()).and_then(|left| Instant::now().checked_add(left));
    let send = |event| events.send_timeout(event, SLOWEST);
    send(first).await?;
    loop {
        let end = async {
            match ends {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            happened = watcher.next() => match happened {
                Ok(happened) => {
                    for event in happened {
                        send(Event::default().event("change").data(event.message())).await?;
                    }
                }
                Err(failure) => {
                    return send(Event::default().event("gone").data(failure.body().to_string())).await;
                }
            },
            () = end => return send(Event::default().event("expired").data("{}")).await,
            // The client comes again, to whoever serves then.
            () = async { drop(goes_down.wait_for(|down| *down).await) } => return Ok(()),
            // Its end is noticed at once, so that nobody is counted who is not there.
            () = events.closed() => return Ok(()),
            () = sleep(HEARTBEAT) => send(Event::default().comment("")).await?,
        }
    }
}
