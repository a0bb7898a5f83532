//! Whether a request may go on: its route's rules, from the cheapest to ask to the dearest.
//!
//! Most of it is decided from the head alone. Where something must be waited for first, admission
//! stops with a question, which travels with the request to where waiting is possible; what has been
//! decided until then is not decided again.

use super::answer::Problem;
use super::context::Context;
use super::request::Request;
use super::way::find_route;
use crate::guard::{Asked, Asker, Checked, Standings};
use http::Version;
use http::header::CONTENT_LENGTH;

pub enum Admission {
    In,
    Refused(Problem),
    /// `go_on` has the rest.
    Asks(Question),
}

/// What admission has to wait for.
pub enum Question {
    /// The limits that the fleet shares.
    Limits(Box<Asked>),
}

/// Finds the request's route, and out whether it may go on. A refusal costs no more than this.
pub fn admit(request: &Request<'_>, ctx: &mut Context) -> Admission {
    if request.version == Version::HTTP_2 && head_size(request) > ctx.runtime.limits.header_size {
        return Admission::Refused(Problem::HeadTooLarge);
    }
    let route = find_route(&ctx.runtime, request, request.target, request.method).cloned();
    let Some(route) = route else {
        return Admission::Refused(Problem::NoRoute);
    };
    let is_allowed = route.addresses.admit(ctx.client);
    ctx.route = Some(route);
    match is_allowed {
        true => check_limits(request, ctx),
        false => Admission::Refused(Problem::AddressRefused),
    }
}

/// Waits for what admission asks, and goes on from there.
pub async fn go_on(question: Question, request: &Request<'_>, ctx: &mut Context) -> Admission {
    match question {
        Question::Limits(asked) => {
            let route = ctx.routed().clone();
            let checked = route.limits.settle(*asked, &mut ctx.standings).await;
            limited(checked, request, ctx)
        }
    }
}

fn check_limits(request: &Request<'_>, ctx: &mut Context) -> Admission {
    let route = ctx.routed();
    if route.limits.is_empty() {
        return check_length(request, ctx);
    }
    let asker = Asker {
        address: ctx.client,
        method: request.method,
        headers: request.headers,
        claims: ctx.claims.as_deref(),
        route: &route.name,
    };
    let mut standings = Standings::default();
    let checked = route.limits.check(&asker, &mut standings);
    ctx.standings = standings;
    limited(checked, request, ctx)
}

fn limited(checked: Checked, request: &Request<'_>, ctx: &Context) -> Admission {
    match checked {
        Checked::Pass => check_length(request, ctx),
        Checked::Refuse { retry_after } => Admission::Refused(Problem::RateLimited { retry_after }),
        Checked::Unknown => Admission::Refused(Problem::LimitUnknown),
        Checked::Ask(asked) => Admission::Asks(Question::Limits(asked)),
    }
}

/// Of the body, as far as it is known.
fn check_length(request: &Request<'_>, ctx: &Context) -> Admission {
    let limit = ctx.routed().body_size;
    let length = request.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|v| v.to_str().ok()?.parse().ok());
    match length.is_some_and(|length: u64| length > limit) {
        true => Admission::Refused(Problem::BodyTooLarge { limit }),
        false => Admission::In,
    }
}

/// As HTTP/2 counts it: RFC 9113 §6.5.2.
fn head_size(request: &Request<'_>) -> usize {
    let fields = request
        .headers
        .iter()
        .map(|(n, v)| n.as_str().len() + v.len() + 32);
    request.target.len() + fields.sum::<usize>()
}
