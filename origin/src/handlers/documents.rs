//! What this application can be asked, for programs (OpenAPI 3.1) and for people, who can try it on a page.
//! The document is written by hand; the tests hold every answer they see against it.

use super::representation::Representation;
use crate::app::App;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::Value;
use std::sync::{Arc, LazyLock};

const CACHE: &str = "public, max-age=300";
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; \
    style-src 'unsafe-inline'; img-src 'self'";

static OPENAPI: LazyLock<Value> = LazyLock::new(|| {
    serde_saphyr::from_str(include_str!("docs/openapi.yaml")).expect("it is read by a test")
});

pub async fn openapi() -> Response {
    Representation::json(&*OPENAPI).answer(CACHE, "")
}

/// By which others check our tokens. RFC 7517.
pub async fn keys(State(app): State<Arc<App>>) -> Response {
    Representation::json(app.tokens.published()).answer(CACHE, "")
}

pub async fn page() -> Response {
    let page = Representation::html(include_str!("docs/page.html").into());
    let mut response = page.answer(CACHE, "");
    let policy = HeaderValue::from_static(CONTENT_POLICY);
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

pub async fn script() -> Response {
    Representation::script(include_str!("docs/page.js").into()).answer(CACHE, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The routes as they are written in `routes.rs`, for axum doesn't tell them.
    fn routed() -> Vec<&'static str> {
        let source = include_str!("../routes.rs");
        let after_call = source.split(".route(").skip(1);
        let quoted = after_call.filter_map(|rest| rest.split('"').nth(1));
        let mut paths: Vec<_> = quoted.collect();
        paths.sort_unstable();
        paths
    }

    #[test]
    fn every_route_is_documented_and_nothing_else() {
        let paths = OPENAPI["paths"].as_object().expect("paths");
        let mut documented: Vec<_> = paths.keys().map(String::as_str).collect();
        documented.sort_unstable();
        assert_eq!(documented, routed());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = OPENAPI.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().expect("the quote's end");
            assert!(OPENAPI.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
