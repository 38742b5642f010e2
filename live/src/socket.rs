//! The WebSocket for clients of Phoenix channels, such as `@supabase/realtime-js`. A channel is a run that is watched;
//! its broadcasts are those that Supabase would send for it (docs/realtime.md).

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::connections::Place;
use crate::failure::Failure;
use crate::options::{HEARTBEAT, MAX_CHANNELS, SOCKET_TIMEOUT};
use crate::phoenix::{self, Frame, Incoming, Version};
use crate::server::App;
use crate::token::Caller;
use crate::watches::Watcher;

/// The largest frame of a client, in bytes; a token is the largest thing that it has to say.
const MAX_FRAME: usize = 64 << 10;

/// What an idle connection keeps for what it may read, in bytes.
const READ_BUFFER: usize = 4 << 10;

/// How many frames wait for a client. Channels of one that does not read stop and go on with the difference.
const MAX_WAITING: usize = 64;

#[derive(Deserialize)]
pub struct Parameters {
    vsn: Option<String>,
    apikey: Option<String>,
}

pub async fn socket(
    State(app): State<Arc<App>>,
    Extension(place): Extension<Place>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Failure> {
    let version = Version::of(parameters.vsn.as_deref()).ok_or_else(|| {
        Failure::Bad("versions 1.0.0 and 2.0.0 of the protocol are spoken here".to_owned())
    })?;
    let key = parameters.apikey;
    let is_own_page = app.doorkeeper.is_asked_by_own_page(&headers);
    Ok(upgrade
        .read_buffer_size(READ_BUFFER)
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
        .on_upgrade(move |socket| async move {
            let (frames, waiting) = mpsc::channel(MAX_WAITING);
            Connection {
                app,
                version,
                key,
                is_own_page,
                frames,
                channels: HashMap::new(),
            }
            .serve(socket, waiting)
            .await;
            // Only now: HTTP is done with the connection long since.
            drop(place);
        }))
}

struct Connection {
    app: Arc<App>,
    version: Version,
    key: Option<String>,
    /// Whether it may do without a token.
    is_own_page: bool,
    /// To the client.
    frames: mpsc::Sender<Frame>,
    /// By topic.
    channels: HashMap<String, Channel>,
}

/// A run that is watched.
struct Channel {
    join_ref: Option<String>,
    task: JoinHandle<()>,
    /// Watchers for newer tokens.
    renewals: mpsc::Sender<Watcher>,
}

impl Channel {
    /// Whether it tells what happens; not when its token has run out or its run is gone.
    fn is_open(&self) -> bool {
        !self.task.is_finished()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    async fn serve(mut self, socket: WebSocket, mut waiting: mpsc::Receiver<Frame>) {
        let (mut sink, mut stream) = socket.split();
        let send = async {
            loop {
                let frame = match timeout(HEARTBEAT, waiting.recv()).await {
                    Ok(Some(Frame::Text(text))) => Message::Text(text.into()),
                    Ok(Some(Frame::Binary(bytes))) => Message::Binary(bytes.into()),
                    Ok(None) => break,
                    Err(_) => Message::Ping(Bytes::new()),
                };
                // One that takes nothing for so long is not there any more.
                match timeout(SOCKET_TIMEOUT, sink.send(frame)).await {
                    Ok(Ok(())) => {}
                    _ => break,
                }
            }
        };
        let mut goes_down = self.app.goes_down.clone();
        let receive = async {
            loop {
                let message = tokio::select! {
                    message = timeout(SOCKET_TIMEOUT, stream.next()) => message,
                    _ = goes_down.wait_for(|down| *down) => return,
                };
                match message {
                    Ok(Some(Ok(Message::Text(text)))) => self.take(&text).await,
                    Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => return,
                    // Nobody sends on these topics but the database: binary frames are broadcasts.
                    Ok(Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_)))) => {}
                }
            }
        };
        tokio::select! {
            () = send => {}
            () = receive => {}
        }
        let going = CloseFrame {
            code: axum::extract::ws::close_code::AWAY,
            reason: "".into(),
        };
        let _ = timeout(HEARTBEAT, sink.send(Message::Close(Some(going)))).await;
    }

    async fn say(&self, frame: Frame) {
        // When nobody takes it, the connection is about to end.
        let _ = self.frames.send(frame).await;
    }

    async fn reply(&self, to: &Incoming, answer: Result<Value, String>) {
        let (status, response) = match answer {
            Ok(response) => ("ok", response),
            Err(reason) => ("error", json!({ "reason": reason })),
        };
        self.say(phoenix::reply(self.version, to, status, &response))
            .await;
    }

    async fn take(&mut self, text: &str) {
        let Ok(frame) = phoenix::read(self.version, text) else {
            return;
        };
        match (frame.topic.as_str(), frame.event.as_str()) {
            ("phoenix", "heartbeat") => self.reply(&frame, Ok(json!({}))).await,
            (_, "phx_join") => self.join(&frame).await,
            (_, "phx_leave") => {
                self.channels.remove(&frame.topic);
                self.reply(&frame, Ok(json!({}))).await;
                let close = phoenix::write(
                    self.version,
                    frame.join_ref.as_deref(),
                    frame.reference.as_deref(),
                    &frame.topic,
                    "phx_close",
                    &json!({}),
                );
                self.say(close).await;
            }
            (_, "access_token") => self.renew(&frame).await,
            (_, "broadcast") => {
                self.reply(
                    &frame,
                    Err("only the database sends on this topic".to_owned()),
                )
                .await
            }
            (_, "presence") => {
                self.reply(&frame, Err("presence is not served here".to_owned()))
                    .await
            }
            _ => {
                self.reply(&frame, Err(format!("unknown event {:?}", frame.event)))
                    .await
            }
        }
    }

    /// A client watches a run.
    async fn join(&mut self, frame: &Incoming) {
        // A second join of a topic replaces the first one.
        self.channels.remove(&frame.topic);
        match self.watch(frame).await {
            Ok(watcher) => {
                self.reply(frame, Ok(json!({ "postgres_changes": [] })))
                    .await;
                self.put(frame.topic.clone(), frame.join_ref.clone(), watcher);
            }
            Err(reason) => self.reply(frame, Err(reason)).await,
        }
    }

    /// A client has a new token: what it may see is asked anew.
    async fn renew(&mut self, frame: &Incoming) {
        let Some(channel) = (self.channels.get(&frame.topic)).filter(|channel| channel.is_open())
        else {
            return;
        };
        let (join_ref, renewals) = (channel.join_ref.clone(), channel.renewals.clone());
        match self.watch(frame).await {
            // What the old one knows goes over to the new one, so that nothing is missed. Where the old one has looked later,
            // something may be told again.
            Ok(watcher) => drop(renewals.send(watcher).await),
            Err(reason) => {
                self.channels.remove(&frame.topic);
                let frames = farewell(self.version, &frame.topic, join_ref.as_deref(), &reason);
                for frame in frames {
                    self.say(frame).await;
                }
            }
        }
    }

    async fn watch(&self, frame: &Incoming) -> Result<Watcher, String> {
        let run_id = phoenix::run_of(&frame.topic)
            .ok_or("only topics pgflow:run:<run_id> are served here")?;
        let run_id = Uuid::try_parse(run_id).map_err(|_| format!("{run_id:?} is no run id"))?;
        let wants_rows = |config: &Value| {
            config["postgres_changes"]
                .as_array()
                .is_some_and(|wanted| !wanted.is_empty())
        };
        if wants_rows(&frame.payload["config"]) {
            return Err("postgres_changes are not served here, only broadcasts".to_owned());
        }
        let others = (self.channels.iter())
            .filter(|(topic, channel)| **topic != frame.topic && channel.is_open());
        if others.count() >= MAX_CHANNELS {
            return Err(format!("one connection may watch {MAX_CHANNELS} runs"));
        }
        let token = frame.payload["access_token"]
            .as_str()
            .or(self.key.as_deref());
        let caller = self
            .app
            .doorkeeper
            .bearer_or_key(token, self.is_own_page)
            .await
            .map_err(|failure| failure.to_string())?;
        self.app
            .watches
            .join(run_id, &caller, None)
            .await
            .map_err(|failure| failure.to_string())
    }

    fn put(&mut self, topic: String, join_ref: Option<String>, watcher: Watcher) {
        tracing::debug!("{} joins {topic}", watcher.caller().role);
        // Nobody has use for those that have ended.
        self.channels.retain(|_, channel| channel.is_open());
        let (renewals, renewed) = mpsc::channel(1);
        let told = tell(
            self.version,
            topic.clone(),
            join_ref.clone(),
            watcher,
            renewed,
            self.frames.clone(),
        );
        self.channels.insert(
            topic,
            Channel {
                join_ref,
                task: tokio::spawn(told),
                renewals,
            },
        );
    }
}

