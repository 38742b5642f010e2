//! Where a call goes: a URL, read so strictly that everything that reads it later sees the same host.

use std::net::{IpAddr, Ipv6Addr};

use hyper::Uri;
use hyper::http::uri::{Authority, Scheme};

use crate::error::quoted;
use crate::model::problem::Fault;

/// A URL that may be called, if its host is allowed.
#[derive(Debug, Clone)]
pub struct Target {
    pub uri: Uri,
    pub host: Host,
    pub port: u16,
    pub secure: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// In lower case, without the dot at the end.
    Name(String),
    Address(IpAddr),
}

const HINT: &str = "A target is http://host[:port]/path or https://…, with a name in ASCII or an address in its usual form.";

/// Whether `url` may be the target of a step; whether its host is allowed is asked at each call.
pub fn check(url: &str) -> Result<(), Fault> {
    Target::parse(url).map(|_| ())
}

/// What the limit per host counts by; None where no call could be made.
pub fn host_of(url: &str) -> Option<String> {
    Target::parse(url)
        .ok()
        .map(|target| target.host.to_string())
}

impl Target {
    pub fn parse(url: &str) -> Result<Self, Fault> {
        // A URL may have a token in it: only the reason is told.
        url.parse()
            .map_err(|error| Fault::new(format!("target is not a URL: {error}"), HINT))
            .and_then(Self::new)
    }

    pub fn new(uri: Uri) -> Result<Self, Fault> {
        let wrong = |why: String| Err(Fault::new(why, HINT));
        let mut parts = uri.into_parts();
        let secure = match &parts.scheme {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) => {
                return wrong(format!(
                    "scheme {} of the target is neither http nor https",
                    quoted(scheme.as_str())
                ));
            }
            None => {
                // The host is no secret.
                let host = parts.authority.as_ref().map(Authority::host);
                return wrong(match host {
                    Some(host) => format!("target {} has no scheme", quoted(host)),
                    None => "target has no scheme".to_owned(),
                });
            }
        };
        let Some(authority) = parts.authority else {
            return wrong("target has no host".to_owned());
        };
        if authority.as_str().contains('@') {
            return wrong(format!(
                "target at host {} has a user name or a password",
                quoted(authority.host())
            ));
        }
        let Some(host) = Host::parse(authority.host()) else {
            return wrong(format!(
                "{} is not the name or the address of a host",
                quoted(authority.host())
            ));
        };
        let port = match authority.port_u16() {
            Some(port) if port > 0 => port,
            None if !authority.as_str()[authority.host().len()..].contains(':') => {
                if secure {
                    443
                } else {
                    80
                }
            }
            _ => return wrong("port of the target is not a number from 1 to 65535".to_owned()),
        };
        // One spelling for all, so that connections are kept by it and certificates checked by it.
        let spelt = match authority.port_u16() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let (Ok(authority), scheme) = (spelt.parse::<Authority>(), parts.scheme.take()) else {
            return wrong(format!(
                "{} is not the name or the address of a host",
                quoted(&spelt)
            ));
        };
        parts.scheme = scheme;
        parts.authority = Some(authority);
        match Uri::from_parts(parts) {
            Ok(uri) => Ok(Self {
                uri,
                host,
                port,
                secure,
            }),
            Err(error) => wrong(format!("target is not a URL: {error}")),
        }
    }
}

