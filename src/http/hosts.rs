//! `pgflow.http_allowed_hosts`: which hosts may be called. The rules stand in the module above.

use std::net::IpAddr;

use ipnet::IpNet;
use thiserror::Error;

use super::address::is_public;
use super::target::Host;
use crate::error::quoted;

/// A list of hosts, empty at first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    pattern: Pattern,
    /// None: any.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// `*`
    Any,
    /// `example.com`
    Name(String),
    /// `*.example.com`, kept as `.example.com`
    Below(String),
    /// `10.0.0.0/8`; one address is a range as well
    Range(IpNet),
}

/// Why a call is not made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Refusal(String);

impl AllowedHosts {
    /// Reads a comma-separated list; the error says which entry is wrong and why.
    pub fn parse(list: &str) -> Result<Self, String> {
        if list.trim().is_empty() {
            return Ok(Self::default());
        }
        let entries: Result<_, _> = list
            .split(',')
            .map(|text| Entry::parse(text.trim()))
            .collect();
        entries.map(|entries| Self { entries })
    }

    /// Asked before a name is looked up.
    pub fn check_host(&self, host: &Host, port: u16) -> Result<(), Refusal> {
        let name = match host {
            Host::Address(address) => return self.check_address(host, *address, port),
            Host::Name(name) => name,
        };
        if self.at(port).any(|pattern| pattern.has_name(name)) {
            return Ok(());
        }
        Err(Refusal(format!(
            "host {} with port {port} is not in pgflow.http_allowed_hosts",
            quoted(name)
        )))
    }

    /// Asked, once [`check_host`](Self::check_host) agreed, of an address that a connection is about to be made to.
    pub fn check_address(&self, host: &Host, address: IpAddr, port: u16) -> Result<(), Refusal> {
        // What the kernel would connect to.
        let address = address.to_canonical();
        let public = is_public(address);
        let opened = match host {
            Host::Name(name) => {
                let local = address.is_loopback() && name == "localhost";
                public || local && self.at(port).any(|pattern| pattern.is_name(name))
            }
            Host::Address(_) => public && self.at(port).any(|pattern| *pattern == Pattern::Any),
        };
        if opened || self.at(port).any(|pattern| pattern.has_address(address)) {
            return Ok(());
        }
        Err(Refusal(match host {
            Host::Address(_) => {
                format!("address {address} with port {port} is not in pgflow.http_allowed_hosts")
            }
            Host::Name(name) => format!(
                "address {address} of host {} is not public and not in pgflow.http_allowed_hosts",
                quoted(name)
            ),
        }))
    }

    /// The patterns that count for a port.
    fn at(&self, port: u16) -> impl Iterator<Item = &Pattern> {
        self.entries
            .iter()
            .filter(move |entry| entry.port.is_none_or(|only| only == port))
            .map(|entry| &entry.pattern)
    }
}

impl Pattern {
    fn has_name(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Name(_) => self.is_name(name),
            Self::Below(end) => name.len() > end.len() && name.ends_with(end.as_str()),
            Self::Range(_) => false,
        }
    }

    /// Listed as such, not as one of many.
    fn is_name(&self, name: &str) -> bool {
        matches!(self, Self::Name(listed) if listed == name)
    }

    fn has_address(&self, address: IpAddr) -> bool {
        matches!(self, Self::Range(range) if range.contains(&address))
    }
}

