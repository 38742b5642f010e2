#![allow(clippy::unwrap_used)]

use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::*;

/// A connection to routes of which one answers at once, and one after an hour.
fn connect() -> DuplexStream {
    let routes = Router::new().route("/", get(|| async { "now" })).route(
        "/slow",
        get(|| async {
            sleep(Duration::from_secs(3600)).await;
            "later"
        }),
    );
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let place = Place {
        _permit: Arc::new(permit),
    };
    let (client, server) = duplex(1 << 20);
    tokio::spawn(async move {
        let (_go_down, goes_down) = watch::channel(false);
        hold(server, routes, place, goes_down).await;
    });
    client
}

/// What comes until the server ends the connection, and how long that takes.
async fn rest(mut client: DuplexStream) -> (String, Duration) {
    let began = Instant::now();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    (text, began.elapsed())
}

fn is_limit(took: Duration) -> bool {
    (HEADERS..HEADERS + Duration::from_secs(2)).contains(&took)
}

#[tokio::test(start_paused = true)]
async fn headers_are_not_waited_for_without_end() {
    let client = connect();
    let (text, took) = rest(client).await;
    assert_eq!(text, "");
    assert!(is_limit(took), "{took:?}");

    // Not either if there is a little more now and then.
    let mut client = connect();
    let began = Instant::now();
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    while client.write_all(b"X: y\r\n").await.is_ok() {
        assert!(began.elapsed() < HEADERS * 2);
        sleep(Duration::from_secs(1)).await;
    }
    assert!(is_limit(began.elapsed()), "{:?}", began.elapsed());

    // Nor for those of a second request.
    let mut client = connect();
    client
        .write_all(b"GET / HTTP/1.1\r\n\r\nGET /")
        .await
        .unwrap();
    let (text, took) = rest(client).await;
    assert!(text.starts_with("HTTP/1.1 200") && text.ends_with("now"));
    assert!(is_limit(took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn responses_may_take_longer_than_headers() {
    let mut client = connect();
    client
        .write_all(b"GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let (text, took) = rest(client).await;
    assert!(text.ends_with("later"), "{text}");
    assert!(took >= Duration::from_secs(3600));
}

#[tokio::test(start_paused = true)]
async fn headers_that_are_too_large_are_refused() {
    let mut client = connect();
    // What is a little larger may have come at once.
    let long = "x".repeat(4 * MAX_HEADERS);
    let request = format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let (text, _) = rest(client).await;
    assert!(text.starts_with("HTTP/1.1 431"), "{text}");
}
