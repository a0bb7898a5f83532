//! Whether a request may go on: its route's rules, from the cheapest to ask to the dearest.

use super::answer::Problem;
use super::context::Context;
use super::request::Request;
use super::way::find_route;
use crate::guard::{Asker, Verdict};
use http::Version;
use http::header::CONTENT_LENGTH;

/// Finds the request's route, and out whether it may go on. A refusal costs no more than this.
pub fn admit(request: &Request<'_>, ctx: &mut Context) -> Result<(), Problem> {
    if request.version == Version::HTTP_2 && head_size(request) > ctx.runtime.limits.header_size {
        return Err(Problem::HeadTooLarge);
    }
    let route = find_route(&ctx.runtime, request, request.target, request.method).cloned();
    let route = ctx.route.insert(route.ok_or(Problem::NoRoute)?);
    if !route.addresses.admit(ctx.client) {
        return Err(Problem::AddressRefused);
    }
    let asker = Asker {
        address: ctx.client,
        headers: request.headers,
        route: route.index,
    };
    for limiter in &route.limiters {
        if let Verdict::Refuse { retry_after } = limiter.check(&asker) {
            return Err(Problem::RateLimited { retry_after });
        }
    }
    let length = request
        .headers
        .get(CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > route.body_size) {
        return Err(Problem::BodyTooLarge {
            limit: route.body_size,
        });
    }
    Ok(())
}

/// As HTTP/2 counts it: RFC 9113 §6.5.2.
fn head_size(request: &Request<'_>) -> usize {
    let fields = request
        .headers
        .iter()
        .map(|(n, v)| n.as_str().len() + v.len() + 32);
    request.target.len() + fields.sum::<usize>()
}
