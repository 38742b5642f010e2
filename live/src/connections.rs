//! The connections of clients: how many there may be, and how long one may say nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower_http::add_extension::AddExtension;

use crate::options::{HEADERS, MAX_HEADERS};

/// How often it is logged at most that connections are closed.
const PAUSE: Duration = Duration::from_secs(60);

/// One of the connections that there may be. Requests have it as an extension, and what outlives HTTP keeps it.
#[derive(Clone)]
pub struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Serves so many connections at once until the server is told to end, and then until the last one has ended.
pub async fn serve(
    mut listener: TcpListener,
    routes: Router,
    most: u32,
    mut goes_down: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(most as usize));
    let told = goes_down.clone();
    let mut logged: Option<Instant> = None;
    loop {
        let (stream, _) = tokio::select! {
            // When it fails, such as for lack of open files, it tries again.
            accepted = Listener::accept(&mut listener) => accepted,
            _ = goes_down.wait_for(|down| *down) => break,
        };
        let Ok(permit) = Arc::clone(&places).try_acquire_owned() else {
            if logged.is_none_or(|logged| logged.elapsed() >= PAUSE) {
                logged = Some(Instant::now());
                tracing::warn!("there are {most} connections: further ones are closed");
            }
            continue;
        };
        let place = Place {
            _permit: Arc::new(permit),
        };
        tokio::spawn(hold(stream, routes.clone(), place, told.clone()));
    }
    drop(listener);
    let _all = places.acquire_many(most).await;
}

/// Serves one connection.
async fn hold<I>(stream: I, routes: Router, place: Place, mut goes_down: watch::Receiver<bool>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(AddExtension::new(routes, place));
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { drop(goes_down.wait_for(|down| *down).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection has ended: {error}");
    }
}

#[cfg(test)]
mod tests;
