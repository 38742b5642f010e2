//! What comes back, and what does not.

use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime};

use super::server::{accept, answering, response, saying, start};
use super::*;
use crate::http::Secret;
use crate::http::headers::Task;
use crate::model::RunId;

fn ask_at(address: std::net::SocketAddr) -> Answer {
    ask(&mut local(), &format!("http://{address}/"))
}

#[test]
fn a_request_is_a_signed_post() {
    let (sender, received) = mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let address = start(move |stream, request| {
        sender.lock().unwrap().send(request).unwrap();
        stream
            .write_all(response(200, "", "{\"done\": true}").as_bytes())
            .unwrap();
        true
    });
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let task = Task {
        run_id: RunId::new(),
        flow_slug: "f",
        step_slug: "s",
        task_index: 0,
        attempt: 1,
    };
    let mut one = call(
        1,
        &format!("http://LOCALHOST:{}/path?a=b%20c", address.port()),
    );
    one.headers = task.headers(std::slice::from_ref(&secret), SystemTime::now(), &one.body);
    let mut client = local();
    let answer = ask_with(&mut client, one.clone());
    assert_eq!(answer, Answer::Output("{\"done\": true}".to_owned()));

    let request = received.recv().unwrap();
    let value = |name: &str| {
        let mut lines = request
            .head
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = lines.next().unwrap_or_default();
        assert_eq!(lines.next(), None);
        value
    };
    assert!(
        request.head.starts_with("POST /path?a=b%20c HTTP/1.1\r\n"),
        "{}",
        request.head
    );
    assert_eq!(request.body, one.body);
    assert_eq!(value("host"), format!("localhost:{}", address.port()));
    assert_eq!(value("content-type"), "application/json");
    assert_eq!(value("accept-encoding"), "identity");
    assert_eq!(
        value("user-agent"),
        format!("pgflow/{}", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(value("traceparent"), task.traceparent());
    assert_eq!(value("webhook-id"), task.idempotency_key());
    let content = format!(
        "{}.{}.{}",
        value("webhook-id"),
        value("webhook-timestamp"),
        request.body
    );
    assert_eq!(
        value("webhook-signature"),
        format!("v1,{}", secret.sign(&content))
    );
}

#[test]
fn statuses_become_answers() {
    assert_eq!(
        ask_at(answering(200, "", "")),
        Answer::Output("null".to_owned())
    );
    assert_eq!(
        ask_at(saying("HTTP/1.1 204 No Content\r\n\r\n")),
        Answer::Output("null".to_owned())
    );
    assert_eq!(
        ask_at(answering(201, "", "[1]")),
        Answer::Output("[1]".to_owned())
    );
    assert_eq!(ask_at(answering(202, "", "taken")), Answer::Accepted);
    assert_eq!(
        failure(ask_at(answering(500, "", "out of\ncheese"))),
        (
            "HTTP 500 Internal Server Error: out of cheese".to_owned(),
            true,
            None
        )
    );
    assert_eq!(
        failure(ask_at(answering(429, "retry-after: 17\r\n", ""))),
        ("HTTP 429 Too Many Requests".to_owned(), true, Some(17))
    );
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(600));
    let (_, retryable, retry_after) = failure(ask_at(answering(
        503,
        &format!("Retry-After: {date}\r\n"),
        "",
    )));
    assert!(
        retryable && matches!(retry_after, Some(590..=600)),
        "{retry_after:?}"
    );
    // Only what may be tried again says when.
    assert_eq!(
        failure(ask_at(answering(404, "retry-after: 17\r\n", "{}"))),
        ("HTTP 404 Not Found: {}".to_owned(), false, None)
    );
}

#[test]
fn redirects_are_not_followed() {
    let target = accept(|_| panic!("somebody came"));
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: http://{target}/\r\n");
        let (message, retryable, _) = failure(ask_at(answering(status, &location, "")));
        assert!(
            message.contains("redirects are not followed") && !retryable,
            "{message}"
        );
    }
}

#[test]
fn outputs_fit_into_a_jsonb() {
    for (body, retryable) in [
        ("<html>", true),
        (r#"{"a": "\u0000"}"#, false),
        (r#""\ud800""#, false),
        ("[1e999999]", false),
    ] {
        let (message, may_retry, _) = failure(ask_at(answering(200, "", body)));
        assert_eq!(may_retry, retryable, "{message}");
        assert!(
            message.starts_with("HTTP 200 OK: the body ") && message.ends_with(body),
            "{message}"
        );
    }
    let (message, _, _) = failure(ask_at(answering(200, "content-encoding: gzip\r\n", "\x1f")));
    assert!(message.contains("content-encoding \"gzip\""), "{message}");
}

#[test]
fn wrong_answers_are_failures_of_the_moment() {
    for response in [
        "",
        "\0\u{1}\u{2}garbage\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1",
        "HTTP/1.1 200",
        "HTTP/1.1 20",
        "HTTP/9.9 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-le",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n[1]",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n[1]",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n[1]",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n[1]",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n[1]",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n[1]",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n[1]",
        &format!("HTTP/1.1 200 OK\r\n{}", "x: y\r\n".repeat(100_000)),
        &format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(2_000_000)),
    ] {
        let answer = ask_at(saying(response));
        let (message, retryable, _) = failure(answer);
        assert!(retryable && message.len() < 600, "{message}");
        assert!(!message.contains('\n'));
    }
}

#[test]
fn a_longer_body_than_announced_is_cut_there() {
    let answer = ask_at(saying(
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[1], 2]",
    ));
    assert_eq!(answer, Answer::Output("[1]".to_owned()));
    // Without a length it goes on to the end of the connection.
    assert_eq!(
        ask_at(saying("HTTP/1.1 200 OK\r\n\r\n[1, 2]")),
        Answer::Output("[1, 2]".to_owned())
    );
}

