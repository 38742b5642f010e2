//! The WebSocket for clients of Phoenix channels, such as `@supabase/realtime-js`. A channel is a run that is watched;
//! its broadcasts are those that Supabase would send for it (docs/realtime.md).

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, watch};
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

/// How many joins and new tokens of one connection are asked about at once.
const MAX_JOINING: usize = 4;

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
                joining: Arc::new(Semaphore::new(MAX_JOINING)),
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
    joining: Arc<Semaphore>,
}

/// A run that is watched, or is about to be.
struct Channel {
    task: JoinHandle<()>,
    /// The newest one that the client has sent for it.
    token: watch::Sender<Option<String>>,
}

impl Channel {
    /// Whether it tells what happens, or will; not when it was refused, its token has run out or its run is gone.
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
        self.say(answer_to(self.version, to, answer)).await;
    }

    async fn take(&mut self, text: &str) {
        let Ok(frame) = phoenix::read(self.version, text) else {
            return;
        };
        match (frame.topic.as_str(), frame.event.as_str()) {
            ("phoenix", "heartbeat") => self.reply(&frame, Ok(json!({}))).await,
            (_, "phx_join") => self.join(frame).await,
            (_, "phx_leave") => {
                self.end(&frame.topic).await;
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
            // What it may see is asked anew.
            (_, "access_token") => {
                if let Some(channel) = self.channels.get(&frame.topic) {
                    channel.token.send_replace(self.token_of(&frame));
                }
            }
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

    /// A client watches a run, when the database allows it; meanwhile others are served.
    async fn join(&mut self, frame: Incoming) {
        // A second join of a topic replaces the first one.
        self.end(&frame.topic).await;
        // Nobody has use for those that have ended.
        self.channels.retain(|_, channel| channel.is_open());
        let run_id = match self.run_of(&frame) {
            Ok(run_id) => run_id,
            Err(reason) => return self.reply(&frame, Err(reason)).await,
        };
        let topic = frame.topic.clone();
        let (token, tokens) = watch::channel(self.token_of(&frame));
        let member = Member {
            app: Arc::clone(&self.app),
            version: self.version,
            is_own_page: self.is_own_page,
            frames: self.frames.clone(),
            joining: Arc::clone(&self.joining),
            topic: topic.clone(),
            join_ref: frame.join_ref.clone(),
            run_id,
            tokens,
        };
        let task = tokio::spawn(member.serve(frame));
        self.channels.insert(topic, Channel { task, token });
    }

    /// Ends a channel; nothing is told on it after that.
    async fn end(&mut self, topic: &str) {
        if let Some(mut channel) = self.channels.remove(topic) {
            channel.task.abort();
            let _ = (&mut channel.task).await;
        }
    }

    fn token_of(&self, frame: &Incoming) -> Option<String> {
        let token = frame.payload["access_token"].as_str();
        token.or(self.key.as_deref()).map(str::to_owned)
    }

    /// The run that a client wants to watch, if it is one more that it may ask for.
    fn run_of(&self, frame: &Incoming) -> Result<Uuid, String> {
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
        if self.channels.len() >= MAX_CHANNELS {
            return Err(format!("one connection may watch {MAX_CHANNELS} runs"));
        }
        Ok(run_id)
    }
}

/// The task behind a channel.
struct Member {
    app: Arc<App>,
    version: Version,
    is_own_page: bool,
    frames: mpsc::Sender<Frame>,
    joining: Arc<Semaphore>,
    topic: String,
    join_ref: Option<String>,
    run_id: Uuid,
    tokens: watch::Receiver<Option<String>>,
}

impl Member {
    async fn serve(mut self, frame: Incoming) {
        let joined = self.watch(None).await;
        let answer = (joined.as_ref())
            .map(|_| json!({ "postgres_changes": [] }))
            .map_err(String::clone);
        // When nobody takes what is sent, the connection is about to end, and so is this.
        let _ = (self.frames)
            .send(answer_to(self.version, &frame, answer))
            .await;
        if let Ok(watcher) = joined {
            tracing::debug!("{} joins {}", watcher.caller().role, self.topic);
            self.tell(watcher).await;
        }
    }

    /// Asks whether who has the newest token may watch, when it is this channel's turn. What is asked is asked to the end and
    /// takes its turn until then, also when nobody waits for it any more: the database has no more to do for who comes
    /// and goes.
    fn watch(
        &mut self,
        old: Option<&Watcher>,
    ) -> impl Future<Output = Result<Watcher, String>> + Send + use<> {
        let (app, joining) = (Arc::clone(&self.app), Arc::clone(&self.joining));
        let (run_id, is_own_page) = (self.run_id, self.is_own_page);
        let token = self.tokens.borrow_and_update().clone();
        let counted = old.map(Watcher::counted);
        async move {
            let turn = joining.acquire_owned().await;
            let asked = tokio::spawn(async move {
                let _turn = turn;
                let key = token.as_deref();
                let caller = app.doorkeeper.bearer_or_key(key, is_own_page).await?;
                app.watches.join(run_id, &caller, counted).await
            });
            match asked.await {
                Ok(joined) => joined.map_err(|failure| failure.to_string()),
                Err(_) => Err("the server is going down".to_owned()),
            }
        }
    }

    /// Tells what happens in a run, until the token runs out or the run is gone.
    async fn tell(mut self, mut watcher: Watcher) {
        let mut newer = None;
        let reason = loop {
            let remaining = Caller::remaining(watcher.caller());
            let ends = async move {
                match remaining {
                    Some(remaining) => sleep(remaining).await,
                    None => std::future::pending().await,
                }
            };
            let renewed = async {
                match &mut newer {
                    Some(newer) => Pin::as_mut(newer).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                happened = watcher.next() => match happened {
                    Ok(events) => {
                        for event in events {
                            let frame = phoenix::broadcast(
                                self.version,
                                &self.topic,
                                &event.name(),
                                &event.message(),
                            );
                            if self.frames.send(frame).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(failure) => break failure.to_string(),
                },
                Ok(()) = self.tokens.changed() => newer = Some(Box::pin(self.watch(Some(&watcher)))),
                renewed = renewed => {
                    newer = None;
                    match renewed {
                        // What the old one knows goes over to the new one, so that nothing is missed.
                        Ok(renewed) => watcher = renewed.instead_of(&mut watcher),
                        Err(reason) => break reason,
                    }
                }
                () = ends => break "the token has run out".to_owned(),
            }
        };
        for frame in farewell(self.version, &self.topic, self.join_ref.as_deref(), &reason) {
            let _ = self.frames.send(frame).await;
        }
    }
}

fn answer_to(version: Version, to: &Incoming, answer: Result<Value, String>) -> Frame {
    let (status, response) = match answer {
        Ok(response) => ("ok", response),
        Err(reason) => ("error", json!({ "reason": reason })),
    };
    phoenix::reply(version, to, status, &response)
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
