//! Where everything is put together: routes, shared state, start and end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderName, Method, header};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tower_http::cors::{Any, CorsLayer};

use crate::database::Database;
use crate::feed::Feed;
use crate::keys::Keys;
use crate::options::Options;
use crate::rpc::Functions;
use crate::token::Doorkeeper;
use crate::watches::Watches;
use crate::{connections, events, lists, page, rpc, socket};

/// How long what is under way may take when the server is told to end.
const FAREWELL: Duration = Duration::from_secs(5);

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What requests share.
pub struct App {
    pub database: Arc<Database>,
    pub doorkeeper: Doorkeeper,
    pub watches: Arc<Watches>,
    pub functions: Functions,
    pub feed: Arc<Feed>,
    /// Becomes true when the server is told to end.
    pub goes_down: watch::Receiver<bool>,
}

/// Serves until it is told to end.
///
/// # Errors
///
/// Options that cannot be, an address that is taken.
pub async fn serve(options: Options) -> Result<(), AnyError> {
    // Fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let keys = Keys::new(&options).await?;
    let database = Arc::new(Database::new(&options)?);
    let watches = Arc::new(Watches::new(
        Arc::clone(&database),
        options.max_watchers,
        options.max_watchers_per_user(),
        options.max_output_bytes,
    ));
    let feed = Arc::new(Feed::default());
    let (go_down, goes_down) = watch::channel(false);
    let app = Arc::new(App {
        database: Arc::clone(&database),
        doorkeeper: Doorkeeper {
            keys,
            anon_role: options.anon_role,
            anon_origins: options.anon_origin,
            is_local: options.listen.ip().is_loopback(),
        },
        watches: Arc::clone(&watches),
        functions: Functions::default(),
        feed: Arc::clone(&feed),
        goes_down: goes_down.clone(),
    });
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    // Told on stdout, for who has asked for port 0.
    println!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { feed.listen(&database, &watches).await });

    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        go_down.send_replace(true);
    });
    let mut told = goes_down.clone();
    let farewell = async {
        // The sender may be gone only when it has sent.
        let _ = told.wait_for(|down| *down).await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        () = connections::serve(listener, routes(app), options.max_connections, goes_down) => {}
        () = farewell => {}
    }
    Ok(())
}

fn routes(app: Arc<App>) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header::CACHE_CONTROL,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("apikey"),
            HeaderName::from_static("x-client-info"),
            HeaderName::from_static("content-profile"),
            HeaderName::from_static("accept-profile"),
            HeaderName::from_static("prefer"),
        ])
        .max_age(Duration::from_secs(600));
    Router::new()
        .route("/", get(page::index))
        .route("/page/{name}", get(page::asset))
        .route("/health", get(health))
        .route("/me", get(lists::me))
        .route("/flows", get(lists::flows))
        .route("/runs", get(lists::runs))
        .route("/runs/{run_id}/events", get(events::events))
        .route("/runs/{run_id}/tasks", get(lists::attempts))
        .route("/rpc/{name}", get(rpc::get).post(rpc::post))
        .route("/socket/websocket", get(socket::socket))
        // Where clients of Supabase look for it.
        .route("/realtime/v1/websocket", get(socket::socket))
        .layer(cors)
        .with_state(app)
}

/// Whether changes are heard of, and how many watch.
async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    let (watchers, watches) = app.watches.count();
    Json(json!({"listening": app.feed.is_listening(), "watchers": watchers, "watches": watches}))
}
