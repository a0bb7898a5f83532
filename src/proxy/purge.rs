//! What takes stored objects back from the side of the traffic: `PURGE` from an address that the
//! route trusts, and an origin that says which tags a write has changed.

use super::answer::Problem;
use super::context::Context;
use super::images::source_target;
use super::reply::Reply;
use super::request::Request;
use super::way::{Way, find_route};
use super::{Edge, headers};
use crate::cache::{Force, Name, Url, tags_in};
use crate::runtime::{Foundation, Route, RouteCache};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

const METHOD: &str = "PURGE";
/// `soft` makes what is stored stale instead of gone.
const X_PURGE: HeaderName = HeaderName::from_static("x-purge");

/// What an allowed client takes back.
pub struct Order {
    names: Vec<Name>,
    force: Force,
}

/// None: it is no `PURGE`, or the route on which its URL is read takes none, so that the method
/// goes the way of all others.
pub fn way(request: &Request<'_>, ctx: &mut Context) -> Option<Way> {
    if request.method.as_str() != METHOD {
        return None;
    }
    let source = source_target(request, &ctx.runtime);
    let target = source.as_deref().map_or(request.target, str::as_bytes);
    // Where there is none, the request is refused as all others are.
    let route = find_route(&ctx.runtime, request, target, &Method::GET).ok()?;
    let route = route.clone();
    let (cache, from) = purgeable(&route)?;
    ctx.route = Some(route.clone());
    if !from.contains(ctx.client) {
        return Some(Way::Refuse(Problem::AddressRefused));
    }
    Some(match force(request.headers) {
        Some(force) => Way::Purge(Order {
            names: names(request, cache, &route),
            force,
        }),
        None => Way::Refuse(Problem::Malformed("x-purge says neither soft nor hard")),
    })
}

fn purgeable(route: &Route) -> Option<(&RouteCache, &crate::guard::Networks)> {
    let cache = route.cache.as_deref()?;
    Some((cache, cache.purge_from.as_ref()?))
}

fn force(headers: &HeaderMap) -> Option<Force> {
    match headers.get(X_PURGE).map(HeaderValue::as_bytes) {
        None | Some(b"hard") => Some(Force::Hard),
        Some(b"soft") => Some(Force::Soft),
        Some(_) => None,
    }
}

/// What the URL's objects are called. What is not UTF-8 names no rendition.
fn names(request: &Request<'_>, cache: &RouteCache, route: &Route) -> Vec<Name> {
    match std::str::from_utf8(request.target) {
        Ok(target) => route.stored_as(request.host, target),
        Err(_) => {
            let url = Url::new(request.host, request.target);
            vec![Name::url(&cache.keys.address(&url))]
        }
    }
}

/// Carries it out, and says so.
pub async fn answer(
    edge: &Edge,
    session: &mut Session,
    ctx: &Context,
    order: &Order,
) -> pingora::Result<()> {
    let purged = edge.foundation.purge(&order.names, order.force).await;
    let request = Request::of(session.req_header());
    let url = format!(
        "{}{}",
        request.host,
        String::from_utf8_lossy(request.target)
    );
    tracing::info!(client = %ctx.client, url, force = ?order.force, ?purged, "purged");
    let done = serde_json::json!({"purged": url, "soft": order.force == Force::Soft});
    let body = Bytes::from(done.to_string() + "\n");
    let mut fields = HeaderMap::new();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(CONTENT_LENGTH, body.len().into());
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers::to_client(&mut fields, ctx);
    let reply = Reply {
        status: StatusCode::OK,
        fields,
        body,
    };
    reply.send(session).await
}

/// Purges what an origin's answer to a write says that it has changed. A safe method has changed
/// nothing, RFC 9110 §9.2.1, and neither has one that failed.
pub fn told_by_origin(
    foundation: &Foundation,
    method: &Method,
    answer: &ResponseHeader,
    ctx: &Context,
) {
    if method.is_safe() || answer.status.as_u16() >= 400 {
        return;
    }
    for name in &ctx.runtime.invalidate_headers {
        for tag in tags_in(&answer.headers, name) {
            foundation.purge_at_once(&[Name::tag(tag)], Force::Hard);
        }
    }
}
