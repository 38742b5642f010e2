//! The page: files that are part of the program.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Nothing but what is served here, and nothing that was written into the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; \
                      form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

macro_rules! files {
    ($($name:literal: $kind:literal),* $(,)?) => {
        &[$(($name, $kind, include_str!(concat!("../page/", $name)))),*]
    };
}

const FILES: &[(&str, &str, &str)] = files! {
    "actions.js": "text/javascript; charset=utf-8",
    "address.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "connection.js": "text/javascript; charset=utf-8",
    "dom.js": "text/javascript; charset=utf-8",
    "events.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "index.html": "text/html; charset=utf-8",
    "json.js": "text/javascript; charset=utf-8",
    "main.js": "text/javascript; charset=utf-8",
    "picture.js": "text/javascript; charset=utf-8",
    "refusal.js": "text/javascript; charset=utf-8",
    "run.js": "text/javascript; charset=utf-8",
    "runs.js": "text/javascript; charset=utf-8",
    "session.js": "text/javascript; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
    "step.js": "text/javascript; charset=utf-8",
    "steps.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "words.js": "text/javascript; charset=utf-8",
};

pub async fn index() -> Response {
    file("index.html")
}

pub async fn asset(Path(name): Path<String>) -> Response {
    file(&name)
}

fn file(name: &str) -> Response {
    let Some((_, kind, text)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, *text).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/page"))
            .into_iter()
            .flatten();
        let names: BTreeSet<String> = folder
            .flatten()
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .collect();
        let served: BTreeSet<String> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(names, served);
    }
}
