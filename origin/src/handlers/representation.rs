//! What a resource looks like at this moment: bytes, their validator, and how long they may be kept.
//! RFC 9110 §8.8 and §13.

use super::problem::Problem;
use crate::domain::page::Page;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt::{Display, Write};

pub const NO_STORE: &str = "no-store";

/// What an edge calls a stored answer, so that it can be told which ones are out of date.
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// On an answer to a write: of which stored answers that is so.
const INVALIDATE: HeaderName = HeaderName::from_static("cache-tag-invalidate");

pub struct Representation {
    media_type: &'static str,
    body: Vec<u8>,
    etag: String,
}

impl Representation {
    pub fn json(value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("representations have only text keys");
        Self::of("application/json", body)
    }

    /// A page of a list: what was found, cut to what the page holds, and where the next one begins.
    pub fn page<T: Serialize, C: Display, P: Into<C>>(
        page: &Page<C>,
        mut found: Vec<T>,
        place: impl Fn(&T) -> P,
    ) -> Self {
        let next = page.cut(&mut found, place).map(|cursor| cursor.to_string());
        Self::json(&json!({ "items": found, "next": next }))
    }

    pub fn html(page: String) -> Self {
        Self::of("text/html; charset=utf-8", page.into_bytes())
    }

    pub fn script(script: String) -> Self {
        Self::of("text/javascript; charset=utf-8", script.into_bytes())
    }

    pub fn svg(picture: String) -> Self {
        Self::of("image/svg+xml", picture.into_bytes())
    }

    fn of(media_type: &'static str, body: Vec<u8>) -> Self {
        let etag = strong_etag(&body);
        Self {
            media_type,
            body,
            etag,
        }
    }

    /// The answer to a read. `tags` are what a write names when it has changed this; none for what is not shared.
    pub fn answer(self, cache_control: &'static str, tags: &str) -> Response {
        let shown = self.with_status(StatusCode::OK, cache_control);
        tagged(shown, SURROGATE_KEY, tags)
    }

    /// The answer to a write, which shows what it has led to, and names what else looks different now.
    pub fn written(self, status: StatusCode, invalid: &str) -> Response {
        tagged(self.with_status(status, NO_STORE), INVALIDATE, invalid)
    }

    /// As `written`, of what is at that path from now on.
    pub fn placed(self, path: String, status: StatusCode, invalid: &str) -> Response {
        let mut response = self.written(status, invalid);
        let path = HeaderValue::try_from(path).expect("our paths are words and numbers");
        response.headers_mut().insert(header::LOCATION, path);
        response
    }

    /// What is for one person, at this moment.
    pub fn private(self) -> Response {
        self.with_status(StatusCode::OK, NO_STORE)
    }

    fn with_status(self, status: StatusCode, cache_control: &'static str) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.media_type),
            (header::ETAG, &self.etag),
            (header::CACHE_CONTROL, cache_control),
        ];
        (status, headers, self.body).into_response()
    }

    /// Passes a write whose `If-Match` names these bytes, so that nobody's change is lost unseen.
    pub fn expect_match(&self, request: &HeaderMap, required: bool) -> Result<(), Problem> {
        match names(request, &header::IF_MATCH, &self.etag, Comparison::Strong) {
            Some(true) => Ok(()),
            None if !required => Ok(()),
            Some(false) => Err(changed_meanwhile()),
            None => Err(Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "Send If-Match with the ETag that you have seen.",
            )),
        }
    }
}

/// The answer to a write that leaves nothing to show.
pub fn gone(invalid: &str) -> Response {
    let gone = (StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, NO_STORE)]).into_response();
    tagged(gone, INVALIDATE, invalid)
}

/// The answer to a form: the page that shows what it has led to. RFC 9110 §15.4.4.
pub fn see(page: &'static str, invalid: &str) -> Response {
    let headers = [(header::LOCATION, page), (header::CACHE_CONTROL, NO_STORE)];
    let response = (StatusCode::SEE_OTHER, headers).into_response();
    tagged(response, INVALIDATE, invalid)
}

fn tagged(mut response: Response, field: HeaderName, tags: &str) -> Response {
    if !tags.is_empty() {
        let tags = HeaderValue::from_str(tags).expect("tags are words and numbers");
        response.headers_mut().insert(field, tags);
    }
    response
}

pub fn changed_meanwhile() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "It has changed since; please look again.",
    )
}

#[derive(Clone, Copy)]
pub enum Comparison {
    Weak,
    Strong,
}

/// Whether a condition lists the validator; `None` without a condition.
pub fn names(request: &HeaderMap, field: &HeaderName, etag: &str, by: Comparison) -> Option<bool> {
    if !request.contains_key(field) {
        return None;
    }
    let lines = request
        .get_all(field)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let mut listed = lines.flat_map(|line| line.split(',')).map(str::trim);
    Some(listed.any(|one| match by {
        Comparison::Weak => one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag,
        Comparison::Strong => one == "*" || one == etag,
    }))
}

/// From the bytes themselves, so that every process gives the same.
fn strong_etag(body: &[u8]) -> String {
    let mut etag = String::from("\"");
    for byte in &Sha256::digest(body)[..12] {
        write!(etag, "{byte:02x}").expect("text can always be appended to");
    }
    etag + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Representation {
        Representation::html("hello".into())
    }

    fn with(field: HeaderName, value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).expect("a header value");
        HeaderMap::from_iter([(field, value)])
    }

    #[test]
    fn a_write_compares_strongly() {
        let passes = |value: &str| {
            page()
                .expect_match(&with(header::IF_MATCH, value), true)
                .is_ok()
        };
        assert!(passes(&page().etag));
        assert!(passes("*"));
        assert!(!passes(&format!("W/{}", page().etag)));
        assert!(page().expect_match(&HeaderMap::new(), true).is_err());
        assert!(page().expect_match(&HeaderMap::new(), false).is_ok());
    }
}
