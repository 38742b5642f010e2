//! The frames of Phoenix channels, as the clients of Supabase Realtime write and read them. Nothing here asks or waits.
//!
//! Version 1.0.0 has objects, version 2.0.0 arrays, described at
//! <https://hexdocs.pm/phoenix/writing_a_channels_client.html>; in the latter broadcasts are binary frames, described at
//! <https://supabase.com/docs/guides/realtime/protocol>.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What topics of runs begin with. Clients put `realtime:` before what they are asked for.
const TOPIC: &str = "realtime:pgflow:run:";

/// A broadcast of the server, in version 2.0.0.
const USER_BROADCAST: u8 = 4;
/// Its payload is JSON.
const JSON: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

impl Version {
    /// That of the parameter `vsn` of the socket's URL.
    pub fn of(parameter: Option<&str>) -> Option<Self> {
        match parameter {
            None | Some("1.0.0") => Some(Self::One),
            Some("2.0.0") => Some(Self::Two),
            Some(_) => None,
        }
    }
}

/// A frame of a client.
#[derive(Debug, PartialEq)]
pub struct Incoming {
    pub join_ref: Option<String>,
    pub reference: Option<String>,
    pub topic: String,
    pub event: String,
    pub payload: Value,
}

/// A frame to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
}

/// Reads a text frame.
pub fn read(version: Version, text: &str) -> Result<Incoming, serde_json::Error> {
    #[derive(Deserialize)]
    struct Object {
        join_ref: Option<String>,
        #[serde(rename = "ref")]
        reference: Option<String>,
        topic: String,
        event: String,
        #[serde(default)]
        payload: Value,
    }
    type Array = (Option<String>, Option<String>, String, String, Value);
    match version {
        Version::One => serde_json::from_str::<Object>(text).map(|frame| Incoming {
            join_ref: frame.join_ref,
            reference: frame.reference,
            topic: frame.topic,
            event: frame.event,
            payload: frame.payload,
        }),
        Version::Two => serde_json::from_str::<Array>(text).map(
            |(join_ref, reference, topic, event, payload)| Incoming {
                join_ref,
                reference,
                topic,
                event,
                payload,
            },
        ),
    }
}

/// Writes a frame other than a broadcast.
pub fn write(
    version: Version,
    join_ref: Option<&str>,
    reference: Option<&str>,
    topic: &str,
    event: &str,
    payload: &Value,
) -> Frame {
    let frame = match version {
        Version::One => {
            json!({"join_ref": join_ref, "ref": reference, "topic": topic, "event": event, "payload": payload})
        }
        Version::Two => json!([join_ref, reference, topic, event, payload]),
    };
    Frame::Text(frame.to_string())
}

/// Writes the reply to a frame.
pub fn reply(version: Version, to: &Incoming, status: &str, response: &Value) -> Frame {
    let payload = json!({"status": status, "response": response});
    write(
        version,
        to.join_ref.as_deref(),
        to.reference.as_deref(),
        &to.topic,
        "phx_reply",
        &payload,
    )
}

/// Writes a broadcast; its message is JSON.
pub fn broadcast(version: Version, topic: &str, event: &str, message: &str) -> Frame {
    let lengths = (u8::try_from(topic.len()), u8::try_from(event.len()));
    if let (Version::Two, (Ok(of_topic), Ok(of_event))) = (version, lengths) {
        // Kind, the lengths of topic, event and metadata (none), the encoding of the payload.
        let mut frame = vec![USER_BROADCAST, of_topic, of_event, 0, JSON];
        frame.extend_from_slice(topic.as_bytes());
        frame.extend_from_slice(event.as_bytes());
        frame.extend_from_slice(message.as_bytes());
        return Frame::Binary(frame);
    }
    let message: Box<RawValue> = RawValue::from_string(message.to_owned()).unwrap_or_default();
    let payload = json!({"type": "broadcast", "event": event, "payload": message});
    write(version, None, None, topic, "broadcast", &payload)
}

/// The run whose topic this is.
pub fn run_of(topic: &str) -> Option<&str> {
    topic.strip_prefix(TOPIC)
}

#[cfg(test)]
mod tests;
