//! Which way a request goes: decided from its head alone, before anything is waited for, unless
//! admission has to.

use super::admit::{self, Admission, Question};
use super::answer::Problem;
use super::coded::{self, Form, ToCode};
use super::context::{CacheStatus, Context};
use super::reply::Hit;
use super::request::{Request, path_and_query};
use super::resource::{Resource, unix_now};
use super::{balance, headers, https, images, purge};
use crate::cache::{Found, Key, Object, Use, Zone, usable};
use crate::guard::{client_address, forwarded, x_forwarded_for};
use crate::listen::may_switch;
use crate::path;
use crate::route::Asked;
use crate::runtime::{Route, Runtime};
use crate::upstream::Response;
use bytes::Bytes;
use http::header::{FORWARDED, UPGRADE};
use http::{HeaderMap, Method, Version};
use std::net::IpAddr;
use std::sync::Arc;

pub enum Way {
    Refuse(Problem),
    /// Not to be said before something is known: see `decided`.
    Ask(Question),
    /// What an authority looks for that issues certificates.
    Challenge(Bytes),
    /// What a page may ask: answered at the edge.
    Preflight,
    /// An OPTIONS that may go no further.
    Options,
    /// Takes back what is stored.
    Purge(purge::Order),
    /// Stored, and good as it is.
    Hit(Hit),
    /// Stored and good, but yet to be coded for this client.
    Code(ToCode, Hit),
    /// What is to be had through the cache.
    Fill(Resource),
    /// A picture, made of what is to be had through the cache.
    Render(Box<images::Work>),
    /// Through Pingora's proxy.
    Pass,
}

/// Who asks: the client's address, where `ctx.peer` is a trusted proxy's, and the request's id; and
/// whether it is traced.
pub fn identify(request: &Request<'_>, ctx: &mut Context) {
    ctx.peer_is_trusted = ctx.runtime.trusted.contains(ctx.peer);
    ctx.client = ctx.peer;
    if ctx.peer_is_trusted {
        ctx.client = told_client(request.headers, ctx);
        if let Some(id) = request.headers.get(headers::X_REQUEST_ID) {
            ctx.id.adopt(id.as_bytes());
        }
    }
    if let Some(tracer) = &ctx.runtime.tracer {
        ctx.trace = tracer.begin(request.headers, ctx.peer_is_trusted);
    }
    ctx.upgrade = switches(request);
}

/// As `listen` has framed it. Over HTTP/2 the fields are its own.
fn switches(request: &Request<'_>) -> bool {
    let fields = request.headers.iter();
    request.headers.contains_key(UPGRADE)
        && request.version != Version::HTTP_10
        && request.method != Method::CONNECT
        && may_switch(fields.map(|(name, value)| (name.as_str(), value.as_bytes())))
}

/// By X-Forwarded-For, which is what nearly all proxies write; where there is none, by Forwarded.
fn told_client(fields: &HeaderMap, ctx: &Context) -> IpAddr {
    let (peer, trusted) = (ctx.peer, &ctx.runtime.trusted);
    let lines = |name| fields.get_all(name).into_iter().map(|line| line.as_bytes());
    match fields.contains_key(headers::X_FORWARDED_FOR) {
        true => {
            let lines = lines(headers::X_FORWARDED_FOR);
            client_address(peer, trusted, lines.flat_map(x_forwarded_for))
        }
        false => client_address(peer, trusted, lines(FORWARDED).flat_map(forwarded)),
    }
}

/// Routes, guards, and looks into the cache.
pub fn find(request: &Request<'_>, ctx: &mut Context) -> Way {
    ctx.received = request.version;
    if let Some(answer) = https::challenge(request, ctx) {
        return Way::Challenge(answer);
    }
    if let Some(left) = ctx.runtime.bans.left(ctx.client, ctx.started) {
        if !ctx.looking {
            ctx.metrics.requests_banned.inc();
        }
        return Way::Refuse(Problem::Banned { left });
    }
    match *request.method {
        Method::CONNECT => return Way::Refuse(Problem::MethodRefused),
        Method::TRACE => return Way::Refuse(Problem::NotTraced),
        _ => {}
    }
    let elsewhere = https::asked_without(request, ctx);
    if let Some(problem) = elsewhere.or_else(|| https::misdirected(request, ctx)) {
        return Way::Refuse(problem);
    }
    if let Some(way) = purge::way(request, ctx) {
        return way;
    }
    let admission = admit::admit(request, ctx);
    admitted(admission, request, ctx)
}

