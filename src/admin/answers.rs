//! What the admin listener answers: text, JSON, and problems (RFC 9457).

use super::pages;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;
use std::borrow::Borrow;

pub type Answer = Response<Vec<u8>>;

/// For people too: `lakh upstreams` and the like print it as it is.
pub fn page(value: &Value) -> Answer {
    let page = format!("{value:#}\n");
    answer(StatusCode::OK, "application/json", page.into_bytes())
}

pub fn json(value: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(value).expect("numbers and text");
    answer(StatusCode::OK, "application/json", body)
}

pub fn text(status: StatusCode, body: &str) -> Answer {
    let body = body.as_bytes().to_vec();
    answer(status, "text/plain; charset=utf-8", body)
}

/// `slug` is the last part of `type`; it never changes once released.
pub fn problem(status: StatusCode, slug: &str, detail: &str) -> Answer {
    let problem = serde_json::json!({
        "type": format!("urn:lakh:problem:{slug}"),
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    let body = format!("{problem}\n").into_bytes();
    answer(status, "application/problem+json", body)
}

/// What there is not, or not with this method.
pub fn not_so(path: &str) -> Answer {
    let Some(allowed) = pages::allowed(path) else {
        let detail = "GET /api/v1 says which pages and orders there are.";
        return problem(StatusCode::NOT_FOUND, "no-such-page", detail);
    };
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut answer = problem(status, "method", &format!("Here it is {allowed}."));
    let allowed = HeaderValue::from_static(allowed);
    answer.headers_mut().insert(ALLOW, allowed);
    answer
}

/// What was asked for makes no sense here.
pub fn refused(why: &str) -> Answer {
    problem(StatusCode::BAD_REQUEST, "order-refused", why)
}

/// What an order names, and is not there.
pub fn unknown(noun: &str, name: &str, known: &[impl Borrow<str>]) -> String {
    match known {
        [] => format!("no {noun} is named `{name}`: there is none at all"),
        known => format!(
            "no {noun} is named `{name}`; there are {}",
            known.join(", ")
        ),
    }
}

/// A defect of ours.
pub fn failed() -> Answer {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    let detail = "It broke down; the log says where. It should not: please report that.";
    problem(status, "internal", detail)
}

pub fn unauthorized() -> Answer {
    let detail = "Send the admin token: Authorization: Bearer …";
    let mut answer = problem(StatusCode::UNAUTHORIZED, "credentials-missing", detail);
    let bearer = HeaderValue::from_static("Bearer");
    answer.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    answer
}

pub fn answer(status: StatusCode, content_type: &str, body: Vec<u8>) -> Answer {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CONTENT_LENGTH, body.len())
        .body(body)
        .expect("fields written here are valid")
}

/// The whole of it as bytes, for a connection that Pingora has no part in and that ends with it.
pub fn to_http1(answer: &Answer) -> Vec<u8> {
    let status = answer.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut bytes = format!(
        "HTTP/1.1 {} {reason}\r\nconnection: close\r\n",
        status.as_u16()
    )
    .into_bytes();
    for (name, value) in answer.headers() {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
    bytes.extend(answer.body());
    bytes
}
