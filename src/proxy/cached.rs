//! Answers from the cache: a hit at once, a miss by a fill that all who ask at the time share.

use super::answer::Problem;
use super::client::Client;
use super::coded::{self, Form, ToCode};
use super::context::{CacheStatus, Context, Told};
use super::fill::{self, Job};
use super::relay::{broken, end, frame, has_no_body, next, relay, send_interim, write};
use super::reply::{self, Hit, Reply};
use super::request::Request;
use super::resource::{Resource, unix_now};
use super::{Edge, balance};
use crate::cache::{
    Asked, CacheControl, Follower, Found, Head, Joined, Key, Object, Opened, Passing, Progress,
    Refused, Use, Zone, not_modified, usable, vary_names,
};
use crate::error::Kind;
use crate::runtime::Route;
use crate::upstream::Response;
use http::header::{AUTHORIZATION, RANGE};
use http::{HeaderMap, Method, StatusCode};
use pingora::http::RequestHeader;
use std::sync::Arc;

/// How often a request looks again when what it waited for turned out to be another's variant.
const LOOKS: usize = 3;

/// Whether the request was answered.
pub enum Answered {
    Yes,
    /// It goes the other way, through Pingora's proxy.
    No,
    /// It is to be answered with this.
    Refused(Problem),
}

