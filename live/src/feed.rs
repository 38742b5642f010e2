//! Listening to the database: each notification rings for the steps that it names.
//!
//! The order is that of docs/realtime.md: LISTEN, then wait for the lock that says that somebody listens, then look
//! everywhere; what is committed after that is notified.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{StreamExt, poll_fn};
use serde::Deserialize;
use tokio_postgres::AsyncMessage;
use uuid::Uuid;

use crate::database::Database;
use crate::watches::Watches;

const LISTEN: &str = include_str!("statements/listen.sql");
const HOLD: &str = include_str!("statements/hold.sql");

/// How often the connection is tried, and how long an answer may take.
const PROBE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What a notification says of each change that is of interest here.
#[derive(Deserialize)]
struct Change {
    flow_slug: String,
    run_id: Uuid,
    step_slug: Option<String>,
}

/// The connection that listens.
#[derive(Default)]
pub struct Feed {
    is_listening: AtomicBool,
}

impl Feed {
    /// Whether each change is heard of just now.
    pub fn is_listening(&self) -> bool {
        self.is_listening.load(Ordering::Relaxed)
    }

    /// Listens for ever.
    pub async fn listen(&self, database: &Database, watches: &Watches) {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Err(error) = self.listen_once(database, watches).await {
                let cause = error
                    .source()
                    .map(|cause| format!(": {cause}"))
                    .unwrap_or_default();
                tracing::warn!("not listening: {error}{cause}");
            }
            if self.is_listening.swap(false, Ordering::Relaxed) {
                watches.go_deaf();
                pause = FIRST_PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Listens until the connection breaks.
    async fn listen_once(&self, database: &Database, watches: &Watches) -> Result<(), AnyError> {
        let (client, mut connection) = database.connect().await?;
        let mut messages = poll_fn(move |context| connection.poll_message(context));
        let commands = async {
            client.batch_execute(LISTEN).await?;
            // Waits for commits under way that have been told that nobody listens.
            client.query_one(HOLD, &[]).await?;
            self.is_listening.store(true, Ordering::Relaxed);
            tracing::info!("listening");
            watches.ring_all();
            loop {
                tokio::time::sleep(PROBE).await;
                let answer = tokio::time::timeout(PROBE, client.batch_execute("")).await;
                answer.map_err(|_| "the database does not answer")??;
            }
        };
        let receive = async {
            while let Some(message) = messages.next().await {
                if let AsyncMessage::Notification(notification) = message? {
                    hear(notification.payload(), watches);
                }
            }
            Err::<(), AnyError>("the connection has ended".into())
        };
        tokio::select! {
            ended = receive => ended,
            broken = commands => {
                let broken: Result<Infallible, AnyError> = broken;
                broken.map(|never| match never {})
            }
        }
    }
}

/// Anybody who may connect may notify too, so this may be anything. At worst it makes watches look.
fn hear(payload: &str, watches: &Watches) {
    match serde_json::from_str::<Vec<Change>>(payload) {
        Ok(changes) => {
            for change in changes {
                watches.ring(
                    &change.flow_slug,
                    change.run_id,
                    change.step_slug.as_deref(),
                );
            }
        }
        Err(error) => tracing::debug!("a notification that is none of pgflow: {error}"),
    }
}
