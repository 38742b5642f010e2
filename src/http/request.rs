//! A call made ready: all that can be wrong with it is found before anything is sent.

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};

use super::hosts::AllowedHosts;
use super::target::Target;
use super::{Answer, Call};
use crate::error::quoted;

#[derive(Debug)]
pub struct Request {
    pub target: Target,
    pub http: hyper::Request<Full<Bytes>>,
    pub timeout: Duration,
    /// What a message must not quote, should the other end send it back.
    pub hidden: Vec<String>,
}

/// What the client itself says.
const OWN: [&str; 11] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What may be seen by all who see errors of the task.
const OPEN: [&str; 9] = [
    "idempotency-key",
    "pgflow-attempt",
    "pgflow-flow-slug",
    "pgflow-run-id",
    "pgflow-step-slug",
    "pgflow-task-index",
    "traceparent",
    "webhook-id",
    "webhook-timestamp",
];

/// A shorter word is no secret, and would be found everywhere.
const SECRETIVE: usize = 8;

impl Request {
    /// The error is the answer of the call.
    pub fn new(call: Call, allowed_hosts: &AllowedHosts) -> Result<Self, Answer> {
        let target = Target::parse(&call.url).map_err(|fault| Answer::refused(fault.message))?;
        allowed_hosts
            .check_host(&target.host, target.port)
            .map_err(|refusal| Answer::refused(refusal.to_string()))?;

        let mut http = hyper::Request::post(&target.uri)
            .body(Full::new(Bytes::from(call.body)))
            .map_err(|error| Answer::refused(format!("request cannot be made: {error}")))?;
        let headers = http.headers_mut();
        let agent = concat!("pgflow/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let mut hidden = Vec::new();
        for (name, value) in call.headers {
            let bad = |why: &str| Answer::refused(format!("header {} {why}", quoted(&name)));
            let header =
                HeaderName::try_from(&name).map_err(|_| bad("has no name that HTTP allows"))?;
            if OWN.contains(&header.as_str()) {
                return Err(bad("is made by the client"));
            }
            let text = HeaderValue::from_str(&value)
                .map_err(|_| bad("has a value that HTTP does not allow"))?;
            if !OPEN.contains(&header.as_str()) {
                let words = value
                    .split_whitespace()
                    .filter(|word| word.len() >= SECRETIVE);
                hidden.extend(words.map(str::to_owned));
            }
            headers.insert(header, text);
        }
        let json = HeaderValue::from_static("application/json");
        headers.insert(CONTENT_TYPE, json.clone());
        headers.insert(ACCEPT, json);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Ok(Self {
            target,
            http,
            timeout: call.timeout,
            hidden,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(headers: &[(&str, &str)]) -> Result<Request, Answer> {
        let call = Call {
            id: 1,
            url: "https://example.com/x".to_owned(),
            body: "{}".to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            timeout: Duration::from_secs(1),
        };
        Request::new(call, &AllowedHosts::parse("*").unwrap())
    }

    #[test]
    fn headers_cannot_break_the_request() {
        for header in [
            ("x", "a\r\nhost: evil"),
            ("x\r\nhost", "evil"),
            ("x y", "z"),
            ("", "z"),
            ("Host", "evil"),
            ("content-length", "3"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "upgrade"),
        ] {
            match make(&[header]).map(|request| request.http) {
                Err(Answer::Failed {
                    message,
                    retryable: false,
                    ..
                }) => {
                    assert!(!message.contains("evil"), "{message}");
                }
                other => panic!("{header:?}: {other:?}"),
            }
        }
        let request = make(&[
            ("Authorization", "Bearer a-t0ken-of-mine"),
            ("webhook-id", "a/b/0"),
            ("User-Agent", "mine"),
        ])
        .unwrap();
        assert_eq!(request.hidden, ["a-t0ken-of-mine"]);
        assert_eq!(request.http.headers()["user-agent"], "mine");
        assert_eq!(request.http.headers()["content-type"], "application/json");
    }
}
