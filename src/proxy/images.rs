//! Renditions: the source through the cache, the transform on the image pool, the result in the
//! cache as an object of its own.

use super::Edge;
use super::answer::Problem;
use super::cached::{self, Answered};
use super::client::Client;
use super::context::{CacheStatus, Context};
use super::fill::{self, Job};
use super::request::Request;
use super::resource::{Resource, unix_now};
use crate::cache::{
    Filling, Follower, Found, Head, Joined, Key, Object, Opened, Opening, Recalled, Use, usable,
};
use crate::error::Kind;
use crate::runtime::Images;
use crate::upstream::Response;
use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    ETAG, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use lakh_image::{Limits, Overlays, Plan, Rendition, transform};
use pingora::http::RequestHeader;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Instant;

/// A rendition that is asked for: what is to be made of which source, and where it goes.
pub struct Work {
    images: Arc<Images>,
    plan: Plan,
    pub key: Key,
    source: Resource,
}

impl Work {
    /// None: the request asks for the original.
    pub fn of(
        request: &Request<'_>,
        images: &Arc<Images>,
        asked: &Resource,
        ctx: &Context,
    ) -> Result<Option<Work>, Problem> {
        let (_, query) = request.path_and_query();
        let query = query.and_then(|q| std::str::from_utf8(q).ok());
        let accept = accept(request.headers);
        let plan = Plan::from_request(query, accept.as_deref(), &images.settings)
            .map_err(|e| Problem::ImageQuery(e.to_string()))?;
        Ok(plan.map(|plan| {
            let source = source_of(request, asked, query, ctx);
            Work {
                images: images.clone(),
                key: source.key.derived(&plan.key()),
                plan,
                source,
            }
        }))
    }

    /// The rendition, if there is a fresh one.
    pub fn stored(&self, request: &HeaderMap, now: u64) -> Option<Arc<Object>> {
        let zone = self.source.zone();
        match zone.find(self.key.clone(), &HeaderMap::new(), now) {
            Found::Object { object, .. }
                if usable(&object.freshness, request, now) == Use::Fresh =>
            {
                Some(object)
            }
            _ => None,
        }
    }
}

