//! Signatures by the scheme of Standard Webhooks: who has the secret can tell that a request came from this database,
//! is whole, and is not an old one sent again.

use super::secret::Secret;

/// The three headers; no signature when there is no secret. With several secrets there are several signatures, so that
/// a receiver that knows only the old or only the new one accepts the request.
pub fn headers(
    secrets: &[Secret],
    id: &str,
    unix_seconds: u64,
    body: &str,
) -> Vec<(String, String)> {
    let mut headers = vec![
        ("webhook-id".to_owned(), id.to_owned()),
        ("webhook-timestamp".to_owned(), unix_seconds.to_string()),
    ];
    if !secrets.is_empty() {
        let content = format!("{id}.{unix_seconds}.{body}");
        let signatures: Vec<_> = secrets
            .iter()
            .map(|secret| format!("v1,{}", secret.sign(&content)))
            .collect();
        headers.push(("webhook-signature".to_owned(), signatures.join(" ")));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"test": 2432232314}"#;

    fn signature(secrets: &[&str], body: &str) -> Option<String> {
        let secrets: Vec<_> = secrets
            .iter()
            .map(|text| Secret::parse(text).unwrap())
            .collect();
        headers(
            &secrets,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            body,
        )
        .into_iter()
        .find(|(name, _)| name == "webhook-signature")
        .map(|(_, value)| value)
    }

    /// The vector of the reference implementations; Python's hmac agrees.
    #[test]
    fn the_known_vector() {
        const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        const NEW: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";
        let old = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature(&[OLD], BODY).as_deref(), Some(old));
        let both = signature(&[NEW, OLD], BODY).unwrap();
        let (new, second) = both.split_once(' ').unwrap();
        assert_eq!(second, old);
        assert_eq!(new, NEW_SIGNATURE);
        assert_ne!(signature(&[OLD], "{}").as_deref(), Some(old));
        assert_eq!(signature(&[], BODY), None);
    }

    /// By Python's hmac.
    const NEW_SIGNATURE: &str = "v1,n+3FEHUk3SEPes8OkJLzz5oNeY7dNUg973c0p9vd8Jo=";
}
