//! Renditions: the source through the cache, the transform on the image pool, the result in the
//! cache as an object of its own.

mod make;
mod obtain;
mod render;
mod work;

pub use work::{Work, source_of, source_target};

use super::Edge;
use super::cached::{self, Answered};
use super::client::Client;
use super::context::{CacheStatus, Context};
use super::relay::left;
use super::request::Request;
use super::resource::unix_now;
use crate::cache::{Follower, Found, Joined, Object, Opened, Use, usable};
use crate::upstream::Response;
use http::HeaderMap;
use make::make;
use std::sync::Arc;

/// Answers with a rendition that has yet to be made. No: the client gets the original through the
/// proxy, because the source can't be shared.
pub async fn answer(
    edge: &Arc<Edge>,
    client: &mut impl Client,
    ctx: &mut Context,
    work: Work,
) -> pingora::Result<Answered> {
    let zone = work.source.zone().clone();
    let now = unix_now();
    let mut stale = None;
    if let Found::Object { key, object } = zone.find(work.goal.key.clone(), &HeaderMap::new(), now)
    {
        match usable(&object.freshness, &client.request().headers, now) {
            Use::Fresh => return cached::hit(client, ctx, &zone, key, object, now).await,
            Use::StaleWhileRevalidate => {
                let names = |since| work.source.names(&Request::of(client.request()), since);
                if let Some(filling) = zone.fills.lead(&work.goal.key, names) {
                    make(edge, client.request(), ctx, work, filling, false)?;
                }
                return cached::hit(client, ctx, &zone, key, object, now).await;
            }
            Use::Revalidate { stale_if_error } => stale = Some((object, stale_if_error)),
        }
    }
    let names = |since| work.source.names(&Request::of(client.request()), since);
    let mut follower = match zone.fills.join(&work.goal.key, |_| true, names) {
        Joined::Follows(follower) => follower,
        Joined::Leads(filling, follower) => {
            make(edge, client.request(), ctx, work, filling, true)?;
            follower
        }
    };
    let opened = tokio::select! {
        biased;
        opened = follower.opened() => opened,
        // What nobody waits for any more is not begun.
        () = client.rest() => return Err(left()),
    };
    finish(client, ctx, &zone, opened, &follower, stale).await
}

/// Sends what has come of it.
async fn finish(
    client: &mut impl Client,
    ctx: &mut Context,
    zone: &Arc<crate::cache::Zone<Response>>,
    opened: Opened<Response>,
    follower: &Follower<Response>,
    stale: Option<(Arc<Object>, bool)>,
) -> pingora::Result<Answered> {
    let collapsed = !follower.leads();
    let now = unix_now();
    match opened {
        Opened::Object(object) => {
            zone.metrics.filled(collapsed);
            ctx.cache = Some(CacheStatus::Miss {
                why: "miss",
                collapsed,
                made: true,
            });
            cached::send(client, ctx, &object, now).await?;
            Ok(Answered::Yes)
        }
        Opened::Recalled(object, tier) => {
            cached::recalled(ctx, zone, object.freshness.ttl(now), tier);
            cached::send(client, ctx, &object, now).await?;
            Ok(Answered::Yes)
        }
        Opened::Failed(kind) => cached::failed(client, ctx, zone, stale, kind, now).await,
        Opened::Mine(original) => {
            ctx.cache = Some(CacheStatus::Forwarded {
                why: "miss",
                detail: Some("not-stored"),
            });
            cached::own(client, ctx, original).await?;
            Ok(Answered::Yes)
        }
        // The source is not for sharing: the origin answers this client itself.
        Opened::NotShared | Opened::Head(_) => Ok(Answered::No),
    }
}