/// Tells what happens in a run, until the token runs out or the run is gone.
async fn tell(
    version: Version,
    topic: String,
    join_ref: Option<String>,
    mut watcher: Watcher,
    mut renewed: mpsc::Receiver<Watcher>,
    frames: mpsc::Sender<Frame>,
) {
    let reason = loop {
        let remaining = Caller::remaining(watcher.caller());
        let ends = async move {
            match remaining {
                Some(remaining) => sleep(remaining).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            happened = watcher.next() => match happened {
                Ok(events) => {
                    for event in events {
                        let frame = phoenix::broadcast(version, &topic, &event.name(), &event.message());
                        if frames.send(frame).await.is_err() {
                            return;
                        }
                    }
                }
                Err(failure) => break failure.to_string(),
            },
            Some(newer) = renewed.recv() => watcher = newer.instead_of(&mut watcher),
            () = ends => break "the token has run out".to_owned(),
        }
    };
    for frame in farewell(version, &topic, join_ref.as_deref(), &reason) {
        let _ = frames.send(frame).await;
    }
}

/// A channel ends, and why.
fn farewell(version: Version, topic: &str, join_ref: Option<&str>, reason: &str) -> [Frame; 2] {
    let why =
        json!({"extension": "system", "status": "error", "message": reason, "channel": topic});
    [
        phoenix::write(version, join_ref, None, topic, "system", &why),
        phoenix::write(version, join_ref, join_ref, topic, "phx_close", &json!({})),
    ]
}
