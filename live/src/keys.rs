//! The keys that tokens are signed with: a shared secret, a JWK set, or both.
//!
//! Each key is used for its own kind of signature only, whatever the header of a token says: a public key never serves as
//! a shared secret.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};
use tokio::sync::Mutex;

use crate::failure::Failure;
use crate::options::Options;

/// How long a key set that was read is believed.
const KEPT: Duration = Duration::from_secs(600);
/// How often a set is read at most, whatever keys tokens name.
const PAUSE: Duration = Duration::from_secs(30);
/// How many seconds the clocks of who signs and of this machine may differ.
const LEEWAY_SECONDS: u64 = 10;

const SHARED: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// The keys.
pub struct Keys {
    secret: Option<DecodingKey>,
    set: RwLock<Arc<JwkSet>>,
    publisher: Option<Publisher>,
    audience: Option<String>,
}

/// Who publishes a key set, and when it was asked last.
struct Publisher {
    url: String,
    client: reqwest::Client,
    asked: Mutex<Option<Instant>>,
}

impl Keys {
    /// Takes the keys that the options name, and reads the set.
    pub async fn new(options: &Options) -> Result<Self, AnyError> {
        let secret = options.jwt_secret.as_deref();
        if secret.is_some_and(|secret| secret.len() < 32) {
            return Err("the secret of tokens must have at least 32 bytes".into());
        }
        let mut keys = Self {
            secret: secret
                .map(|secret| DecodingKey::from_secret(secret.as_bytes()))
                .transpose()?,
            set: RwLock::new(Arc::new(JwkSet { keys: Vec::new() })),
            publisher: None,
            audience: options.jwt_audience.clone(),
        };
        match options.jwks.as_deref() {
            None => {}
            Some(url) if url.starts_with("https://") || url.starts_with("http://") => {
                let client = reqwest::Client::builder()
                    .timeout(Duration::from_secs(10))
                    .redirect(reqwest::redirect::Policy::none())
                    .build()?;
                keys.publisher = Some(Publisher {
                    url: url.to_owned(),
                    client,
                    asked: Mutex::new(None),
                });
                keys.refresh(Duration::ZERO, true).await?;
            }
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| format!("cannot read {file}: {error}"))?;
                keys.put(
                    serde_json::from_str(&text)
                        .map_err(|error| format!("{file} is no JWK set: {error}"))?,
                );
            }
        }
        Ok(keys)
    }

    /// The claims of a token whose signature is good and whose time has come and not run out.
    ///
    /// # Errors
    ///
    /// 401, with what is wrong with it.
    pub async fn verify(&self, token: &str) -> Result<Map<String, Value>, Failure> {
        let header = decode_header(token)
            .map_err(|error| Failure::token(format!("the token is malformed: {error}")))?;
        if SHARED.contains(&header.alg) {
            let secret = self.secret.as_ref().ok_or_else(|| unknown(&header))?;
            return self.check(token, secret, &SHARED);
        }
        // A known key need not wait for who reads the set just now.
        let mut key = self.find(&header);
        if key.is_none() || self.is_old() {
            let age = if key.is_none() { PAUSE } else { KEPT };
            if let Err(error) = self.refresh(age, key.is_none()).await {
                tracing::warn!("cannot read the key set: {error}");
            }
            key = self.find(&header);
        }
        let key = key.ok_or_else(|| unknown(&header))?;
        let decoding = DecodingKey::from_jwk(&key).map_err(|error| {
            Failure::token(format!("the key of the token cannot be used: {error}"))
        })?;
        self.check(token, &decoding, &[header.alg])
    }

    fn check(
        &self,
        token: &str,
        key: &DecodingKey,
        algorithms: &[Algorithm],
    ) -> Result<Map<String, Value>, Failure> {
        let mut validation = Validation::new(algorithms[0]);
        validation.algorithms = algorithms.to_vec();
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.required_spec_claims.clear();
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                validation.required_spec_claims.insert("aud".to_owned());
            }
            None => validation.validate_aud = false,
        }
        let token = decode::<Map<String, Value>>(token, key, &validation)
            .map_err(|error| Failure::token(format!("the token is not good: {error}")))?;
        // A time that is no number is not "none".
        for claim in ["exp", "nbf"] {
            if token
                .claims
                .get(claim)
                .is_some_and(|time| !time.is_number())
            {
                return Err(Failure::token(format!(
                    "the claim {claim} of the token is not a number"
                )));
            }
        }
        Ok(token.claims)
    }

    /// The key that a header names; without a name the only one of its kind.
    fn find(&self, header: &Header) -> Option<Jwk> {
        let set = self.current();
        let mut fitting = set.keys.iter().filter(|key| signs_with(key, header.alg));
        match &header.kid {
            Some(id) => fitting
                .find(|key| key.common.key_id.as_ref() == Some(id))
                .cloned(),
            None => fitting.next().cloned().filter(|_| fitting.next().is_none()),
        }
    }

    fn current(&self) -> Arc<JwkSet> {
        match self.set.read() {
            Ok(set) => Arc::clone(&set),
            Err(poisoned) => Arc::clone(&poisoned.into_inner()),
        }
    }

    fn put(&self, set: JwkSet) {
        match self.set.write() {
            Ok(mut current) => *current = Arc::new(set),
            Err(poisoned) => *poisoned.into_inner() = Arc::new(set),
        }
    }

    /// Whether the published set was asked for so long ago that it is time again, and nobody asks just now.
    fn is_old(&self) -> bool {
        let asked = self
            .publisher
            .as_ref()
            .and_then(|publisher| publisher.asked.try_lock().ok());
        asked.is_some_and(|asked| asked.is_none_or(|asked| asked.elapsed() >= KEPT))
    }

    /// Reads the published set unless that was done less than so long ago. Whoever comes meanwhile waits, if it has to,
    /// and finds the new set.
    async fn refresh(&self, age: Duration, waits: bool) -> Result<(), AnyError> {
        let Some(publisher) = &self.publisher else {
            return Ok(());
        };
        let mut asked = if waits {
            publisher.asked.lock().await
        } else if let Ok(asked) = publisher.asked.try_lock() {
            asked
        } else {
            return Ok(());
        };
        if asked.is_some_and(|asked| asked.elapsed() < age) {
            return Ok(());
        }
        let read = publisher.read().await;
        // Only now: a request that was given up meanwhile has not asked.
        *asked = Some(Instant::now());
        self.put(read?);
        Ok(())
    }
}