/// How what is stored stands to a request.
pub enum Stand {
    Fresh {
        key: Key,
        object: Arc<Object>,
    },
    /// Good enough, while it is fetched anew.
    Stale {
        key: Key,
        object: Arc<Object>,
    },
    /// It is no use, and nobody is to wait for another.
    Pass(&'static str),
    Missing(Want),
}

/// What is to be asked for, and what may be done without that.
pub struct Want {
    pub key: Key,
    /// What is there has to be asked about; whether it may hide a failure.
    pub stale: Option<(Arc<Object>, bool)>,
    pub only_if_cached: bool,
    /// The whole would have to come before the part; the origin can send the part at once.
    pub is_part: bool,
}

pub fn stand(resource: &Resource, headers: &HeaderMap, ctx: &Context, now: u64) -> Stand {
    let (key, stale) = match ctx.find(resource.zone(), resource.key.clone(), headers, now) {
        Found::Object { key, object } => match usable(&object.freshness, headers, now) {
            _ if !coded::is_readable(headers, &object.headers) => return Stand::Pass("encoding"),
            Use::Fresh => return Stand::Fresh { key, object },
            Use::StaleWhileRevalidate => return Stand::Stale { key, object },
            Use::Revalidate { stale_if_error } => (key, Some((object, stale_if_error))),
        },
        Found::Pass { whose, .. } if is_passed(whose, headers, ctx) => {
            return Stand::Pass("hit-for-pass");
        }
        Found::Nothing { key } | Found::Pass { key, .. } => (key, None),
    };
    // When the origin fails, the part of a stale object will do.
    let may_stay = stale.as_ref().is_some_and(|(_, on_error)| *on_error);
    Stand::Missing(Want {
        key,
        stale,
        only_if_cached: CacheControl::parse(headers).only_if_cached,
        is_part: headers.contains_key(RANGE) && !may_stay,
    })
}

pub async fn answer(
    edge: &Arc<Edge>,
    client: &mut impl Client,
    ctx: &mut Context,
    resource: &Resource,
) -> pingora::Result<Answered> {
    let zone = resource.zone();
    let mut looked_below = false;
    for _ in 0..LOOKS {
        let now = unix_now();
        let request = client.request();
        let Want {
            key,
            stale,
            only_if_cached,
            is_part,
        } = match stand(resource, &request.headers, ctx, now) {
            Stand::Fresh { key, object } => {
                if resource.ends_while_hot(&object, now) && object.hits.may_refresh() {
                    refresh(edge, request, ctx, resource, key.clone(), &object)?;
                }
                return hit(client, ctx, zone, key, object, now).await;
            }
            Stand::Stale { key, object } => {
                refresh(edge, request, ctx, resource, key.clone(), &object)?;
                return hit(client, ctx, zone, key, object, now).await;
            }
            Stand::Pass(why) => return Ok(pass(ctx, zone, why)),
            Stand::Missing(want) => want,
        };
        if (only_if_cached || is_part) && stale.is_none() && zone.has_slower() && !looked_below {
            looked_below = true;
            // Aside: most who wait here wait for a fill.
            if Box::pin(promote(edge, request, ctx, resource, &key)).await? {
                continue;
            }
        }
        if only_if_cached {
            return Ok(Answered::Refused(Problem::OnlyIfCached));
        }
        if is_part {
            return Ok(pass(ctx, zone, "range"));
        }
        if let Some(answered) = miss(edge, client, ctx, resource, key, stale).await? {
            return Ok(answered);
        }
    }
    Ok(pass(ctx, zone, "vary"))
}

/// Whether requests such as this one are known to wait for nobody.
pub fn is_passed(whose: Passing, headers: &HeaderMap, ctx: &Context) -> bool {
    whose != Passing::Proven || ctx.is_proven() || headers.contains_key(AUTHORIZATION)
}

fn pass(ctx: &mut Context, zone: &Zone<Response>, detail: &'static str) -> Answered {
    zone.metrics.misses.inc();
    ctx.cache = Some(CacheStatus::Forwarded {
        why: "miss",
        detail: Some(detail),
    });
    Answered::No
}

pub async fn hit(
    client: &mut impl Client,
    ctx: &mut Context,
    zone: &Arc<Zone<Response>>,
    key: Key,
    mut object: Arc<Object>,
    now: u64,
) -> pingora::Result<Answered> {
    let zone = zone.clone();
    match coded::form(&Request::of(client.request()), ctx, &object) {
        Form::Is(form) => object = form,
        Form::ToBe(coding) => {
            let to_code = ToCode {
                zone: zone.clone(),
                key,
                object,
                coding,
            };
            object = to_code.run(ctx).await;
        }
        Form::Refused => return Ok(pass(ctx, &zone, "encoding")),
    }
    let hit = Hit { zone, object, now };
    let reply = hit.reply(&Request::of(client.request()), ctx);
    reply.send(client).await?;
    Ok(Answered::Yes)
}

/// Starts a fill behind a stale answer, unless one runs.
fn refresh(
    edge: &Arc<Edge>,
    request: &RequestHeader,
    ctx: &Context,
    resource: &Resource,
    key: Key,
    object: &Arc<Object>,
) -> pingora::Result<()> {
    let names = |since| resource.names(&Request::of(request), since);
    if let Some(filling) = resource.zone().fills.lead(&key, names) {
        let job = Job::new(edge, request, ctx, resource, filling, Some(object.clone()))?;
        tokio::spawn(fill::run(job));
    }
    Ok(())
}

/// For those who don't wait for a fill: whether a slower tier had it, fresh. Memory has it then. Who
/// comes while it is being filled has no use for that.
async fn promote(
    edge: &Arc<Edge>,
    request: &RequestHeader,
    ctx: &Context,
    resource: &Resource,
    key: &Key,
) -> pingora::Result<bool> {
    let names = |since| resource.names(&Request::of(request), since);
    match resource.zone().fills.lead(key, names) {
        Some(filling) => {
            let job = Job::new(edge, request, ctx, resource, filling, None)?;
            Ok(job.promote().await)
        }
        None => Ok(false),
    }
}

/// Fetches, or waits for whoever does. None: look again.
async fn miss(
    edge: &Arc<Edge>,
    client: &mut impl Client,
    ctx: &mut Context,
    resource: &Resource,
    key: Key,
    stale: Option<(Arc<Object>, bool)>,
) -> pingora::Result<Option<Answered>> {
    let zone = resource.zone();
    let known = stale.as_ref().map(|(object, _)| object);
    let mut follower = follow(edge, client.request(), ctx, resource, &key, known)?;
    let collapsed = !follower.leads();
    let asked_at = unix_now();
    let why = known.map_or("miss", |object| why_asked(object, asked_at));
    let opened = wait(client, &mut follower, &resource.route).await?;
    let now = unix_now();
    let is_its_own = !collapsed && !matches!(opened, Opened::Recalled(..));
    if !is_its_own && !is_readable(client.request(), &opened) {
        return Ok(Some(pass(ctx, zone, "encoding")));
    }
    match opened {
        Opened::Head(head) if head.vary.is_empty() || ours(client.request(), resource, &head) => {
            filled(ctx, zone, why, collapsed);
            stream(client, ctx, &head, follower, now).await?;
        }
        Opened::Head(_) => return Ok(None),
        Opened::Object(object) => {
            match known {
                Some(_) => {
                    zone.metrics.revalidated.inc();
                    ctx.cache = Some(CacheStatus::Revalidated {
                        why,
                        collapsed,
                        stored: is_stored(resource, &client.request().headers, &object, now),
                    });
                }
                None => filled(ctx, zone, why, collapsed),
            }
            send(client, ctx, &object, now).await?;
        }
        // Another's variant, perhaps; what this one asks for is known now.
        Opened::Recalled(object, _)
            if collapsed && !vary_names(&object.headers).is_some_and(|n| n.is_empty()) =>
        {
            return Ok(None);
        }
        Opened::Recalled(object, tier) => {
            recalled(ctx, zone, object.freshness.ttl(now), tier);
            send(client, ctx, &object, now).await?;
        }
        Opened::Mine(response) => {
            zone.metrics.misses.inc();
            let detail = why_not_stored(client.request(), ctx, resource, &response, now);
            let detail = Some(detail);
            ctx.cache = Some(CacheStatus::Forwarded { why, detail });
            own(client, ctx, response).await?;
        }
        Opened::NotShared => return Ok(Some(pass(ctx, zone, "not-stored"))),
        Opened::Failed(kind) => return failed(client, ctx, zone, stale, kind, now).await.map(Some),
    }
    Ok(Some(Answered::Yes))
}

/// Whether what a fill brought for another is in a coding that this client accepts too.
fn is_readable(request: &RequestHeader, opened: &Opened<Response>) -> bool {
    let request = &request.headers;
    match opened {
        Opened::Head(head) => coded::is_readable(request, &head.headers),
        Opened::Object(object) | Opened::Recalled(object, _) => {
            coded::is_readable(request, &object.headers)
        }
        _ => true,
    }
}

/// Whether that is what the next one finds who asks so.
fn is_stored(resource: &Resource, headers: &HeaderMap, object: &Arc<Object>, now: u64) -> bool {
    let found = resource.zone().look(resource.key.clone(), headers, now);
    matches!(found, Found::Object { object: found, .. } if Arc::ptr_eq(&found, object))
}

/// What a fill brought from the origin, this request's own or another's, answers.
fn filled(ctx: &mut Context, zone: &Zone<Response>, why: &'static str, collapsed: bool) {
    zone.metrics.filled(collapsed);
    ctx.cache = Some(CacheStatus::Miss {
        why,
        collapsed,
        detail: None,
    });
}

/// What a slower tier had answers.
pub fn recalled(ctx: &mut Context, zone: &Zone<Response>, ttl: i64, tier: &'static str) {
    zone.metrics.answered(ttl);
    ctx.cache = Some(CacheStatus::Recalled { ttl, tier });
}

/// RFC 9211 §2.2: what is stored is stale, or fresh and not what the request asks for.
pub fn why_asked(stored: &Object, now: u64) -> &'static str {
    let fresh = stored.freshness.ttl(now) > 0 && !stored.freshness.always_revalidate;
    if fresh { "request" } else { "stale" }
}

