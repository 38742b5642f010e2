#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

const TWO: &str = r#"["1","2","realtime:pgflow:run:x","phx_join",{"config":{"private":true}}]"#;
const ONE: &str = r#"{"topic":"realtime:pgflow:run:x","event":"phx_join","payload":{"config":{"private":true}},"ref":"2","join_ref":"1"}"#;

#[test]
fn both_versions_say_the_same() {
    let two = read(Version::Two, TWO).unwrap();
    assert_eq!(two, read(Version::One, ONE).unwrap());
    assert_eq!(run_of(&two.topic), Some("x"));
    assert_eq!(two.payload["config"]["private"], true);
}

#[test]
fn a_heartbeat_has_no_channel() {
    let beat = read(Version::Two, r#"[null,"7","phoenix","heartbeat",{}]"#).unwrap();
    let Frame::Text(text) = reply(Version::Two, &beat, "ok", &json!({})) else {
        panic!("not a text")
    };
    assert_eq!(
        text,
        r#"[null,"7","phoenix","phx_reply",{"response":{},"status":"ok"}]"#
    );
    assert_eq!(run_of("phoenix"), None);
}

#[test]
fn what_is_no_frame_is_refused() {
    for text in [
        "",
        "{}",
        "[]",
        "null",
        r#"["1","2","t"]"#,
        r#"[1,2,"t","e",{}]"#,
        "[[[[[",
    ] {
        assert!(read(Version::Two, text).is_err(), "{text}");
        assert!(read(Version::One, text).is_err(), "{text}");
    }
}

#[test]
fn a_broadcast_is_binary_in_version_two() {
    let Frame::Binary(frame) = broadcast(Version::Two, "topic", "step:a:completed", r#"{"a":1}"#)
    else {
        panic!("not binary")
    };
    assert_eq!(frame[..5], [4, 5, 16, 0, 1]);
    assert_eq!(frame[5..], *br#"topicstep:a:completed{"a":1}"#);
}

#[test]
fn a_broadcast_is_an_object_in_version_one() {
    let Frame::Text(text) = broadcast(Version::One, "topic", "run:started", r#"{"a":1.0}"#) else {
        panic!("not a text")
    };
    let frame: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(frame["event"], "broadcast");
    assert_eq!(
        frame["payload"],
        json!({"type": "broadcast", "event": "run:started", "payload": {"a": 1.0}})
    );
}

#[test]
fn names_too_long_for_a_binary_frame_go_as_text() {
    let event = format!("step:{}:completed", "s".repeat(250));
    let frame = broadcast(Version::Two, "topic", &event, "{}");
    assert!(
        matches!(frame, Frame::Text(text) if text.starts_with(r#"[null,null,"topic","broadcast","#))
    );
}