impl Host {
    /// Reads a name or an address, an IPv6 address with or without brackets. What others would read as an
    /// IPv4 address in an odd form (`127.1`, `0x7f.1`, `2130706433`) is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let inner = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(inner) = inner {
            return inner
                .parse::<Ipv6Addr>()
                .ok()
                .map(|address| Self::Address(address.into()));
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let last = name.rsplit('.').next().unwrap_or_default();
        let number = last.bytes().all(|byte| byte.is_ascii_digit())
            || last
                .strip_prefix("0x")
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        (name.len() <= 253 && !number && name.split('.').all(label)).then_some(Self::Name(name))
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (url, host, port, uri) in [
            (
                "http://example.com",
                "example.com",
                80,
                "http://example.com/",
            ),
            (
                "https://example.com/a?b=c",
                "example.com",
                443,
                "https://example.com/a?b=c",
            ),
            (
                "HTTPS://EXAMPLE.com:8443/A",
                "example.com",
                8443,
                "https://example.com:8443/A",
            ),
            (
                "https://example.com./",
                "example.com",
                443,
                "https://example.com/",
            ),
            (
                "https://example.com/a#b",
                "example.com",
                443,
                "https://example.com/a",
            ),
            (
                "http://my_service:3000/x",
                "my_service",
                3000,
                "http://my_service:3000/x",
            ),
            (
                "http://127.0.0.1:8080/",
                "127.0.0.1",
                8080,
                "http://127.0.0.1:8080/",
            ),
            ("http://[::1]:8080/", "[::1]", 8080, "http://[::1]:8080/"),
            ("http://[0:0:0:0:0:0:0:1]/", "[::1]", 80, "http://[::1]/"),
            (
                "http://0x7f.example/",
                "0x7f.example",
                80,
                "http://0x7f.example/",
            ),
            (
                "http://example.com/@x",
                "example.com",
                80,
                "http://example.com/@x",
            ),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.host.to_string(), host, "{url}");
            assert_eq!(target.port, port, "{url}");
            assert_eq!(target.uri.to_string(), uri, "{url}");
            assert_eq!(
                target.secure,
                url.to_ascii_lowercase().starts_with("https"),
                "{url}"
            );
            assert_eq!(host_of(url).as_deref(), Some(host));
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "",
            "/path",
            "*",
            "example.com",
            "example.com:80",
            "//example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "unix:/tmp/x",
            "gopher://127.0.0.1:11211/_stats",
            "javascript:alert(1)",
            "http://",
            "http:///path",
            "http://:80/",
            "http://user@example.com/",
            "http://user:word@example.com/",
            "http://example.com:80@10.0.0.1/",
            "http://example.com:0/",
            "http://example.com:65536/",
            "http://example.com:/",
            "http://example.com:x/",
            "http://exa mple.com/",
            "http://example.com/a b",
            "http://example.com/\r\nx: y",
            "http://exa\0mple.com/",
            "http://bücher.example/",
            "http://example。com/",
            "http://ex%61mple.com/",
            "http://127.0.0.1%2f.example.com/",
            "http://example.com\\@10.0.0.1/",
            "http://a..b/",
            "http://.example.com/",
            "http://example.com../",
            // IPv4 in forms that only some read as such.
            "http://127.1/",
            "http://127.0.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.1/",
            "http://0x7f.0x0.0x0.0x1/",
            "http://0X7F.1/",
            "http://0x/",
            "http://0177.0.0.1/",
            "http://0177.0.0.01/",
            "http://127.0.0.1./",
            "http://127.0.0.01/",
            "http://127.0.0.256/",
            "http://1.2.3.4.5/",
            "http://１２７.0.0.1/",
            // IPv6 with more than an address.
            "http://[::1%25eth0]/",
            "http://[fe80::1%eth0]/",
            "http://[v1.x]/",
            "http://[127.0.0.1]/",
            "http://[::1/",
            "http://::1/",
        ] {
            let fault = Target::parse(url).map(|target| target.uri).unwrap_err();
            assert!(fault.message.len() < 200, "{url}");
            assert_eq!(host_of(url), None);
        }
    }

    #[test]
    fn faults_do_not_tell_passwords() {
        let fault = check("http://user:word@example.com/").unwrap_err();
        assert_eq!(
            fault.message,
            "target at host \"example.com\" has a user name or a password"
        );
        let fault = check("http://example.com/a b?token=word").unwrap_err();
        assert!(!fault.message.contains("word"), "{}", fault.message);
    }
}