/// For Cache-Status: what the fill has found too.
fn why_not_stored(
    request: &RequestHeader,
    ctx: &Context,
    resource: &Resource,
    answer: &Response,
    now: u64,
) -> &'static str {
    let head = answer.head();
    let asked = Asked {
        method: &Method::GET,
        headers: &request.headers,
        authorized: ctx.is_proven(),
    };
    let kept = fill::judge(
        &asked,
        head.status,
        &head.headers,
        &resource.cache.ttl,
        now,
        now,
    );
    kept.err().map_or("too-large", Refused::label)
}

/// Joins the fill of `key`; as its leader, also starts it.
fn follow(
    edge: &Arc<Edge>,
    request: &RequestHeader,
    ctx: &Context,
    resource: &Resource,
    key: &Key,
    stale: Option<&Arc<Object>>,
) -> pingora::Result<Follower<Response>> {
    let (follower, job) = join(edge, request, ctx, resource, key, stale)?;
    if let Some(job) = job {
        tokio::spawn(fill::run(job));
    }
    Ok(follower)
}

/// Joins the fill of `key`; its leader gets what is to be run.
pub fn join(
    edge: &Arc<Edge>,
    request: &RequestHeader,
    ctx: &Context,
    resource: &Resource,
    key: &Key,
    stale: Option<&Arc<Object>>,
) -> pingora::Result<(Follower<Response>, Option<Job>)> {
    let now = unix_now();
    let will_do = |head: &Head| usable(&head.freshness, &request.headers, now) == Use::Fresh;
    let names = |since| resource.names(&Request::of(request), since);
    match resource.zone().fills.join(key, will_do, names) {
        Joined::Follows(follower) => Ok((follower, None)),
        Joined::Leads(filling, follower) => {
            let job = Job::new(edge, request, ctx, resource, filling, stale.cloned())?;
            let told = ctx.filled.get_or_init(Told::default).clone();
            Ok((follower, Some(job.telling(told))))
        }
    }
}

