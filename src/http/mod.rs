//! The HTTP client of executor `http`: many requests under way in one thread that never touches PostgreSQL.
//!
//! Responsible for one thing: a [`Call`] goes in, exactly one [`Answer`] for its id comes out, whatever the other end
//! does. It knows no server, no SQL and no task; what a call is for and what becomes of its answer is decided outside.
//! Nothing here is kept: a call that was under way when the process ended was never answered.
//!
//! [`Client`] is the handle; [`lanes`] keeps the limit per host; [`exchange`] is one request and its response;
//! [`answer`] says what a response means; [`network`] finds the address and makes the connection; [`headers`],
//! [`sign`] and [`secret`] make what a request for a task carries.
//!
//! # Which hosts may be called
//!
//! Targets are written by people who may define flows, the server stands inside a network: so nothing is reached that
//! an operator did not open. Two questions are asked of every call, by [`hosts::AllowedHosts`]:
//!
//! 1. Is the host of the URL allowed? A name must be listed (`example.com`), lie below a listed one (`*.example.com`)
//!    or the list must have `*`. A name that is not allowed is not even looked up. An address written in the URL must be listed
//!    (`127.0.0.1`, `10.0.0.0/8`), or be public and the list have `*`.
//! 2. Is the address allowed that the connection is made to? It must be public, or listed. A listed name does *not* open
//!    the private address that it resolves to: who controls the name would control what is reached. One exception: `localhost`, listed
//!    by that name, may be a loopback address.
//!
//! The second question is asked of the addresses that the name has just resolved to, and the connection is made to one
//! of those, without another look-up: a name that changes its address in between gains nothing. An entry
//! with a port (`example.com:8443`) counts for that port only. What is public is said in [`address`].
//!
//! Redirects are not followed, proxies in the environment are not used, and a URL may have no user name or password.
//!
//! # TLS
//!
//! rustls with ring, HTTP/1.1. A server's certificate is verified against the certificates that the system trusts, since an
//! operator adds the authority of a house there and takes a bad one away; only where the system has none at all, as in
//! slim containers, against the list of Mozilla that is compiled in. It cannot be switched off.

mod address;
mod answer;
mod client;
mod exchange;
pub mod headers;
mod hosts;
mod json;
mod lanes;
mod network;
mod request;
mod secret;
mod sign;
mod target;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use answer::Answer;
pub use client::Client;
pub use hosts::AllowedHosts;
pub use secret::{Secret, check as check_secret};
pub use target::{check as check_url, host_of};

/// Why a URL may not be called, as far as that can be told without looking its host up.
pub fn refusal(url: &str, allowed_hosts: &AllowedHosts) -> Option<String> {
    let target = match target::Target::parse(url) {
        Ok(target) => target,
        Err(fault) => return Some(fault.message),
    };
    let refused = allowed_hosts.check_host(&target.host, target.port);
    refused.err().map(|refusal| refusal.to_string())
}

/// What the operator sets. New settings count for calls submitted from then on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many calls there may be that were submitted and whose answers were not taken yet: see [`Client::room`].
    pub max_in_flight: usize,
    /// How many requests may be under way at one host, whatever the port; at least 1. Others wait in line.
    pub max_per_host: usize,
    /// For looking up the name, connecting and the TLS handshake together.
    pub connect_timeout: Duration,
    /// A longer output fails the call. As many bytes may be held for each call under way.
    pub max_response_bytes: usize,
    pub allowed_hosts: AllowedHosts,
}

/// A request to make: POST, with a JSON body.
#[derive(Debug, Clone)]
pub struct Call {
    /// Comes back with the answer.
    pub id: u64,
    pub url: String,
    /// JSON.
    pub body: String,
    pub headers: Vec<(String, String)>,
    /// For the whole call, from the moment that it need not wait for others at its host.
    pub timeout: Duration,
}
