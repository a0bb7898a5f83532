//! `GET /`: the dashboard, one page with all that it needs. What it shows it asks the admin API for.

use super::answers::{Answer, answer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const STYLE: &str = include_str!("dashboard/style.css");
const SCRIPT: &str = concat!(
    include_str!("dashboard/numbers.js"),
    include_str!("dashboard/views.js"),
    include_str!("dashboard/page.js")
);

static PAGE: LazyLock<String> = LazyLock::new(|| {
    include_str!("dashboard/page.html")
        .replace("/* style */", STYLE)
        .replace("/* script */", SCRIPT)
});

/// Nothing but what is in the page runs in it, and it asks nobody else.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let digest = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest(SCRIPT),
        digest(STYLE)
    );
    HeaderValue::try_from(policy).expect("plain text")
});

/// It tells nothing by itself, so it needs no token; it asks for one where there is one.
pub fn page() -> Answer {
    let page = PAGE.as_bytes().to_vec();
    let mut answer = answer(StatusCode::OK, "text/html; charset=utf-8", page);
    let fields: [(HeaderName, HeaderValue); 4] = [
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    answer.headers_mut().extend(fields);
    answer
}
