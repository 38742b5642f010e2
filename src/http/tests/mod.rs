//! The client against servers that answer as no server should.

mod hosts;
mod limits;
mod responses;
mod server;
mod tls;

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};

use super::{AllowedHosts, Answer, Call, Client, Settings};

fn settings(allowed_hosts: &str) -> Settings {
    Settings {
        max_in_flight: 500,
        max_per_host: 250,
        connect_timeout: Duration::from_secs(5),
        max_response_bytes: 100_000,
        allowed_hosts: AllowedHosts::parse(allowed_hosts).unwrap(),
    }
}

fn local() -> Client {
    Client::start(settings("127.0.0.1, localhost")).unwrap()
}

fn call(id: u64, url: &str) -> Call {
    Call {
        id,
        url: url.to_owned(),
        body: r#"{"input": 1}"#.to_owned(),
        headers: Vec::new(),
        timeout: Duration::from_secs(20),
    }
}

/// Waits for `count` answers, by the descriptor only.
fn wait(client: &mut Client, count: usize) -> Vec<(u64, Answer)> {
    let mut got = Vec::new();
    while got.len() < count {
        let mut wake = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut wake, 30_000_u16), Ok(1), "no answer");
        let answers = client.answers();
        assert!(!answers.is_empty(), "woken for nothing");
        got.extend(answers);
    }
    let mut wake = [PollFd::new(client.as_fd(), PollFlags::POLLIN)];
    assert_eq!(
        poll(&mut wake, 0_u16),
        Ok(0),
        "readable though all were taken"
    );
    got
}

fn ask_with(client: &mut Client, call: Call) -> Answer {
    let id = call.id;
    client.submit(call);
    match wait(client, 1).as_slice() {
        [(answered, answer)] if *answered == id => answer.clone(),
        other => panic!("{other:?}"),
    }
}

fn ask(client: &mut Client, url: &str) -> Answer {
    ask_with(client, call(7, url))
}

/// Message, retryable, retry_after.
fn failure(answer: Answer) -> (String, bool, Option<i32>) {
    match answer {
        Answer::Failed {
            message,
            retryable,
            retry_after,
        } => (message, retryable, retry_after),
        other => panic!("{other:?}"),
    }
}

fn took<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}
