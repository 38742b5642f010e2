//! How many at once, and how it ends.

use std::fs;
use std::future::pending;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use super::server::{accept, response, start};
use super::*;
use crate::http::network::{Network, Pending, System, tls};

/// A few milliseconds on a machine that has nothing else to do; whatever is waited for takes seconds.
const AT_ONCE: Duration = Duration::from_millis(500);

#[test]
fn two_hundred_calls_are_under_way_at_once() {
    // Nobody is answered before all have come, twice: the second time on connections that were kept.
    let barrier = Barrier::new(200);
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = accept(move |mut stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        while let Some(request) = server::read(&mut stream) {
            barrier.wait();
            drop(stream.write_all(response(200, "", &request.body).as_bytes()));
        }
    });
    let mut client = local();
    for _ in 0..2 {
        for id in 0..200 {
            let mut one = call(id, &format!("http://{address}/"));
            one.body = id.to_string();
            client.submit(one);
        }
        assert_eq!(client.in_flight(), 200);
        assert_eq!(client.room(), 300);
        assert_eq!(client.room_for("127.0.0.1"), 50);
        assert_eq!(client.room_for("localhost"), 250);
        let mut answers = wait(&mut client, 200);
        answers.sort_by_key(|(id, _)| *id);
        for (id, (answered, answer)) in (0..).zip(answers) {
            assert_eq!((id, Answer::Output(id.to_string())), (answered, answer));
        }
        assert_eq!(client.in_flight(), 0);
        assert_eq!(client.room_for("127.0.0.1"), 250);
        assert!(client.answers().is_empty());
    }
    let connections = connections.load(Ordering::Relaxed);
    assert!((200..300).contains(&connections), "{connections}");
}

#[test]
fn a_host_has_so_many_requests_and_the_others_wait_for_nothing() {
    let under_way = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    let address = start(move |stream, _| {
        seen.fetch_max(
            under_way.fetch_add(1, Ordering::SeqCst) + 1,
            Ordering::SeqCst,
        );
        thread::sleep(Duration::from_millis(300));
        under_way.fetch_sub(1, Ordering::SeqCst);
        stream.write_all(response(200, "", "").as_bytes()).is_ok()
    });
    let other = start(|stream, _| stream.write_all(response(200, "", "").as_bytes()).is_ok());
    let mut client = Client::start(Settings {
        max_per_host: 3,
        ..settings("127.0.0.1, localhost")
    })
    .unwrap();
    for id in 0..12 {
        let mut one = call(id, &format!("http://{address}/"));
        // Less than it takes for all of them, more than it takes for one.
        one.timeout = Duration::from_millis(1000);
        client.submit(one);
    }
    assert_eq!(client.room_for("127.0.0.1"), 0);
    assert_eq!(client.room_for("localhost"), 3);
    client.submit(call(99, &format!("http://localhost:{}/", other.port())));
    let answers = wait(&mut client, 13);
    assert_eq!(answers[0].0, 99);
    assert!(
        answers
            .iter()
            .all(|(_, answer)| *answer == Answer::Output("null".to_owned())),
        "{answers:?}"
    );
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn calls_that_fail_give_their_place_back() {
    let address = accept(drop);
    let mut client = Client::start(Settings {
        max_per_host: 1,
        ..settings("127.0.0.1")
    })
    .unwrap();
    for id in 0..20 {
        client.submit(call(id, &format!("http://{address}/")));
    }
    let answers = wait(&mut client, 20);
    assert!(answers.iter().map(|(id, _)| *id).eq(0..20), "{answers:?}");
}

#[test]
fn new_settings_are_for_new_calls() {
    let address = start(|stream, _| {
        thread::sleep(Duration::from_millis(300));
        stream
            .write_all(response(200, "", "[1, 2, 3]").as_bytes())
            .is_ok()
    });
    let url = format!("http://{address}/");
    let mut client = local();
    client.submit(call(1, &url));
    client.configure(Settings {
        max_response_bytes: 5,
        max_in_flight: 1,
        ..settings("127.0.0.1")
    });
    assert_eq!(client.room(), 0);
    client.submit(call(2, &url));
    client.configure(Settings {
        max_in_flight: 0,
        ..settings("")
    });
    client.submit(call(3, &url));
    let mut answers = wait(&mut client, 3);
    answers.sort_by_key(|(id, _)| *id);
    assert_eq!(answers[0].1, Answer::Output("[1, 2, 3]".to_owned()));
    let (second, _, _) = failure(answers[1].1.clone());
    assert!(second.contains("longer than 5 bytes"), "{second}");
    let (third, _, _) = failure(answers[2].1.clone());
    assert!(third.contains("pgflow.http_allowed_hosts"), "{third}");
}

/// A network in which looking up `slow` and connecting to anything but `near` takes longer than any test.
struct Tar {
    near: SocketAddr,
}

impl Network for Tar {
    fn resolve(&self, name: String) -> Pending<std::io::Result<Vec<IpAddr>>> {
        match name.as_str() {
            "panic" => Box::pin(async { panic!("a resolver that panics") }),
            "slow" => Box::pin(async {
                // As getaddrinfo does.
                let slept =
                    tokio::task::spawn_blocking(|| thread::sleep(Duration::from_secs(15))).await;
                slept.map(|()| Vec::new()).map_err(std::io::Error::other)
            }),
            "dark-then-near" => {
                Box::pin(async { Ok(vec![[10, 0, 0, 1].into(), [127, 0, 0, 1].into()]) })
            }
            "nowhere" => Box::pin(async { Ok(Vec::new()) }),
            _ => Box::pin(async { Ok(vec![[10, 0, 0, 1].into()]) }),
        }
    }

    fn connect(&self, address: SocketAddr) -> Pending<std::io::Result<tokio::net::TcpStream>> {
        if address.ip().is_loopback() {
            System.connect(self.near)
        } else {
            Box::pin(pending())
        }
    }
}

fn in_tar(connect_timeout: u64) -> Client {
    let near = start(|stream, _| stream.write_all(response(200, "", "").as_bytes()).is_ok());
    let settings = Settings {
        connect_timeout: Duration::from_millis(connect_timeout),
        ..settings("*, 10.0.0.0/8, 127.0.0.0/8")
    };
    Client::start_in(settings, Arc::new(Tar { near }), tls().unwrap()).unwrap()
}

#[test]
fn connecting_has_a_timeout_of_its_own() {
    let mut client = in_tar(400);
    for url in [
        "http://slow/",
        "http://dark/",
        "https://dark/",
        "http://10.0.0.1/",
    ] {
        let (answer, time) = took(|| ask(&mut client, url));
        let (message, retryable, _) = failure(answer);
        assert!(
            message.starts_with("cannot connect to ")
                && message.ends_with("not connected within 400ms"),
            "{message}"
        );
        assert!(
            retryable && time > Duration::from_millis(390) && time < Duration::from_secs(5),
            "{time:?}"
        );
    }
    let (message, retryable, _) = failure(ask(&mut client, "http://nowhere/"));
    assert!(
        message.ends_with("name has no address") && retryable,
        "{message}"
    );
    // A silent address leaves time for the next one.
    assert_eq!(
        ask(&mut client, "http://dark-then-near/"),
        Answer::Output("null".to_owned())
    );
    // TLS with somebody who does not speak it, and is silent.
    let deaf = accept(|_stream| thread::sleep(Duration::from_secs(60)));
    let mut client = Client::start(Settings {
        connect_timeout: Duration::from_millis(300),
        ..settings("127.0.0.1")
    })
    .unwrap();
    let (message, _, _) = failure(ask(&mut client, &format!("https://{deaf}/")));
    assert_eq!(
        message,
        "cannot connect to 127.0.0.1: not connected within 300ms"
    );
}

#[test]
fn a_full_backlog_is_a_timeout() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(1).unwrap()
    });
    let address = listener.local_addr().unwrap();
    let mut callers = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        callers.push(stream);
    }
    let mut client = Client::start(Settings {
        connect_timeout: Duration::from_millis(500),
        ..settings("127.0.0.1")
    })
    .unwrap();
    let (message, retryable, _) = failure(ask(&mut client, &format!("http://{address}/")));
    assert_eq!(
        message,
        "cannot connect to 127.0.0.1: not connected within 500ms"
    );
    assert!(retryable);
    client.submit(call(1, &format!("http://{address}/")));
    thread::sleep(Duration::from_millis(100));
    let ((), time) = took(|| drop(client));
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
fn dropping_the_client_waits_for_nothing() {
    let silent = start(|_, _| {
        thread::sleep(Duration::from_secs(60));
        false
    });
    let mut client = in_tar(60_000);
    client.configure(Settings {
        max_per_host: 10,
        connect_timeout: Duration::from_secs(60),
        ..settings("*, 10.0.0.0/8, 127.0.0.0/8")
    });
    let silent = format!("http://{silent}/");
    for id in 0..100 {
        for url in [
            silent.as_str(),
            "http://slow/",
            "http://dark/",
            "https://10.0.0.9/",
        ] {
            client.submit(call(id, url));
        }
    }
    thread::sleep(Duration::from_millis(300));
    assert_eq!(client.in_flight(), 400);
    let ((), time) = took(|| drop(client));
    assert!(time < AT_ONCE, "{time:?}");
}

