//! What a response means for the task that it was asked for.

use std::time::{Duration, SystemTime};

use hyper::header::{CONTENT_ENCODING, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};

use super::json::{self, Unfit};
use crate::model::domain::LONGEST_SECONDS;

/// What becomes of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Done; the output is JSON that a jsonb can hold.
    Output(String),
    /// It was taken, and its result comes by another way.
    Accepted,
    Failed {
        /// One line. It quotes the other end, and so may say anything.
        message: String,
        /// Whether the same request may have another answer later.
        retryable: bool,
        /// In seconds; the other end asked for it.
        retry_after: Option<i32>,
    },
}

/// What was read of the body of a response.
#[derive(Debug, Default)]
pub struct Body {
    pub bytes: Vec<u8>,
    /// There is more than this, the most that was to be read.
    pub longer_than: Option<usize>,
}

/// How much of a body a message quotes.
const EXCERPT: usize = 500;

impl Answer {
    /// A failure that will be one again.
    pub fn refused(message: impl AsRef<str>) -> Self {
        Self::failed(message.as_ref(), false, None)
    }

    /// A failure of the moment.
    pub fn lost(message: impl AsRef<str>) -> Self {
        Self::failed(message.as_ref(), true, None)
    }

    fn failed(message: &str, retryable: bool, retry_after: Option<i32>) -> Self {
        Self::Failed {
            message: one_line(message, usize::MAX),
            retryable,
            retry_after,
        }
    }

    /// Judges a response; `hidden` is what a message must not quote.
    pub fn judge(status: StatusCode, headers: &HeaderMap, body: Body, hidden: &[String]) -> Self {
        match status.as_u16() {
            200 | 201 | 204 => Self::output(status, headers, body, hidden),
            202 => Self::Accepted,
            300..=399 => Self::refused(told(status, "redirects are not followed", &body, hidden)),
            408 | 425 | 429 | 500..=599 => {
                let retry_after = retry_after(headers, SystemTime::now());
                Self::failed(&told(status, "", &body, hidden), true, retry_after)
            }
            400..=499 => Self::refused(told(status, "", &body, hidden)),
            _ => Self::refused(told(
                status,
                "an answer is 200, 201, 202 or 204",
                &body,
                hidden,
            )),
        }
    }

    /// A body that is not JSON is mostly a page that something on the way put in, of a proxy or of a host that is being
    /// moved; it may be gone the next time. What is JSON, but too long or no jsonb, the handler said itself, and it would say it again.
    fn output(status: StatusCode, headers: &HeaderMap, body: Body, hidden: &[String]) -> Self {
        if let Some(limit) = body.longer_than {
            let why = format!("the body is longer than {limit} bytes");
            return Self::refused(told(status, &why, &Body::default(), hidden));
        }
        if let Some(encoding) = headers
            .get(CONTENT_ENCODING)
            .filter(|encoding| *encoding != "identity")
        {
            let why =
                format!("the body has content-encoding {encoding:?}, which was not asked for");
            return Self::refused(told(status, &why, &Body::default(), hidden));
        }
        if body.bytes.trim_ascii().is_empty() {
            return Self::Output("null".to_owned());
        }
        let text = match String::from_utf8(body.bytes) {
            Ok(text) => text,
            Err(error) => {
                let body = Body {
                    bytes: error.into_bytes(),
                    longer_than: None,
                };
                return Self::lost(told(
                    status,
                    "the body is not JSON: it is not UTF-8",
                    &body,
                    hidden,
                ));
            }
        };
        let Err(unfit) = json::check(&text) else {
            return Self::Output(text);
        };
        let retryable = matches!(unfit, Unfit::NotJson(_));
        let body = Body {
            bytes: text.into_bytes(),
            longer_than: None,
        };
        Self::failed(
            &told(status, &format!("the body {unfit}"), &body, hidden),
            retryable,
            None,
        )
    }
}

/// Status, why it fails where the status does not say so, and how the body begins.
fn told(status: StatusCode, why: &str, body: &Body, hidden: &[String]) -> String {
    let mut message = format!("HTTP {}", status.as_str());
    if let Some(reason) = status.canonical_reason() {
        message = format!("{message} {reason}");
    }
    let excerpt = excerpt(&body.bytes, hidden);
    for part in [why, &excerpt] {
        if !part.is_empty() {
            message = format!("{message}: {part}");
        }
    }
    message
}

/// How the body begins, without what was sent in confidence: an echo must not end where errors are read.
fn excerpt(bytes: &[u8], hidden: &[String]) -> String {
    // One more character than is shown takes four bytes at most, and what is hidden may be cut off at the end.
    let longest = hidden.iter().map(String::len).max().unwrap_or(0);
    let most = 4 * (EXCERPT + 1) + longest;
    let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned();
    for secret in hidden {
        text = text.replace(secret, "***");
    }
    one_line(&text, EXCERPT)
}

/// On one line, without control characters, of at most `most` characters.
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    let mut length = 0;
    for c in text.trim_start().chars() {
        let blank = c.is_whitespace() || c.is_control();
        if blank && line.ends_with(' ') {
            continue;
        }
        if length == most {
            line.pop();
            line.push('…');
            break;
        }
        line.push(if blank { ' ' } else { c });
        length += 1;
    }
    line.truncate(line.trim_end().len());
    line
}

