//! Which hosts are reached, whatever the URL looks like and whatever names resolve to.

use std::collections::VecDeque;
use std::io;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use super::server::{accept, response, start};
use super::*;
use crate::http::network::{Network, Pending, System, tls};

/// Names have the addresses that are next in line; all connections go to one server, and are remembered.
struct Fake {
    addresses: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
    connected: Mutex<Vec<SocketAddr>>,
    server: SocketAddr,
}

impl Network for Fake {
    fn resolve(&self, name: String) -> Pending<io::Result<Vec<IpAddr>>> {
        self.asked.lock().unwrap().push(name);
        let next = self.addresses.lock().unwrap().pop_front();
        Box::pin(async move { next.ok_or_else(|| io::Error::other("asked too often")) })
    }

    fn connect(&self, address: SocketAddr) -> Pending<io::Result<tokio::net::TcpStream>> {
        self.connected.lock().unwrap().push(address);
        System.connect(self.server)
    }
}

fn fake(allowed_hosts: &str, addresses: &[&[&str]]) -> (Client, Arc<Fake>) {
    let server = start(|stream, _| {
        drop(stream.write_all(response(200, "connection: close\r\n", "").as_bytes()));
        false
    });
    let addresses = addresses
        .iter()
        .map(|list| {
            list.iter()
                .map(|address| address.parse().unwrap())
                .collect()
        })
        .collect();
    let network = Arc::new(Fake {
        addresses: Mutex::new(addresses),
        asked: Mutex::default(),
        connected: Mutex::default(),
        server,
    });
    let shared: Arc<dyn Network> = network.clone();
    let client = Client::start_in(settings(allowed_hosts), shared, tls().unwrap()).unwrap();
    (client, network)
}

fn refused(client: &mut Client, url: &str) -> String {
    let (message, retryable, _) = failure(ask(client, url));
    assert!(!retryable, "{url}: {message}");
    message
}

/// Each of these would reach this machine or its network, if it reached anything.
#[test]
fn no_form_of_a_private_address_is_reached() {
    let server = accept(|_| panic!("somebody came"));
    let port = server.port();
    let mut client = Client::start(settings("*")).unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "LocalHost",
        "localhost.",
        "0.0.0.0",
        "127.1",
        "127.0.1",
        "0x7f.1",
        "0x7f000001",
        "0x7f.0.0.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "127.000.000.001",
        "127.0.0.1.",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "user@127.0.0.1",
        "example.com@127.0.0.1",
        "ⓛocalhost",
        "127。0。0。1",
        "127.0.0.1%00.example.com",
    ] {
        refused(&mut client, &format!("http://{host}:{port}/"));
        refused(&mut client, &format!("https://{host}:{port}/"));
    }
    for url in [
        "http:127.0.0.1",
        "http:///127.0.0.1/",
        "http:\\\\127.0.0.1\\",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "",
    ] {
        refused(&mut client, url);
    }
}

#[test]
fn nothing_is_reached_that_is_not_listed() {
    let (mut client, network) = fake("", &[]);
    for url in [
        "http://example.com/",
        "https://8.8.8.8/",
        "http://[2606:4700::1111]/",
        "http://localhost/",
    ] {
        assert!(refused(&mut client, url).contains("pgflow.http_allowed_hosts"));
    }
    assert!(
        network.asked.lock().unwrap().is_empty(),
        "a name was looked up"
    );
    assert!(network.connected.lock().unwrap().is_empty());
}

#[test]
fn the_address_that_is_judged_is_the_one_connected_to() {
    let (mut client, network) = fake(
        "*.example.com, 10.1.0.0/16",
        &[
            &["8.8.8.8"],
            // The name moves.
            &["127.0.0.1"],
            &[
                "169.254.169.254",
                "::ffff:10.0.0.1",
                "64:ff9b::10.1.0.1",
                "fe80::1",
            ],
            // Only the good one of several.
            &["10.0.0.1", "8.8.4.4", "::1"],
            &["::ffff:10.1.2.3"],
        ],
    );
    let null = Answer::Output("null".to_owned());
    let url = "http://a.example.com:81/";
    assert_eq!(ask(&mut client, url), null);
    let message = refused(&mut client, url);
    assert!(
        message.contains("127.0.0.1 ") && message.contains("pgflow.http_allowed_hosts"),
        "{message}"
    );
    refused(&mut client, url);
    assert_eq!(ask(&mut client, url), null);
    assert_eq!(ask(&mut client, url), null);
    // A name is asked for once for each connection, and no address but the judged ones is tried.
    assert_eq!(network.asked.lock().unwrap().len(), 5);
    let connected: Vec<String> = network
        .connected
        .lock()
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(connected, ["8.8.8.8:81", "8.8.4.4:81", "10.1.2.3:81"]);
}

#[test]
fn localhost_is_loopback_when_listed_by_name() {
    let (mut client, network) = fake("localhost", &[&["::1"], &["10.0.0.1"]]);
    assert_eq!(
        ask(&mut client, "http://localhost/"),
        Answer::Output("null".to_owned())
    );
    refused(&mut client, "http://localhost/");
    refused(&mut client, "http://127.0.0.1/");
    assert_eq!(network.connected.lock().unwrap().len(), 1);
}

#[test]
fn a_kept_connection_does_not_outlive_its_permission() {
    let server = start(|stream, _| stream.write_all(response(200, "", "").as_bytes()).is_ok());
    let url = format!("http://localhost:{}/", server.port());
    let mut client = local();
    let null = Answer::Output("null".to_owned());
    assert_eq!(ask(&mut client, &url), null);
    assert_eq!(ask(&mut client, &url), null);
    // The name is allowed still, its address no longer.
    client.configure(settings("*"));
    assert!(refused(&mut client, &url).contains("of host \"localhost\" is not public"));
}

#[test]
fn unknown_names_are_failures_of_the_moment() {
    let mut client = Client::start(settings("*")).unwrap();
    let (message, retryable, _) = failure(ask(&mut client, "http://no-such-host.invalid/"));
    assert!(
        message.starts_with("cannot connect to no-such-host.invalid: ") && retryable,
        "{message}"
    );
}
