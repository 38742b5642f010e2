//! One request and its response.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::StatusCode;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use tokio_rustls::rustls::ClientConfig;

use super::Settings;
use super::answer::{Answer, Body, one_line};
use super::network::{ConnectError, Connector, Network};
use super::request::Request;

/// What calls of one setting share: a pool of connections, so that no connection outlives the setting that allowed it.
pub struct Transport {
    pub settings: Settings,
    client: Client<Connector, Full<Bytes>>,
}

/// How long a connection is kept for the next request. Many servers close theirs after five seconds, and a request that meets the end of
/// its connection half-way is lost.
const IDLE: Duration = Duration::from_secs(3);
/// What is read of a body that is no output: enough to quote it, and to use the connection again if that was all.
const ASIDE: usize = 16 * 1024;
/// How long such a body is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a description of an error may be.
const LONGEST: usize = 500;

impl Transport {
    pub fn new(settings: Settings, network: Arc<dyn Network>, tls: Arc<ClientConfig>) -> Self {
        let connector = Connector {
            network,
            tls,
            allowed_hosts: Arc::new(settings.allowed_hosts.clone()),
            timeout: settings.connect_timeout,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(settings.max_per_host.max(1))
            .build(connector);
        Self { settings, client }
    }

    /// Comes to an end within the request's timeout.
    pub async fn exchange(&self, request: Request) -> Answer {
        let (host, limit) = (request.target.host.to_string(), request.timeout);
        match timeout(limit, self.exchange_at_leisure(request)).await {
            Ok(answer) => answer,
            Err(_) => Answer::lost(format!("no answer from {host} within {limit:?}")),
        }
    }

    async fn exchange_at_leisure(&self, request: Request) -> Answer {
        let response = match self.client.request(request.http).await {
            Ok(response) => response,
            Err(error) => return failed(&request.target.host.to_string(), &error),
        };
        let (head, body) = response.into_parts();
        let body = if matches!(head.status, StatusCode::OK | StatusCode::CREATED) {
            match read_whole(body, self.settings.max_response_bytes).await {
                Ok(body) => body,
                Err(error) => {
                    return Answer::lost(format!(
                        "HTTP {}: {}",
                        head.status.as_str(),
                        described(&error)
                    ));
                }
            }
        } else {
            // The status says it all, whatever becomes of the body.
            let body = timeout(PATIENCE, read(body, ASIDE)).await;
            body.ok().and_then(Result::ok).unwrap_or_default()
        };
        Answer::judge(head.status, &head.headers, body, &request.hidden)
    }
}

/// At most `limit` bytes; nothing of a body that announces more.
async fn read_whole(body: Incoming, limit: usize) -> hyper::Result<Body> {
    if usize::try_from(body.size_hint().lower()).is_ok_and(|announced| announced <= limit) {
        return read(body, limit).await;
    }
    Ok(Body {
        bytes: Vec::new(),
        longer_than: Some(limit),
    })
}

/// At most `limit` bytes.
async fn read(mut body: Incoming, limit: usize) -> hyper::Result<Body> {
    let mut read = Body::default();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else {
            continue;
        };
        let room = limit - read.bytes.len();
        read.bytes
            .extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            read.longer_than = Some(limit);
            break;
        }
    }
    Ok(read)
}

/// Nothing that could be called a response came back.
fn failed(host: &str, error: &legacy::Error) -> Answer {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(ConnectError::Refused(refusal)) = inner.downcast_ref() {
            return Answer::refused(refusal.to_string());
        }
        source = inner.source();
    }
    let what = if error.is_connect() {
        "cannot connect to"
    } else {
        "no answer from"
    };
    // The outermost says "client error".
    let why = error.source().map_or_else(|| error.to_string(), described);
    Answer::lost(format!("{what} {host}: {why}"))
}

/// An error and its causes, those that say something new.
fn described(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let cause = inner.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = inner.source();
    }
    one_line(&text, LONGEST)
}