#[test]
fn closed_ports_are_failures_of_the_moment() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (message, retryable, _) = failure(ask_at(address));
    assert!(
        message.starts_with("cannot connect to 127.0.0.1: ") && retryable,
        "{message}"
    );
    // Closed as soon as it is open.
    let (message, retryable, _) = failure(ask_at(accept(drop)));
    assert!(
        message.starts_with("no answer from 127.0.0.1: ") && retryable,
        "{message}"
    );
}

#[test]
fn bodies_end_at_the_limit() {
    let exact = format!("\"{}\"", "x".repeat(100_000 - 2));
    assert_eq!(
        ask_at(answering(200, "", &exact)),
        Answer::Output(exact.clone())
    );
    let endless = |head: &'static str, piece: &'static str| {
        start(move |stream, _| {
            stream.write_all(head.as_bytes()).unwrap();
            while stream.write_all(piece.as_bytes()).is_ok() {}
            false
        })
    };
    let piece = "8\r\n[[[[[[[[\r\n";
    for address in [
        answering(200, "", &format!("{exact} ")),
        saying("HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n"),
        endless(
            "HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n",
            "x",
        ),
        endless("HTTP/1.1 200 OK\r\n\r\n", "[[[[[[[["),
        endless(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            piece,
        ),
    ] {
        let (answer, time) = took(|| ask_at(address));
        assert_eq!(
            failure(answer),
            (
                "HTTP 200 OK: the body is longer than 100000 bytes".to_owned(),
                false,
                None
            )
        );
        assert!(time < Duration::from_secs(10), "{time:?}");
    }
    // What fails anyway is quoted, not read.
    let (message, retryable, _) = failure(ask_at(endless("HTTP/1.1 500 X\r\n\r\n", "no! ")));
    assert!(
        message.ends_with("no! no…") || message.ends_with("no!…") && retryable,
        "{message}"
    );
    assert_eq!(
        ask_at(endless("HTTP/1.1 202 X\r\n\r\n", "yes ")),
        Answer::Accepted
    );
}

#[test]
fn a_status_counts_though_its_body_does_not_come() {
    let stalled = |status: &'static str| {
        start(move |stream, _| {
            stream
                .write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 9\r\n\r\n").as_bytes())
                .unwrap();
            thread::sleep(Duration::from_secs(60));
            false
        })
    };
    assert_eq!(ask_at(stalled("202")), Answer::Accepted);
    assert_eq!(
        failure(ask_at(stalled("400"))),
        ("HTTP 400 Bad Request".to_owned(), false, None)
    );
    assert_eq!(
        ask_at(saying("HTTP/1.1 202 X\r\ncontent-length: 9\r\n\r\n")),
        Answer::Accepted
    );
}

#[test]
fn the_timeout_is_for_the_whole_call() {
    let silent = start(|_, _| {
        thread::sleep(Duration::from_secs(60));
        false
    });
    let deaf = accept(|_| thread::sleep(Duration::from_secs(60)));
    let slow = |start_of_response: &'static str| {
        start(move |stream, _| {
            stream.write_all(start_of_response.as_bytes()).unwrap();
            while stream.write_all(b"1").is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
            false
        })
    };
    for address in [
        silent,
        deaf,
        slow("HTTP/1.1 200 OK\r\nx: "),
        slow("HTTP/1.1 200 OK\r\n\r\n"),
        // Interim responses do not count.
        start(|stream, _| {
            while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").is_ok() {
                thread::sleep(Duration::from_millis(50));
            }
            false
        }),
    ] {
        let mut one = call(3, &format!("http://{address}/"));
        one.timeout = Duration::from_millis(400);
        let (answer, time) = took(|| ask_with(&mut local(), one));
        assert_eq!(
            failure(answer),
            (
                "no answer from 127.0.0.1 within 400ms".to_owned(),
                true,
                None
            )
        );
        assert!(
            time > Duration::from_millis(390) && time < Duration::from_secs(5),
            "{time:?}"
        );
    }
}

#[test]
fn slow_answers_within_the_timeout_count() {
    let address = start(|stream, _| {
        for piece in response(200, "", "[1, 2]").as_bytes() {
            stream.write_all(&[*piece]).unwrap();
            stream.flush().unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        true
    });
    assert_eq!(ask_at(address), Answer::Output("[1, 2]".to_owned()));
}

#[test]
fn echoes_do_not_tell_what_was_sent_in_confidence() {
    let address = start(|stream, request| {
        stream
            .write_all(response(400, "", &request.head).as_bytes())
            .unwrap();
        true
    });
    let mut one = call(1, &format!("http://{address}/"));
    one.headers = vec![
        ("authorization".to_owned(), "Bearer s3cr3t-t0ken".to_owned()),
        (
            "webhook-signature".to_owned(),
            "v1,AAAABBBB v1,CCCCDDDD".to_owned(),
        ),
        ("pgflow-step-slug".to_owned(), "the_step".to_owned()),
    ];
    let (message, _, _) = failure(ask_with(&mut local(), one));
    assert!(message.contains("authorization: Bearer ***"), "{message}");
    assert!(message.contains("the_step"), "{message}");
    assert!(
        !["s3cr3t", "AAAA", "CCCC"]
            .iter()
            .any(|secret| message.contains(secret)),
        "{message}"
    );
}