/// Where the picture comes from: the same URL without what asks for a rendition.
fn source_of(
    request: &Request<'_>,
    asked: &Resource,
    query: Option<&str>,
    ctx: &Context,
) -> Resource {
    let rest = query
        .map(Plan::without_parameters)
        .filter(|rest| !rest.is_empty());
    let (path, _) = request.path_and_query();
    let mut target = path.to_vec();
    if let Some(rest) = &rest {
        target.push(b'?');
        target.extend_from_slice(rest.as_bytes());
    }
    asked.beside(request, target, ctx)
}

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
    if let Found::Object { key, object } = zone.find(work.key.clone(), &HeaderMap::new(), now) {
        match usable(&object.freshness, &client.request().headers, now) {
            Use::Fresh => return cached::hit(client, ctx, &zone, key, object, now).await,
            Use::StaleWhileRevalidate => {
                let names = |since| work.source.names(&Request::of(client.request()), since);
                if let Some(filling) = zone.fills.lead(&work.key, names) {
                    make(edge, client.request(), ctx, work, filling)?;
                }
                return cached::hit(client, ctx, &zone, key, object, now).await;
            }
            Use::Revalidate { stale_if_error } => stale = Some((object, stale_if_error)),
        }
    }
    let names = |since| work.source.names(&Request::of(client.request()), since);
    let mut follower = match zone.fills.join(&work.key, false, names) {
        Joined::Follows(follower) => follower,
        Joined::Leads(filling, follower) => {
            make(edge, client.request(), ctx, work, filling)?;
            follower
        }
    };
    let collapsed = !follower.leads();
    match follower.opened().await {
        Opened::Object(object) => {
            cached::count_fill(&zone, collapsed);
            ctx.cache = Some(CacheStatus::Miss {
                why: "miss",
                collapsed,
                made: true,
            });
            cached::send(client, ctx, &object, unix_now()).await?;
            Ok(Answered::Yes)
        }
        Opened::Recalled(object, tier) => {
            let now = unix_now();
            zone.metrics.hits.inc();
            ctx.cache = Some(CacheStatus::Recalled {
                ttl: object.freshness.ttl(now),
                tier,
            });
            cached::send(client, ctx, &object, now).await?;
            Ok(Answered::Yes)
        }
        Opened::Failed(kind) => cached::failed(client, ctx, &zone, stale, kind, unix_now()).await,
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

/// Starts the making of a rendition: on a task of its own, so that it survives this client.
fn make(
    edge: &Arc<Edge>,
    request: &RequestHeader,
    ctx: &Context,
    work: Work,
    filling: Filling<Response>,
) -> pingora::Result<()> {
    let obtain = Obtain::new(edge, request, ctx, &work.source)?;
    let root = work.source.root(&Request::of(request), ctx);
    let edge = edge.clone();
    let max_source = work.images.settings.max_source;
    tokio::spawn(async move {
        if let Some((object, tier)) = recall(&work, &root, &filling).await {
            filling.open(Opening::Recalled(object, tier));
            return obtain.abandon();
        }
        let opening = match obtain.run(max_source).await {
            Obtained::Object(original) => {
                Opening::Object(rendition(&edge, &work, &original, &root).await)
            }
            Obtained::Failed(kind) => Opening::Failed(kind),
            Obtained::NotShared(response) => Opening::Private(response),
        };
        filling.open(opening);
    });
    Ok(())
}

/// What a slower tier has of it, fresh.
async fn recall(
    work: &Work,
    root: &Key,
    filling: &Filling<Response>,
) -> Option<(Arc<Object>, &'static str)> {
    let (zone, now) = (work.source.zone(), unix_now());
    let Recalled { object, key, tier } = zone.recall_made(root, &work.key, now).await?;
    let is_fresh = usable(&object.freshness, &HeaderMap::new(), now) == Use::Fresh;
    if !is_fresh || filling.is_outdated() {
        return None;
    }
    let object = Arc::new(*object);
    zone.promote(key, object.clone());
    Some((object, tier))
}

/// The rendition, stored; or the original where none can be made of it.
async fn rendition(edge: &Edge, work: &Work, original: &Arc<Object>, root: &Key) -> Arc<Object> {
    if original.status != StatusCode::OK {
        return original.clone();
    }
    match render(edge, work, original.body.clone()).await {
        Ok(made) => {
            let object = Arc::new(object_of(made, work, original));
            let zone = work.source.zone();
            zone.store(work.key.clone(), object.clone());
            zone.hand_down_made(root, &work.key, &object);
            object
        }
        Err(cause) => {
            edge.foundation.image_metrics.count(cause);
            // What can't be transformed now can't be later either; a full queue can.
            if cause != QUEUE_FULL {
                work.source.zone().store(work.key.clone(), original.clone());
            }
            original.clone()
        }
    }
}

const QUEUE_FULL: &str = "queue_full";

/// Runs the transform on the pool. The error is its cause, as a metric's label.
async fn render(edge: &Edge, work: &Work, source: Bytes) -> Result<Rendition, &'static str> {
    use crate::pool::PoolError;
    let (plan, limits) = (work.plan.clone(), Limits::from(&work.images.settings));
    let asked = Instant::now();
    let job = move || {
        let (waited, started) = (asked.elapsed(), Instant::now());
        (
            transform(&source, &plan, &limits, &Overlays::new()),
            waited,
            started.elapsed(),
        )
    };
    let metrics = &edge.foundation.metrics;
    let (made, waited, took) = work.images.pool.run(job).await.map_err(|e| match e {
        PoolError::Full => QUEUE_FULL,
        PoolError::Panicked => {
            metrics.panics.inc();
            "panicked"
        }
        PoolError::Cancelled => "cancelled",
    })?;
    metrics.images.wait.observe(waited.as_secs_f64());
    metrics.images.time.observe(took.as_secs_f64());
    let made = made.map_err(|e| {
        tracing::debug!(error = %e, "transform failed");
        e.cause()
    })?;
    edge.foundation.image_metrics.count("transformed");
    Ok(made)
}

