//! The secrets that requests are signed with, in the form of Standard Webhooks: `whsec_` and 24 to 64 bytes as base64.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use ring::hmac;

use crate::model::problem::Fault;

const PREFIX: &str = "whsec_";
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;
const HINT: &str = "A secret is \"whsec_\" followed by 24 to 64 random bytes in base64.";

/// Those who write `=` at the end and those who do not are both understood.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Shown to nobody, in no message.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let wrong = |why: &str| Fault::new(format!("secret {why}"), HINT);
        let encoded = text
            .strip_prefix(PREFIX)
            .ok_or_else(|| wrong("does not begin with \"whsec_\""))?;
        let key = BASE64
            .decode(encoded)
            .map_err(|_| wrong("is not base64 after \"whsec_\""))?;
        if !LENGTHS.contains(&key.len()) {
            return Err(wrong(&format!("has {} bytes", key.len())));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// HMAC-SHA256 in base64.
    pub fn sign(&self, text: &str) -> String {
        base64::prelude::BASE64_STANDARD.encode(hmac::sign(&self.0, text.as_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Whether `text` can be a secret; the fault does not quote it.
pub fn check(text: &str) -> Result<(), Fault> {
    Secret::parse(text).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_a_form() {
        let of = |bytes: usize| {
            format!(
                "whsec_{}",
                base64::prelude::BASE64_STANDARD.encode(vec![7; bytes])
            )
        };
        for good in [24, 25, 26, 32, 64] {
            assert_eq!(check(&of(good)), Ok(()));
            assert_eq!(check(of(good).trim_end_matches('=')), Ok(()));
        }
        let short = of(23);
        let long = of(65);
        let unnamed = of(24).replace("whsec_", "");
        let spaced = format!("{} ", of(24));
        let url = of(24).replace('B', "-");
        for bad in [
            "", "whsec_", "whsec_!", &short, &long, &unnamed, &spaced, &url,
        ] {
            let fault = check(bad).unwrap_err();
            assert!(!fault.message.contains("BwcH"), "{}", fault.message);
        }
        assert_eq!(check(&short).unwrap_err().message, "secret has 23 bytes");
        assert_eq!(format!("{:?}", Secret::parse(&of(24)).unwrap()), "Secret");
    }
}
