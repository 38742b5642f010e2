//! Who a request is from: its token, checked, as the role and the claims that it has in the database.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::keys::Keys;

/// Who asks. Two with the same role and claims see the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    pub role: String,
    /// The user, if the token names one.
    pub sub: Option<String>,
    /// The claims of the token as JSON, empty without one.
    pub claims: String,
    /// Whether there was no token.
    pub is_anonymous: bool,
    /// When the token ends, in seconds since 1970.
    pub expires_at: Option<u64>,
}

impl Caller {
    /// How long the token is still good; nothing if it has no end.
    pub fn remaining(&self) -> Option<Duration> {
        let expires_at = UNIX_EPOCH.checked_add(Duration::from_secs(self.expires_at?))?;
        Some(
            expires_at
                .duration_since(SystemTime::now())
                .unwrap_or_default(),
        )
    }
}

/// Decides who a token is.
pub struct Doorkeeper {
    pub keys: Keys,
    pub anon_role: Option<String>,
    /// Of which other pages requests without a token are taken.
    pub anon_origins: Vec<String>,
    /// Whether it serves this machine alone.
    pub is_local: bool,
}

impl Doorkeeper {
    /// Who sent these headers.
    ///
    /// # Errors
    ///
    /// 401: the token is none, has run out, or is not signed by a key that is known; or there is none, and nobody may
    /// ask without.
    pub async fn caller_of(&self, headers: &HeaderMap) -> Result<Caller, Failure> {
        let Some(header) = headers.get(AUTHORIZATION) else {
            return self.anonymous(self.is_asked_by_own_page(headers));
        };
        let header = header
            .to_str()
            .map_err(|_| Failure::token("the header Authorization is not text"))?;
        match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.bearer(token.trim()).await
            }
            _ => Err(Failure::token(
                "the header Authorization is not \"Bearer\" and a token",
            )),
        }
    }

    /// Who has this token.
    pub async fn bearer(&self, token: &str) -> Result<Caller, Failure> {
        let claims = self.keys.verify(token).await?;
        let role = match claims.get("role") {
            None => self
                .anon_role
                .clone()
                .ok_or_else(|| Failure::token("the token has no claim role"))?,
            // To take "none" is to stay who has logged in.
            Some(Value::String(role)) if !role.is_empty() && role != "none" => role.clone(),
            Some(_) => return Err(Failure::token("the claim role of the token is not a name")),
        };
        Ok(Caller {
            role,
            sub: claims.get("sub").and_then(Value::as_str).map(str::to_owned),
            expires_at: end_of(&claims),
            claims: Value::Object(claims).to_string(),
            is_anonymous: false,
        })
    }

    /// Who has this, which on a WebSocket may be an API key that is no token: such a key says nothing about who has it.
    pub async fn bearer_or_key(
        &self,
        token: Option<&str>,
        is_own_page: bool,
    ) -> Result<Caller, Failure> {
        match token {
            Some(token) if token.matches('.').count() == 2 => self.bearer(token).await,
            _ => self.anonymous(is_own_page),
        }
    }

    fn anonymous(&self, is_own_page: bool) -> Result<Caller, Failure> {
        let role = self
            .anon_role
            .clone()
            .ok_or_else(|| Failure::token("a token is needed"))?;
        if !is_own_page {
            return Err(Failure::token("a page of another origin needs a token"));
        }
        Ok(Caller {
            role,
            sub: None,
            claims: String::new(),
            is_anonymous: true,
            expires_at: None,
        })
    }

    /// Whether a request is not one that a page of somebody else makes a browser send. Browsers name the page's origin; and
    /// whoever has a name of its own lead to this machine is betrayed by that name.
    pub fn is_asked_by_own_page(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(HOST).unwrap_or_default();
        // A proxy on this machine passes on the name that it is known by: then that origin is to be named.
        let is_named = (self.anon_origins.iter())
            .any(|known| known == "*" || known.split_once("://").is_some_and(|(_, of)| of == host));
        if self.is_local && !is_named && !is_this_machine(host) {
            return false;
        }
        match headers.get(ORIGIN) {
            None => true,
            Some(_) => text(ORIGIN).is_some_and(|origin| {
                origin
                    .split_once("://")
                    .is_some_and(|(_, of)| of.eq_ignore_ascii_case(host))
                    || (self.anon_origins.iter()).any(|known| known == "*" || known == origin)
            }),
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn end_of(claims: &Map<String, Value>) -> Option<u64> {
    let end = claims.get("exp")?;
    end.as_u64()
        .or_else(|| end.as_f64().map(|seconds| seconds as u64))
}