/// The way itself, once all that admission asks is known. What was decided already is not decided
/// again.
pub async fn decided(mut way: Way, request: &Request<'_>, ctx: &mut Context) -> Way {
    while let Way::Ask(question) = way {
        // Aside: who asks nobody far away is no larger for those who do.
        let admission = Box::pin(admit::go_on(question, request, ctx)).await;
        way = admitted(admission, request, ctx);
    }
    way
}

fn admitted(admission: Admission, request: &Request<'_>, ctx: &mut Context) -> Way {
    match admission {
        Admission::In if ctx.preflight => Way::Preflight,
        Admission::In if headers::forwards_left(request.method, request.headers) == Some(0) => {
            Way::Options
        }
        Admission::In => beyond(request, ctx),
        Admission::Refused(problem) => Way::Refuse(problem),
        Admission::Asks(question) => Way::Ask(question),
    }
}

/// Where a request goes that was let in.
fn beyond(request: &Request<'_>, ctx: &mut Context) -> Way {
    balance::take_side(request, ctx);
    // A picture is no other protocol, and its original may be nobody's to see.
    ctx.upgrade &= ctx.routed().images.is_none();
    let Some(resource) = Resource::of(request, ctx) else {
        return Way::Pass;
    };
    let now = unix_now();
    if let Some(images) = &resource.route.images {
        match images::Work::of(request, images, &resource, ctx) {
            Ok(Some(work)) => {
                return match work.stored(request.headers, ctx, now) {
                    Some(object) => {
                        let zone = resource.zone();
                        stored(request, ctx, zone, work.goal.key, object, now)
                    }
                    None => Way::Render(Box::new(work)),
                };
            }
            Ok(None) => {}
            Err(problem) => return Way::Refuse(problem),
        }
    }
    let Some(resource) = resource.if_wanted(request, ctx) else {
        return Way::Pass;
    };
    let zone = resource.zone();
    match ctx.find(zone, resource.key.clone(), request.headers, now) {
        Found::Object { key, object }
            if usable(&object.freshness, request.headers, now) == Use::Fresh
                && !resource.ends_while_hot(&object, now) =>
        {
            stored(request, ctx, zone, key, object, now)
        }
        _ => Way::Fill(resource),
    }
}

/// What is stored, in the form that this client is to have.
fn stored(
    request: &Request<'_>,
    ctx: &mut Context,
    zone: &Arc<Zone<Response>>,
    key: Key,
    object: Arc<Object>,
    now: u64,
) -> Way {
    let hit = |object| Hit {
        zone: zone.clone(),
        object,
        now,
    };
    match coded::form(request, ctx, &object) {
        Form::Is(object) => Way::Hit(hit(object)),
        Form::ToBe(coding) => {
            let to_code = ToCode {
                zone: zone.clone(),
                key,
                object: object.clone(),
                coding,
            };
            Way::Code(to_code, hit(object))
        }
        Form::Refused => {
            if !ctx.looking {
                zone.metrics.misses.inc();
            }
            ctx.cache = Some(CacheStatus::Forwarded {
                why: "miss",
                detail: Some("encoding"),
            });
            Way::Pass
        }
    }
}

/// The route that `request` would take with this target and method: that of the path's normal form.
pub fn find_route<'a>(
    runtime: &'a Runtime,
    request: &Request<'_>,
    target: &[u8],
    method: &Method,
) -> Result<&'a Arc<Route>, Problem> {
    let by = |path: &str| {
        let asked = Asked {
            host: request.host,
            path,
            method,
            headers: request.headers,
        };
        runtime.route(&asked, unix_now)
    };
    let found = match path_and_query(target).0 {
        // For the server as a whole, RFC 9110 §9.3.7: it fits the routes that fit any path.
        b"*" => Ok(by("/")),
        path => path::agreed(path, by),
    };
    let route = found.map_err(|flaw| Problem::Malformed(flaw.0))?;
    route.ok_or(Problem::NoRoute)
}
