//! The headers of a request for a task: which task it is, where it belongs in a trace, and its signature.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest::{SHA256, digest};

use super::secret::Secret;
use super::sign;
use crate::model::RunId;

/// One attempt at one task.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    pub run_id: RunId,
    pub flow_slug: &'a str,
    pub step_slug: &'a str,
    pub task_index: i32,
    pub attempt: i32,
}

impl Task<'_> {
    /// The same for every attempt: who has seen it has seen this task.
    pub fn idempotency_key(&self) -> String {
        format!("{}/{}/{}", self.run_id, self.step_slug, self.task_index)
    }

    /// W3C Trace Context: the run is the trace, the attempt is the span that calls. Every process that serves the run makes the same.
    pub fn traceparent(&self) -> String {
        let name = format!("{}/{}/{}", self.step_slug, self.task_index, self.attempt);
        let hash = digest(&SHA256, name.as_bytes());
        let span = hash
            .as_ref()
            .iter()
            .take(8)
            .fold(0, |span, byte| span << 8 | u64::from(*byte));
        // Zero means none.
        let span = span.max(1);
        let trace = u128::from_be_bytes(self.run_id.0);
        format!("00-{trace:032x}-{span:016x}-01")
    }

    /// All headers of the request at `now` with this `body`.
    pub fn headers(
        &self,
        secrets: &[Secret],
        now: SystemTime,
        body: &str,
    ) -> Vec<(String, String)> {
        let key = self.idempotency_key();
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut headers = sign::headers(secrets, &key, now, body);
        headers.extend(
            [
                ("idempotency-key", key),
                ("traceparent", self.traceparent()),
                ("pgflow-run-id", self.run_id.to_string()),
                ("pgflow-flow-slug", self.flow_slug.to_owned()),
                ("pgflow-step-slug", self.step_slug.to_owned()),
                ("pgflow-task-index", self.task_index.to_string()),
                ("pgflow-attempt", self.attempt.to_string()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        headers
    }
}

/// What a request has beside that nobody reads the answer of: the endpoint is to settle the task itself (RFC 7240), and
/// the sender may not know what the body is.
pub fn unanswered() -> [(String, String); 2] {
    [
        ("content-type", "application/json"),
        ("prefer", "respond-async"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TASK: Task<'static> = Task {
        run_id: RunId([
            1, 0x8f, 3, 4, 5, 6, 0x70, 8, 0x89, 10, 11, 12, 13, 14, 15, 16,
        ]),
        flow_slug: "thumbnails",
        step_slug: "shrink",
        task_index: 7,
        attempt: 2,
    };

    #[test]
    fn attempts_share_a_key_and_a_trace() {
        let next = Task { attempt: 3, ..TASK };
        assert_eq!(
            TASK.idempotency_key(),
            "018f0304-0506-7008-890a-0b0c0d0e0f10/shrink/7"
        );
        assert_eq!(next.idempotency_key(), TASK.idempotency_key());
        let (one, two) = (TASK.traceparent(), next.traceparent());
        // The span by Python's hashlib.
        assert_eq!(
            one,
            "00-018f030405067008890a0b0c0d0e0f10-a7a2b019c2866569-01"
        );
        assert_eq!(one[..35], two[..35]);
        assert_ne!(one[36..52], two[36..52]);
        let twin = Task {
            step_slug: "shrink2",
            ..TASK
        };
        assert_ne!(twin.traceparent(), one);
    }

    #[test]
    fn a_request_says_which_task_it_is() {
        let now = UNIX_EPOCH + Duration::from_millis(1_614_265_330_999);
        let headers = TASK.headers(&[], now, "{}");
        let value = |name: &str| {
            headers
                .iter()
                .find(|header| header.0 == name)
                .map(|header| header.1.as_str())
        };
        assert_eq!(
            value("webhook-id"),
            Some("018f0304-0506-7008-890a-0b0c0d0e0f10/shrink/7")
        );
        assert_eq!(value("idempotency-key"), value("webhook-id"));
        assert_eq!(value("webhook-timestamp"), Some("1614265330"));
        assert_eq!(
            value("pgflow-run-id"),
            Some("018f0304-0506-7008-890a-0b0c0d0e0f10")
        );
        assert_eq!(value("pgflow-flow-slug"), Some("thumbnails"));
        assert_eq!(value("pgflow-step-slug"), Some("shrink"));
        assert_eq!(value("pgflow-task-index"), Some("7"));
        assert_eq!(value("pgflow-attempt"), Some("2"));
        assert_eq!(value("webhook-signature"), None);
    }
}
