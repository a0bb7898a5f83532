//! Conditions of reads, whatever is read: what a client has already is not sent again. RFC 9110 §13. Those of
//! writes are looked at where something is written.

use super::representation::{Comparison, changed_meanwhile, names};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

pub async fn judge(request: Request, next: Next) -> Response {
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    let conditions = match reads {
        true => conditions_of(request.headers()),
        false => HeaderMap::new(),
    };
    let answer = next.run(request).await;
    match conditions.is_empty() {
        true => answer,
        false => judged(answer, &conditions),
    }
}

fn conditions_of(request: &HeaderMap) -> HeaderMap {
    let mut conditions = HeaderMap::new();
    for field in [header::IF_MATCH, header::IF_NONE_MATCH] {
        for value in request.get_all(&field) {
            conditions.append(field.clone(), value.clone());
        }
    }
    conditions
}

/// In the order of §13.2.2. What has no validator has met none.
fn judged(mut answer: Response, conditions: &HeaderMap) -> Response {
    let etag = answer.headers().get(header::ETAG).cloned();
    let etag = etag.as_ref().and_then(|etag| etag.to_str().ok());
    let Some(etag) = etag.filter(|_| answer.status() == StatusCode::OK) else {
        return answer;
    };
    let (held, has) = (header::IF_MATCH, header::IF_NONE_MATCH);
    if names(conditions, &held, etag, Comparison::Strong) == Some(false) {
        return changed_meanwhile().into_response();
    }
    if names(conditions, &has, etag, Comparison::Weak) == Some(true) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        *answer.body_mut() = Body::empty();
        for field in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
            answer.headers_mut().remove(field);
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn status(field: HeaderName, value: &str) -> StatusCode {
        let value = HeaderValue::from_str(value).expect("a header value");
        let conditions = HeaderMap::from_iter([(field, value)]);
        let answer = ([(header::ETAG, "\"a\"")], "hello").into_response();
        judged(answer, &conditions).status()
    }

    #[test]
    fn what_one_has_is_compared_weakly_and_what_one_holds_on_to_strongly() {
        for condition in ["\"a\"", "\"x\", W/\"a\"", "*"] {
            let found = status(header::IF_NONE_MATCH, condition);
            assert_eq!(found, StatusCode::NOT_MODIFIED, "{condition}");
        }
        assert_eq!(status(header::IF_NONE_MATCH, "\"x\""), StatusCode::OK);
        for (condition, expected) in [
            ("\"a\"", StatusCode::OK),
            ("*", StatusCode::OK),
            ("W/\"a\"", StatusCode::PRECONDITION_FAILED),
            ("\"x\"", StatusCode::PRECONDITION_FAILED),
        ] {
            assert_eq!(status(header::IF_MATCH, condition), expected, "{condition}");
        }
    }
}