impl Publisher {
    async fn read(&self) -> Result<JwkSet, AnyError> {
        let response = self
            .client
            .get(&self.url)
            .send()
            .await?
            .error_for_status()?;
        let body = response.bytes().await?;
        let set = serde_json::from_slice(&body);
        Ok(set.map_err(|error| format!("{} is no JWK set: {error}", self.url))?)
    }
}

/// Whether signatures of this kind are made with the key.
fn signs_with(key: &Jwk, algorithm: Algorithm) -> bool {
    if key
        .common
        .key_algorithm
        .is_some_and(|named| named.to_string() != format!("{algorithm:?}"))
    {
        return false;
    }
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => matches!(
            algorithm,
            Algorithm::RS256
                | Algorithm::RS384
                | Algorithm::RS512
                | Algorithm::PS256
                | Algorithm::PS384
                | Algorithm::PS512
        ),
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => algorithm == Algorithm::ES256,
            EllipticCurve::P384 => algorithm == Algorithm::ES384,
            _ => false,
        },
        AlgorithmParameters::OctetKeyPair(_) => algorithm == Algorithm::EdDSA,
        // Not those with a secret either: in a set that may be public it is none.
        _ => false,
    }
}

fn unknown(header: &Header) -> Failure {
    let id = header
        .kid
        .as_deref()
        .map(|id| format!(" {id:?}"))
        .unwrap_or_default();
    Failure::token(format!(
        "the token is signed with a key{id} that is not known here ({:?})",
        header.alg
    ))
}

#[cfg(test)]
mod tests;
