//! A server on this machine, a thread for each connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

/// What came in.
#[derive(Debug, Clone)]
pub struct Received {
    /// Request line and headers.
    pub head: String,
    pub body: String,
}

/// Calls `handler` for each request; it writes what it likes, and `false` ends the connection.
pub fn start(
    handler: impl Fn(&mut TcpStream, Received) -> bool + Send + Sync + 'static,
) -> SocketAddr {
    accept(move |mut stream| {
        while let Some(received) = read(&mut stream) {
            if !handler(&mut stream, received) {
                return;
            }
        }
    })
}

/// Calls `handler` for each connection.
pub fn accept(handler: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handler = Arc::new(handler);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let handler = Arc::clone(&handler);
            thread::spawn(move || handler(stream.unwrap()));
        }
    });
    address
}

/// Answers every request with these bytes and closes.
pub fn saying(response: impl Into<Vec<u8>>) -> SocketAddr {
    let response = response.into();
    start(move |stream, _| {
        drop(stream.write_all(&response));
        false
    })
}

/// Answers with a status, headers that each end a line, and a body.
pub fn answering(status: u16, headers: &str, body: &str) -> SocketAddr {
    saying(response(status, headers, body))
}

pub fn response(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads one request; None at the end of the connection.
pub fn read(stream: &mut impl Read) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Received {
        head,
        body: String::from_utf8(body).unwrap(),
    })
}
