//! Whether a request may go on: its route's rules, from the cheapest to ask to the dearest.
//!
//! Most of it is decided from the head alone. Where something must be waited for first, admission
//! stops with a question, which travels with the request to where waiting is possible; what has been
//! decided until then is not decided again.
//!
//! Who asks comes before how often, because limits count by claims too. A request that proves nothing
//! is refused only after its limits have counted it: guessing costs as much as asking.

use super::answer::Problem;
use super::context::{Context, OfRoute};
use super::request::Request;
use super::resource::unix_now;
use super::way::find_route;
use super::{headers, images};
use crate::cache::Scheme;
use crate::guard::{
    Asked, Asker, Asking, Auth, Checked, Claims, Flaw, Identity, Issuer, SecurityHeaders,
    Standings, network, preflight,
};
use crate::runtime::{Route, RouteAuth};
use http::header::{CONTENT_LENGTH, ORIGIN};
use http::{Method, Version};
use std::net::IpAddr;
use std::sync::Arc;

pub enum Admission {
    In,
    Refused(Problem),
    /// `go_on` has the rest.
    Asks(Question),
}

/// What admission has to wait for.
pub enum Question {
    /// The keys that a token may be signed with since.
    Keys(Arc<Issuer>),
    /// The limits that the fleet shares.
    Limits(Box<Asked>),
}

/// Finds the request's route, and out whether it may go on. A refusal costs no more than this.
pub fn admit(request: &Request<'_>, ctx: &mut Context) -> Admission {
    let framed = matches!(request.version, Version::HTTP_2 | Version::HTTP_3);
    if framed && head_size(request) > ctx.runtime.limits.header_size {
        return Admission::Refused(Problem::HeadTooLarge);
    }
    if matches!(*request.method, Method::GET | Method::HEAD) {
        let source = images::source_target(request, &ctx.runtime);
        ctx.target = source.map(|target| target.into_bytes().into());
    }
    let (route, preflight) = match find(request, ctx) {
        Ok(found) => found,
        Err(problem) => return Admission::Refused(problem),
    };
    ctx.preflight = preflight;
    if route.cors.is_some() {
        ctx.origin = request.headers.get(ORIGIN).cloned();
    }
    if route.security_headers == SecurityHeaders::Strict {
        ctx.secure = headers::scheme(request.headers, ctx) == Scheme::Https;
    }
    let kept = rules(request, ctx.client, ctx.route.insert(route));
    match kept.and_then(|()| begin(ctx)) {
        Ok(()) => prove(request, ctx, false),
        Err(problem) => Admission::Refused(problem),
    }
}

/// Counts the request among those that run, where these are bounded.
fn begin(ctx: &mut Context) -> Result<(), Problem> {
    if ctx.looking {
        return has_room(ctx);
    }
    if let Some(most) = ctx.runtime.limits.requests_per_address {
        let clients = &ctx.runtime.clients;
        let place = clients.enter(network(ctx.client), usize::MAX, most);
        ctx.running.of_client = Some(place.ok_or(Problem::ClientBusy)?);
    }
    if let Some(most) = ctx.routed().concurrency {
        let place = OfRoute::begin(ctx.routed(), most);
        ctx.running.of_route = Some(place.ok_or(Problem::RouteBusy)?);
    }
    Ok(())
}

/// What `begin` would say.
fn has_room(ctx: &Context) -> Result<(), Problem> {
    let of_client = ctx.runtime.clients.open_of(network(ctx.client));
    let most = ctx.runtime.limits.requests_per_address;
    if most.is_some_and(|most| of_client >= most) {
        return Err(Problem::ClientBusy);
    }
    let (route, of_route) = (ctx.routed(), ctx.routed().metrics.running.get());
    match route
        .concurrency
        .is_some_and(|most| of_route >= most as i64)
    {
        true => Err(Problem::RouteBusy),
        false => Ok(()),
    }
}

/// Waits for what admission asks, and goes on from there.
pub async fn go_on(question: Question, request: &Request<'_>, ctx: &mut Context) -> Admission {
    match question {
        Question::Keys(issuer) => {
            issuer.ask().await;
            prove(request, ctx, true)
        }
        Question::Limits(asked) => {
            let route = ctx.routed().clone();
            let checked = route.limits.settle(*asked, &mut ctx.standings).await;
            limited(checked, request, ctx)
        }
    }
}

/// A preflight's route is that of the request which it asks about, where that one has rules for it.
/// What asks for a rendition is for the route of the source, whatever its own path is, so that no
/// way around that route's rules leads over another's.
fn find(request: &Request<'_>, ctx: &mut Context) -> Result<(Arc<Route>, bool), Problem> {
    let runtime = ctx.runtime.clone();
    if let Some(target) = &ctx.target {
        match find_route(&runtime, request, target, request.method) {
            Ok(route) if route.images.is_some() => return Ok((route.clone(), false)),
            // Where no pictures are made, it is a path like any other.
            Ok(_) | Err(Problem::NoRoute) => ctx.target = None,
            Err(problem) => return Err(problem),
        }
    }
    let by = |method: &Method| find_route(&runtime, request, request.target, method).cloned();
    if let Some(method) = preflight(request.method, request.headers)
        && let Ok(route) = by(&method)
        && route.cors.is_some()
    {
        return Ok((route, true));
    }
    Ok((by(request.method)?, false))
}