/// As fresh as its source. The tag is of the bytes: equal renditions are equal everywhere.
fn object_of(made: Rendition, work: &Work, original: &Object) -> Object {
    let mut headers = original.headers.clone();
    for name in [
        CONTENT_LENGTH,
        CONTENT_ENCODING,
        CONTENT_DISPOSITION,
        LAST_MODIFIED,
        ACCEPT_RANGES,
    ] {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(made.content_type));
    let digest = Sha256::digest(&made.bytes);
    let tag: String = digest[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    headers.insert(
        ETAG,
        HeaderValue::try_from(format!("\"{tag}\"")).expect("hexadecimal digits in quotes"),
    );
    if work.plan.varies_on_accept() {
        headers.append(VARY, HeaderValue::from_static("Accept"));
    }
    Object::new(
        StatusCode::OK,
        headers,
        made.bytes.into(),
        original.freshness,
        original.names.clone(),
    )
}

/// Getting the whole source, out of the cache or by the fill that everybody shares.
enum Obtain {
    Stored(Arc<Object>),
    /// With the job that fills it, if nobody else runs one.
    Follow(Follower<Response>, Option<Box<Job>>),
}

enum Obtained {
    Object(Arc<Object>),
    /// With the answer, if it was this request that asked.
    NotShared(Option<Response>),
    Failed(Kind),
}

impl Obtain {
    fn new(
        edge: &Arc<Edge>,
        request: &RequestHeader,
        ctx: &Context,
        source: &Resource,
    ) -> pingora::Result<Obtain> {
        let (now, fields) = (unix_now(), &request.headers);
        let (key, stale) = match source.zone().find(source.key.clone(), fields, now) {
            Found::Object { key, object } => match usable(&object.freshness, fields, now) {
                Use::Fresh => return Ok(Obtain::Stored(object)),
                // A rendition of it would be stale at once, and made again and again.
                Use::StaleWhileRevalidate | Use::Revalidate { .. } => (key, Some(object)),
            },
            Found::Nothing { key } => (key, None),
            Found::Pass => (source.key.clone(), None),
        };
        let (follower, job) = cached::join(edge, request, ctx, source, &key, stale.as_ref())?;
        Ok(Obtain::Follow(follower, job.map(Box::new)))
    }

    /// The source is not needed.
    fn abandon(self) {
        if let Obtain::Follow(follower, Some(job)) = self {
            drop(follower);
            job.abandon();
        }
    }

    async fn run(self, max_source: u64) -> Obtained {
        let mut follower = match self {
            Obtain::Stored(object) => return Obtained::Object(object),
            Obtain::Follow(follower, job) => {
                if let Some(job) = job {
                    tokio::spawn(fill::run(*job));
                }
                follower
            }
        };
        match follower.opened().await {
            Opened::Object(object) | Opened::Recalled(object, _) => Obtained::Object(object),
            Opened::Mine(response) => Obtained::NotShared(Some(response)),
            Opened::NotShared => Obtained::NotShared(None),
            Opened::Failed(kind) => Obtained::Failed(kind),
            Opened::Head(head) => collect(&head, &mut follower, max_source).await,
        }
    }
}

/// The whole source. One that is too large to read is not for us: the client gets it as it is.
async fn collect(head: &Head, follower: &mut Follower<Response>, max_source: u64) -> Obtained {
    let mut body = BytesMut::new();
    loop {
        match follower.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(kind) => return Obtained::Failed(kind),
        }
        if body.len() as u64 > max_source {
            return Obtained::NotShared(None);
        }
    }
    Obtained::Object(Arc::new(Object::new(
        head.status,
        head.headers.clone(),
        body.freeze(),
        head.freshness,
        head.names.clone(),
    )))
}

fn accept(headers: &HeaderMap) -> Option<String> {
    let mut lines = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let first = lines.next()?.to_owned();
    Some(lines.fold(first, |joined, line| joined + "," + line))
}
