#![allow(clippy::unwrap_used)]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

const SET: &str = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Waits for somebody to ask for the set.
async fn asked(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let _ = stream.read(&mut [0; 4096]).await.unwrap();
    stream
}

async fn answer(mut stream: TcpStream) {
    let length = SET.len();
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(SET.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_read_that_was_given_up_was_none() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = Keys {
        secret: None,
        set: RwLock::new(Arc::new(JwkSet { keys: Vec::new() })),
        publisher: Some(Publisher {
            url: format!("http://{}/", listener.local_addr().unwrap()),
            client: reqwest::Client::new(),
            asked: Mutex::new(None),
        }),
        audience: None,
    };
    let limit = Duration::from_secs(20);
    // A request has gone away before the set was there.
    let given_up = timeout(limit, async {
        tokio::select! {
            stream = asked(&listener) => Some(stream),
            _ = keys.refresh(PAUSE, true) => None,
        }
    });
    assert!(given_up.await.unwrap().is_some());
    assert!(keys.current().keys.is_empty());
    // The next one reads it, however soon it comes; and then nobody does for a while.
    let read = timeout(limit, async {
        tokio::join!(keys.refresh(PAUSE, true), async {
            answer(asked(&listener).await).await;
        })
    });
    read.await.unwrap().0.unwrap();
    assert_eq!(keys.current().keys.len(), 1);
    let again = timeout(limit, keys.refresh(PAUSE, true));
    again.await.unwrap().unwrap();
}