/// What needs neither to be counted nor proven.
fn rules(request: &Request<'_>, client: IpAddr, route: &Route) -> Result<(), Problem> {
    if !route.addresses.admit(client) {
        return Err(Problem::AddressRefused);
    }
    if let Some(maintenance) = &route.maintenance
        && !maintenance.allow.contains(client)
    {
        return Err(Problem::Maintenance {
            retry_after: maintenance.retry_after,
            page: maintenance.page.clone(),
        });
    }
    if let Some(limit) = route.url_length
        && request.target.len() > limit
    {
        return Err(Problem::UrlTooLong { limit });
    }
    if let Some(limit) = route.header_size
        && head_size(request) > limit
    {
        return Err(Problem::FieldsTooLarge { limit });
    }
    Ok(())
}

/// Who asks, on a route where that must be proven. `asked`: the issuer was.
fn prove(request: &Request<'_>, ctx: &mut Context, asked: bool) -> Admission {
    let route = ctx.routed();
    let (claims, unproven) = match (&route.auth, &route.cors) {
        // Browsers send no proof with these.
        (_, Some(cors)) if ctx.preflight => {
            let allowed = ctx
                .origin
                .as_ref()
                .is_some_and(|origin| cors.allows(origin));
            (None, (!allowed).then_some(Problem::OriginRefused))
        }
        (None, _) => (None, None),
        (Some(RouteAuth { auth, require }), _) => {
            let found = auth.check(request.headers, unix_now(), asked);
            if !ctx.looking {
                auth.count(&found);
            }
            match found {
                Identity::Known(claims, _) => {
                    let missing = missing_claim(auth, require, &claims);
                    (Some(claims), missing)
                }
                Identity::Nobody if require.is_empty() => (None, None),
                Identity::Nobody => (None, Some(unauthorized(auth, Flaw::Missing))),
                Identity::Refused(flaw) => (None, Some(unauthorized(auth, flaw))),
                Identity::NoKeys => (None, Some(Problem::NoKeys)),
                Identity::Undecided(issuer) => return Admission::Asks(Question::Keys(issuer)),
            }
        }
    };
    (ctx.claims, ctx.unproven) = (claims, unproven);
    check_limits(request, ctx)
}

fn unauthorized(auth: &Auth, flaw: Flaw) -> Problem {
    Problem::Unauthorized {
        flaw,
        challenge: auth.challenge(flaw),
    }
}

fn missing_claim(auth: &Auth, require: &[(String, String)], claims: &Claims) -> Option<Problem> {
    let mut require = require.iter();
    let (name, wanted) = require.find(|(name, wanted)| !claims.holds(name, wanted))?;
    let scope = (name == "scope").then_some(wanted.as_str());
    let challenge = auth.challenge_scope(scope);
    Some(Problem::ClaimsMissing { challenge })
}

fn check_limits(request: &Request<'_>, ctx: &mut Context) -> Admission {
    let route = ctx.routed();
    if route.limits.is_empty() {
        return check_rest(request, ctx);
    }
    let asker = Asker {
        address: ctx.client,
        method: request.method,
        headers: request.headers,
        claims: ctx.claims.as_deref(),
        route: &route.name,
    };
    let mut standings = Standings::default();
    let asking = match ctx.looking {
        false => Asking::ToTake,
        true => Asking::ToLook,
    };
    let checked = route.limits.check(&asker, asking, &mut standings);
    ctx.standings = standings;
    limited(checked, request, ctx)
}
fn limited(checked: Checked, request: &Request<'_>, ctx: &mut Context) -> Admission {
    match checked {
        Checked::Pass => check_rest(request, ctx),
        Checked::Refuse { retry_after } => Admission::Refused(Problem::RateLimited { retry_after }),
        Checked::Unknown => Admission::Refused(Problem::LimitUnknown),
        Checked::Ask(asked) => Admission::Asks(Question::Limits(asked)),
    }
}

/// What is not told to those who have asked too often.
fn check_rest(request: &Request<'_>, ctx: &mut Context) -> Admission {
    if let Some(problem) = ctx.unproven.take() {
        return Admission::Refused(problem);
    }
    let limit = ctx.routed().body_size;
    let length = request.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|v| v.to_str().ok()?.parse().ok());
    match length.is_some_and(|length: u64| length > limit) {
        true => Admission::Refused(Problem::BodyTooLarge { limit }),
        false => Admission::In,
    }
}

/// Over HTTP/2 as that counts it, RFC 9113 §6.5.2; else as it was on the wire.
fn head_size(request: &Request<'_>) -> usize {
    let around = match request.version {
        Version::HTTP_2 | Version::HTTP_3 => 32,
        _ => ": \r\n".len(),
    };
    let fields = request
        .headers
        .iter()
        .map(|(n, v)| n.as_str().len() + v.len() + around);
    request.target.len() + fields.sum::<usize>()
}