/// Seconds from `now`: the header has a number of them, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<i32> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().unwrap_or(u64::MAX)
    } else {
        let left = httpdate::parse_http_date(value)
            .ok()?
            .duration_since(now)
            .unwrap_or(Duration::ZERO);
        // Not before the date.
        left.as_secs() + u64::from(left.subsec_nanos() > 0)
    };
    Some(
        i32::try_from(seconds)
            .unwrap_or(LONGEST_SECONDS)
            .min(LONGEST_SECONDS),
    )
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn judge(status: u16, body: &str) -> Answer {
        judge_with(status, body, &[])
    }

    fn judge_with(status: u16, body: &str, hidden: &[String]) -> Answer {
        let body = Body {
            bytes: body.into(),
            longer_than: None,
        };
        Answer::judge(
            StatusCode::from_u16(status).unwrap(),
            &HeaderMap::new(),
            body,
            hidden,
        )
    }

    fn failure(answer: Answer) -> (String, bool) {
        match answer {
            Answer::Failed {
                message, retryable, ..
            } => (message, retryable),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn statuses_have_meanings() {
        for status in [200, 201] {
            assert_eq!(
                judge(status, " {\"a\": 1}\n"),
                Answer::Output(" {\"a\": 1}\n".to_owned())
            );
            assert_eq!(judge(status, ""), Answer::Output("null".to_owned()));
            assert_eq!(judge(status, " \r\n"), Answer::Output("null".to_owned()));
        }
        assert_eq!(judge(204, ""), Answer::Output("null".to_owned()));
        assert_eq!(judge(202, "whatever"), Answer::Accepted);
        for status in [408, 425, 429, 500, 501, 502, 503, 504, 599] {
            assert!(failure(judge(status, "{}")).1, "{status}");
        }
        for status in [
            101, 203, 205, 206, 299, 300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 409, 410,
            422, 499, 600, 999,
        ] {
            assert!(!failure(judge(status, "{}")).1, "{status}");
        }
    }

    #[test]
    fn messages_are_one_line() {
        let (message, _) = failure(judge(500, "<p>\r\n\tboom\0\u{1b}[31m</p>\n"));
        assert_eq!(message, "HTTP 500 Internal Server Error: <p> boom [31m</p>");
        assert_eq!(failure(judge(404, "")).0, "HTTP 404 Not Found");
        assert_eq!(failure(judge(599, "x")).0, "HTTP 599: x");
        assert_eq!(
            failure(judge(302, "")).0,
            "HTTP 302 Found: redirects are not followed"
        );
        let (message, _) = failure(judge(400, &"ä".repeat(10_000)));
        assert_eq!(
            message,
            format!("HTTP 400 Bad Request: {}…", "ä".repeat(499))
        );
        let (message, _) = failure(judge(400, &"ä".repeat(500)));
        assert!(message.ends_with("ää"));
    }

    #[test]
    fn messages_keep_secrets() {
        let hidden = ["Bearer t0ken".to_owned()];
        let (message, _) = failure(judge_with(401, "bad: Bearer t0ken!", &hidden));
        assert_eq!(message, "HTTP 401 Unauthorized: bad: ***!");
        let body = format!("{}Bearer t0ken", "ä".repeat(490));
        let (message, _) = failure(judge_with(401, &body, &hidden));
        assert!(message.ends_with("ä***"), "{message}");
    }

    #[test]
    fn outputs_are_jsonb() {
        let (message, retryable) = failure(judge(200, "<html>Under maintenance</html>"));
        assert_eq!(
            message,
            "HTTP 200 OK: the body is not JSON: expected value at line 1 column 1: <html>Under maintenance</html>"
        );
        assert!(retryable);
        let (message, retryable) = failure(judge(200, r#"["\u0000"]"#));
        assert_eq!(
            message,
            r#"HTTP 200 OK: the body cannot be stored as jsonb: it has the character \u0000: ["\u0000"]"#
        );
        assert!(!retryable);
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let odd = |status, headers: &HeaderMap| {
            let body = Body {
                bytes: b"\xff\x00\"x".to_vec(),
                longer_than: None,
            };
            failure(Answer::judge(status, headers, body, &[]))
        };
        let (message, retryable) = odd(StatusCode::OK, &HeaderMap::new());
        assert_eq!(
            message,
            "HTTP 200 OK: the body is not JSON: it is not UTF-8: \u{fffd} \"x"
        );
        assert!(retryable);
        let mut gzip = HeaderMap::new();
        gzip.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        let (message, retryable) = odd(StatusCode::OK, &gzip);
        assert!(message.contains("content-encoding \"gzip\""), "{message}");
        assert!(!retryable);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_millis(1_600_000_000_500);
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("1581120000", Some(LONGEST_SECONDS)),
            ("1581120001", Some(LONGEST_SECONDS)),
            ("99999999999999999999999", Some(LONGEST_SECONDS)),
            // 1600000100
            ("Sun, 13 Sep 2020 12:28:20 GMT", Some(100)),
            ("Sunday, 13-Sep-20 12:28:20 GMT", Some(100)),
            ("Sun Sep 13 12:28:20 2020", Some(100)),
            ("Sat, 12 Sep 2020 12:28:20 GMT", Some(0)),
            ("Sat, 01 Jan 2400 00:00:00 GMT", Some(LONGEST_SECONDS)),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers, now), seconds, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