impl Entry {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{} {why}", quoted(text)));
        if text.is_empty() {
            return Err("an entry is empty".to_owned());
        }
        if let Some(range) = range(text) {
            return Ok(Self {
                pattern: Pattern::Range(range),
                port: None,
            });
        }
        if text.contains('/') {
            return wrong(
                "is not a range of addresses, and a host is listed without scheme and path",
            );
        }
        let (host, port) = match text.rsplit_once(':') {
            None => (text, None),
            Some((host, port)) => match port.parse::<u16>() {
                Ok(port) if port > 0 && port.to_string() == text[host.len() + 1..] => {
                    (host, Some(port))
                }
                _ => return wrong("has a port that is not a number from 1 to 65535"),
            },
        };
        let pattern = if host == "*" {
            Pattern::Any
        } else if let Some(end) = host.strip_prefix("*.") {
            match Host::parse(end) {
                Some(Host::Name(end)) => Pattern::Below(format!(".{end}")),
                _ => return wrong("has no name of a host after \"*.\""),
            }
        } else {
            match Host::parse(host) {
                Some(Host::Name(name)) => Pattern::Name(name),
                Some(Host::Address(address)) => Pattern::Range(address.into()),
                None => return wrong("is not a host, an address or a range of addresses"),
            }
        };
        Ok(Self { pattern, port })
    }
}