/// For the answer; those before it are passed on as they come.
async fn wait(
    client: &mut impl Client,
    follower: &mut Follower<Response>,
    route: &Route,
) -> pingora::Result<Opened<Response>> {
    let answer = async {
        loop {
            match follower.progress().await {
                Progress::Interim(interim) => send_interim(client, &interim).await?,
                Progress::Opened(opened) => return Ok(opened),
            }
        }
    };
    match route.timeout {
        None => answer.await,
        Some(limit) => pingora::time::timeout(limit, answer)
            .await
            .unwrap_or(Ok(Opened::Failed(Kind::Timeout))),
    }
}

/// Whether what is being filled is the variant that this request asks for.
fn ours(request: &RequestHeader, resource: &Resource, head: &Head) -> bool {
    let request = &request.headers;
    resource
        .zone()
        .place(&resource.key, &head.vary, request, &head.names)
        == head.key
}

/// Answers with what is stale, if it may be used when the origin fails.
pub async fn failed(
    client: &mut impl Client,
    ctx: &mut Context,
    zone: &Zone<Response>,
    stale: Option<(Arc<Object>, bool)>,
    kind: Kind,
    now: u64,
) -> pingora::Result<Answered> {
    // The wait may have outlasted what was still allowed when it began.
    if let Some((object, true)) = stale
        && object.freshness.hides_errors(now)
    {
        zone.metrics.stale.inc();
        ctx.cache = Some(CacheStatus::StaleOnError {
            ttl: object.freshness.ttl(now),
        });
        send(client, ctx, &object, now).await?;
        return Ok(Answered::Yes);
    }
    ctx.cache = Some(CacheStatus::Forwarded {
        why: "miss",
        detail: None,
    });
    ctx.error = Some(format!("{kind:?}"));
    Ok(Answered::Refused(Problem::Upstream(kind)))
}

/// Sends what a stored object says to this request.
pub async fn send(
    client: &mut impl Client,
    ctx: &Context,
    object: &Arc<Object>,
    now: u64,
) -> pingora::Result<()> {
    let request = Request::of(client.request());
    let form = coded::form(&request, ctx, object);
    let object = match &form {
        Form::Is(form) => form,
        _ => object,
    };
    let reply = Reply::new(object, &request, ctx, now);
    reply.send(client).await
}

/// Sends a fill's answer while it comes.
async fn stream(
    client: &mut impl Client,
    ctx: &mut Context,
    head: &Head,
    mut follower: Follower<Response>,
    now: u64,
) -> pingora::Result<()> {
    let request = client.request();
    let age = head.freshness.age(now);
    if head.status == StatusCode::OK && not_modified(&request.headers, &head.headers) {
        let mut fields = reply::not_modified_fields(&head.headers, &request.headers);
        reply::complete(&mut fields, age, ctx);
        return client
            .send_head(reply::head(StatusCode::NOT_MODIFIED, fields), true)
            .await;
    }
    let bodiless = request.method == Method::HEAD || has_no_body(head.status);
    let mut fields = head.headers.clone();
    // One encoder for a fill, however many wait for it; the others get it as it is.
    let mut coding = match follower.leads() {
        true => coded::begin(&mut fields, head.status, &Request::of(request), ctx),
        false => None,
    };
    frame(&mut fields, head.status, request.version);
    reply::complete(&mut fields, age, ctx);
    client
        .send_head(reply::head(head.status, fields), bodiless)
        .await?;
    if bodiless {
        return Ok(());
    }
    loop {
        match next(client, follower.chunk()).await {
            Ok(Some(chunk)) => write(client, &mut coding, chunk).await?,
            Ok(None) => return end(client, coding).await,
            Err(kind) => return Err(broken(ctx, kind)),
        }
    }
}

/// Sends an answer to a fill that only this client may see. A fill asks for the whole: that the
/// client has it already is found out here.
pub async fn own(
    client: &mut impl Client,
    ctx: &mut Context,
    mut response: Response,
) -> pingora::Result<()> {
    stick(&client.request().headers, ctx, &mut response)?;
    let (request, head) = (client.request(), response.head());
    let is_known = request.method == Method::GET
        && head.status == StatusCode::OK
        && not_modified(&request.headers, &head.headers);
    let status = is_known.then_some(StatusCode::NOT_MODIFIED);
    relay(client, ctx, response, status).await
}

/// Has the client stay with the server that answered it. What is stored or shared says nothing of that.
fn stick(asked: &HeaderMap, ctx: &mut Context, response: &mut Response) -> pingora::Result<()> {
    let server = response.lease().server().id;
    ctx.preferred = balance::preferred(asked, ctx.pool());
    match balance::stick(asked, server, ctx) {
        Some(cookie) => response.set_cookie(cookie),
        None => Ok(()),
    }
}