#[test]
fn a_panic_is_an_answer() {
    let mut client = in_tar(1000);
    for _ in 0..3 {
        let (message, retryable, _) = failure(ask(&mut client, "http://panic/"));
        assert_eq!(message, "the request was given up");
        assert!(retryable);
    }
    assert_eq!(client.in_flight(), 0);
    assert_eq!(
        ask(&mut client, "http://127.0.0.1/"),
        Answer::Output("null".to_owned())
    );
}

/// The signals that a thread of this process has blocked, by thread name.
fn blocked(name: &str) -> Vec<u64> {
    let mut masks = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        let value = |key: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .map(str::trim)
        };
        if value("Name:") == Some(name) {
            masks.push(u64::from_str_radix(value("SigBlk:").unwrap(), 16).unwrap());
        }
    }
    masks
}

#[test]
fn the_threads_take_no_signals() {
    let own = fs::read_to_string("/proc/thread-self/status").unwrap();
    let mut client = local();
    // Looked up by a thread of its own.
    failure(ask(&mut client, "http://localhost:1/"));
    // All but SIGKILL, SIGSTOP and the two that the C library keeps for itself.
    let all = 0x7fff_ffff & !(1 << 8) & !(1 << 18);
    for name in ["pgflow-http", "pgflow-http-dns"] {
        let masks = blocked(name);
        assert!(
            !masks.is_empty() && masks.iter().all(|mask| mask & all == all),
            "{name}: {masks:x?}"
        );
    }
    let mask = |status: &str| {
        status
            .lines()
            .find(|line| line.starts_with("SigBlk:"))
            .map(str::to_owned)
    };
    assert_eq!(
        mask(&fs::read_to_string("/proc/thread-self/status").unwrap()),
        mask(&own)
    );
}