/// An address or a range of addresses.
fn range(text: &str) -> Option<IpNet> {
    let range = match text.parse::<IpAddr>() {
        Ok(address) => return Some(address.to_canonical().into()),
        Err(_) => text.parse::<IpNet>().ok()?,
    };
    // Addresses are compared in their canonical form, so that ranges must have it too.
    match range.addr().to_canonical() {
        address if address.is_ipv4() == range.addr().is_ipv4() => Some(range),
        address => IpNet::new(address, range.prefix_len().checked_sub(96)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> AllowedHosts {
        AllowedHosts::parse(text).unwrap()
    }

    fn name(text: &str) -> Host {
        match Host::parse(text) {
            Some(host @ Host::Name(_)) => host,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn names_are_allowed_by_name() {
        for (hosts, host, port, allowed) in [
            ("", "example.com", 443, false),
            ("  ", "example.com", 443, false),
            ("*", "example.com", 443, true),
            ("*:443", "example.com", 443, true),
            ("*:443", "example.com", 8443, false),
            ("example.com", "example.com", 1, true),
            ("Example.COM", "exAMple.com", 1, true),
            ("example.com.", "example.com", 1, true),
            ("example.com", "a.example.com", 1, false),
            ("example.com", "badexample.com", 1, false),
            ("example.com", "example.com.evil.org", 1, false),
            ("*.example.com", "example.com", 1, false),
            ("*.example.com", "a.example.com", 1, true),
            ("*.example.com", "a.b.example.com", 1, true),
            ("*.example.com", "badexample.com", 1, false),
            ("a.org, example.com:8443", "example.com", 8443, true),
            ("a.org, example.com:8443", "example.com", 443, false),
            // Ranges open addresses, not names.
            ("0.0.0.0/0, ::/0", "example.com", 443, false),
        ] {
            let checked = list(hosts).check_host(&name(host), port);
            assert_eq!(checked.is_ok(), allowed, "{hosts:?} {host:?}:{port}");
        }
    }

    #[test]
    fn addresses_in_urls_are_listed_or_public() {
        for (hosts, address, port, allowed) in [
            ("", "8.8.8.8", 443, false),
            ("*", "8.8.8.8", 443, true),
            ("*:443", "8.8.8.8", 80, false),
            ("*", "10.0.0.1", 443, false),
            ("*", "127.0.0.1", 443, false),
            ("*", "::1", 443, false),
            ("*, localhost", "127.0.0.1", 443, false),
            ("8.8.8.8", "8.8.8.8", 443, true),
            ("8.8.8.8", "8.8.4.4", 443, false),
            ("127.0.0.1", "127.0.0.1", 443, true),
            ("127.0.0.1", "::ffff:127.0.0.1", 443, true),
            ("::ffff:127.0.0.1", "127.0.0.1", 443, true),
            ("::ffff:127.0.0.0/104", "127.1.0.1", 443, true),
            ("127.0.0.1", "127.0.0.2", 443, false),
            ("127.0.0.1:80", "127.0.0.1", 443, false),
            ("[::1]:443", "::1", 443, true),
            ("[::1]:443", "::1", 444, false),
            ("::1", "::1", 444, true),
            ("10.0.0.0/8", "10.9.8.7", 1, true),
            ("10.1.2.3/8", "10.9.8.7", 1, true),
            ("10.0.0.0/8", "11.0.0.0", 1, false),
            ("fd00::/8", "fd00:ec2::254", 1, true),
            ("0.0.0.0/0", "169.254.169.254", 1, true),
            ("0.0.0.0/0", "::1", 1, false),
        ] {
            let host = Host::Address(address.parse().unwrap());
            let checked = list(hosts).check_host(&host, port);
            assert_eq!(checked.is_ok(), allowed, "{hosts:?} {address:?}:{port}");
        }
    }

    #[test]
    fn names_do_not_open_private_addresses() {
        for (hosts, host, address, allowed) in [
            ("*", "example.com", "8.8.8.8", true),
            ("*", "example.com", "10.0.0.1", false),
            ("example.com", "example.com", "10.0.0.1", false),
            ("example.com", "example.com", "::ffff:10.0.0.1", false),
            ("example.com", "example.com", "64:ff9b::10.0.0.1", false),
            ("*.example.com", "a.example.com", "127.0.0.1", false),
            ("example.com, 10.0.0.0/8", "example.com", "10.0.0.1", true),
            ("example.com, 10.0.0.0/8", "example.com", "127.0.0.1", false),
            ("example.com, 10.0.0.1:80", "example.com", "10.0.0.1", false),
            ("*", "localhost", "127.0.0.1", false),
            ("localhost", "localhost", "127.0.0.1", true),
            ("localhost", "localhost", "::1", true),
            ("localhost:80", "localhost", "::1", false),
            ("localhost", "localhost", "10.0.0.1", false),
            ("*.localhost", "a.localhost", "127.0.0.1", false),
            ("a.localhost", "a.localhost", "127.0.0.1", false),
        ] {
            let checked = list(hosts).check_address(&name(host), address.parse().unwrap(), 443);
            assert_eq!(checked.is_ok(), allowed, "{hosts:?} {host:?} {address}");
        }
    }

    #[test]
    fn refusals_name_the_setting() {
        let hosts = list("*");
        let local = "127.0.0.1".parse().unwrap();
        for refusal in [
            list("").check_host(&name("example.com"), 80),
            hosts.check_host(&Host::Address(local), 80),
            hosts.check_address(&name("example.com"), local, 80),
        ] {
            let message = refusal.unwrap_err().to_string();
            assert!(message.contains("pgflow.http_allowed_hosts"), "{message}");
        }
    }

    #[test]
    fn wrong_entries_are_quoted() {
        for (text, quoted) in [
            ("a.org,,b.org", "empty"),
            ("a.org,", "empty"),
            ("https://example.com", "\"https://example.com\""),
            ("example.com/path", "\"example.com/path\""),
            ("10.0.0.0/33", "\"10.0.0.0/33\""),
            ("10.0.0/8", "\"10.0.0/8\""),
            ("example.com:0", "\"example.com:0\""),
            ("example.com:+1", "\"example.com:+1\""),
            ("example.com:65536", "\"example.com:65536\""),
            ("example.com:", "\"example.com:\""),
            ("::1:80:x", "\"::1:80:x\""),
            ("a*.example.com", "\"a*.example.com\""),
            ("*.", "\"*.\""),
            ("*.1.2.3.4", "\"*.1.2.3.4\""),
            ("*.*.com", "\"*.*.com\""),
            ("127.1", "\"127.1\""),
            ("0x7f.1", "\"0x7f.1\""),
            ("user@example.com", "\"user@example.com\""),
            ("a b", "\"a b\""),
            ("bücher.example", "\"bücher.example\""),
        ] {
            let message = AllowedHosts::parse(text).unwrap_err();
            assert!(message.contains(quoted), "{text}: {message}");
        }
    }
}
