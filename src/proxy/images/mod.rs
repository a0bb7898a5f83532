//! Renditions: the source through the cache, the transform on the image pool, the result in the
//! cache as an object of its own.

mod instead;
mod keep;
mod made;
mod make;
mod obtain;
mod render;
mod work;

pub use work::{Work, source_target};

use super::Edge;
use super::answer::Problem;
use super::cached::{self, Answered};
use super::client::Client;
use super::context::{CacheStatus, Context};
use super::relay::left;
use super::request::Request;
use super::resource::unix_now;
use crate::cache::{CacheControl, Follower, Found, Joined, Object, Opened, Use, usable};
use crate::error::Kind;
use crate::upstream::Response;
use http::{HeaderMap, StatusCode};
use made::{promote, recall};
use make::{For, make};
use pingora::http::RequestHeader;
use std::sync::Arc;

/// How often a request looks again when what it waited for was made of another's source.
const LOOKS: usize = 3;

/// Answers with a rendition that has yet to be made. No: the client gets the original through the
/// proxy, because it is too large to be read.
pub async fn answer(
    edge: &Arc<Edge>,
    client: &mut impl Client,
    ctx: &mut Context,
    mut work: Work,
) -> pingora::Result<Answered> {
    if work.as_it_is && is_missing(client.request(), &work) {
        return Ok(Answered::Refused(Problem::OnlyIfCached));
    }
    for _ in 0..LOOKS {
        if work.is_apart(&client.request().headers, ctx, unix_now()) {
            break;
        }
        if let Some(answered) = look(edge, client, ctx, &work).await? {
            return Ok(answered);
        }
        work.look_again(&client.request().headers);
    }
    let names = |since| work.source.names(&Request::of(client.request()), since);
    let (filling, follower) = work.source.zone().fills.alone(&work.goal.key, names);
    make(edge, client.request(), ctx, work.clone(), filling, For::One)?;
    let answered = wait(client, ctx, &work, follower, None).await?;
    Ok(answered.unwrap_or(Answered::No))
}

/// Whether the original may only be what is stored, which it is not. RFC 9111 §5.2.1.7.
fn is_missing(request: &RequestHeader, work: &Work) -> bool {
    let (source, now, fields) = (&work.source, unix_now(), &request.headers);
    let found = || {
        source
            .zone()
            .look(source.key.clone(), &source.told(fields), now)
    };
    let is_fresh = |found| match found {
        Found::Object { object, .. } => usable(&object.freshness, fields, now) == Use::Fresh,
        _ => false,
    };
    CacheControl::parse(fields).only_if_cached && !is_fresh(found())
}

/// With what is there, or what is made for all who wait. None: look again.
async fn look(
    edge: &Arc<Edge>,
    client: &mut impl Client,
    ctx: &mut Context,
    work: &Work,
) -> pingora::Result<Option<Answered>> {
    let zone = work.source.zone();
    let (request, now) = (client.request(), unix_now());
    let names = |since| work.source.names(&Request::of(request), since);
    let mut stale = None;
    if let Found::Object { key, object } = zone.find(work.goal.key.clone(), &HeaderMap::new(), now)
    {
        let stands = usable(&object.freshness, &request.headers, now);
        if stands == Use::StaleWhileRevalidate
            && let Some(filling) = zone.fills.lead(&work.goal.key, names)
        {
            make(edge, request, ctx, work.clone(), filling, For::Later)?;
        }
        match stands {
            Use::Revalidate { stale_if_error } => stale = Some((object, stale_if_error)),
            _ => {
                return cached::hit(client, ctx, zone, key, object, now)
                    .await
                    .map(Some);
            }
        }
    }
    if CacheControl::parse(&request.headers).only_if_cached {
        return only_stored(client, ctx, work).await.map(Some);
    }
    let follower = match zone.fills.join(&work.goal.key, |_| true, names) {
        Joined::Follows(follower) => follower,
        Joined::Leads(filling, follower) => {
            make(edge, request, ctx, work.clone(), filling, For::All)?;
            follower
        }
    };
    wait(client, ctx, work, follower, stale).await
}

