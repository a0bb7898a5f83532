//! Each request has a name: the edge's, or one made here. Its answer, its problem document and every
//! log line that it causes carry it. And each is counted by its route, never by what a client chose.

use super::metrics::Metrics;
use crate::app::App;
use crate::domain::random::hex;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::{middleware::Next, response::Response};
use std::{sync::Arc, time::Instant};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! { static ID: String }

/// Of the request that is being answered here; None beside the requests.
pub fn id() -> Option<String> {
    ID.try_with(String::clone).ok()
}

pub async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = given(&request).unwrap_or_else(hex::<8>);
    let method = Metrics::method(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = ID.scope(id.clone(), next.run(request)).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let status = response.status();
    app.metrics
        .answered(route, method, status.as_u16(), start.elapsed());
    let id = HeaderValue::from_str(&id).expect("identifiers are visible ASCII");
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// What nobody could have meant as an identifier is not passed on into logs.
fn given(request: &Request) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    ((1..=128).contains(&id.len()) && id.bytes().all(plain)).then(|| id.to_owned())
}
