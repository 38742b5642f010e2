//! Who a request is from: its token, checked, as the role and the claims that it has in the database.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::keys::Keys;

/// Who asks. Two with the same role and claims see the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    pub role: String,
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
        let expires_at = UNIX_EPOCH + Duration::from_secs(self.expires_at?);
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
            return self.anonymous();
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
            Some(Value::String(role)) if !role.is_empty() => role.clone(),
            Some(_) => return Err(Failure::token("the claim role of the token is not a name")),
        };
        Ok(Caller {
            role,
            expires_at: end_of(&claims),
            claims: Value::Object(claims).to_string(),
            is_anonymous: false,
        })
    }

    /// Who has this, which on a WebSocket may be an API key that is no token: such a key says nothing about who has it.
    pub async fn bearer_or_key(&self, token: Option<&str>) -> Result<Caller, Failure> {
        match token {
            Some(token) if token.matches('.').count() == 2 => self.bearer(token).await,
            _ => self.anonymous(),
        }
    }

    fn anonymous(&self) -> Result<Caller, Failure> {
        let role = self
            .anon_role
            .clone()
            .ok_or_else(|| Failure::token("a token is needed"))?;
        Ok(Caller {
            role,
            claims: String::new(),
            is_anonymous: true,
            expires_at: None,
        })
    }
}

fn end_of(claims: &Map<String, Value>) -> Option<u64> {
    let end = claims.get("exp")?;
    end.as_u64()
        .or_else(|| end.as_f64().map(|seconds| seconds as u64))
}