/// With what a slower tier has, if it is fresh. RFC 9111 §5.2.1.7.
async fn only_stored(
    client: &mut impl Client,
    ctx: &mut Context,
    work: &Work,
) -> pingora::Result<Answered> {
    let (zone, request) = (work.source.zone(), client.request());
    let root = work.source.root(&Request::of(request), ctx);
    let fields = work.source.told(&request.headers).into_owned();
    let Some(recalled) = recall(work, &root, &fields).await else {
        return Ok(Answered::Refused(Problem::OnlyIfCached));
    };
    let (now, (object, tier)) = (unix_now(), promote(zone, recalled));
    cached::recalled(ctx, zone, object.freshness.ttl(now), tier);
    cached::send(client, ctx, &object, now).await?;
    Ok(Answered::Yes)
}

/// Waits for it, and sends what has come of it. None: that is not for this request.
async fn wait(
    client: &mut impl Client,
    ctx: &mut Context,
    work: &Work,
    mut follower: Follower<Response>,
    stale: Option<(Arc<Object>, bool)>,
) -> pingora::Result<Option<Answered>> {
    let opened = tokio::select! {
        biased;
        opened = follower.opened() => opened,
        // What nobody waits for any more is not begun.
        () = client.rest() => return Err(left()),
    };
    let (zone, now) = (work.source.zone(), unix_now());
    let why = match &stale {
        Some((object, _)) => cached::why_asked(object, now),
        None if work.as_it_is => "request",
        None => "miss",
    };
    match opened {
        Opened::Object(object) => {
            zone.metrics.filled(!follower.leads());
            ctx.cache = Some(made(client, work, &object, why, !follower.leads()));
            cached::send(client, ctx, &object, now).await?;
        }
        Opened::Recalled(object, tier) => {
            cached::recalled(ctx, zone, object.freshness.ttl(now), tier);
            cached::send(client, ctx, &object, now).await?;
        }
        Opened::Mine(original) => {
            let detail = Some("not-stored");
            ctx.cache = Some(CacheStatus::Forwarded { why, detail });
            cached::own(client, ctx, original).await?;
        }
        Opened::Failed(Kind::TooLarge) => return Ok(Some(too_large(ctx, work, why))),
        Opened::Failed(kind) => {
            return cached::failed(client, ctx, zone, stale, kind, now)
                .await
                .map(Some);
        }
        Opened::NotShared | Opened::Head(_) => return Ok(None),
    }
    Ok(Some(Answered::Yes))
}

/// For Cache-Status: what it is, and whether it is stored now, under what is known of its source's
/// variants now.
fn made(
    client: &impl Client,
    work: &Work,
    object: &Arc<Object>,
    why: &'static str,
    collapsed: bool,
) -> CacheStatus {
    let mut work = work.clone();
    work.look_again(&client.request().headers);
    let found = work
        .source
        .zone()
        .look(work.goal.key, &HeaderMap::new(), unix_now());
    let is_made = object.status == StatusCode::OK;
    let detail = object.instead.or(is_made.then_some("transformed"));
    match found {
        Found::Object { object: stored, .. } if Arc::ptr_eq(&stored, object) => CacheStatus::Miss {
            why,
            collapsed,
            detail,
        },
        _ => CacheStatus::Forwarded { why, detail },
    }
}

/// What can't be read is not seen either, where the original must not be.
fn too_large(ctx: &mut Context, work: &Work, why: &'static str) -> Answered {
    if !work.may_be_original() {
        return Answered::Refused(Problem::Upstream(Kind::NotAPicture));
    }
    let detail = Some("too-large");
    ctx.cache = Some(CacheStatus::Forwarded { why, detail });
    Answered::No
}
