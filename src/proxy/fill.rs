//! A fill: one fetch that ends in the cache, on a task of its own. It survives the client that
//! caused it.

use super::coded;
use super::context::{Context, Told};
use super::request::Request;
use super::resource::{Resource, unix_now};
use super::trace::Part;
use super::{Edge, balance, headers};
use crate::cache::{
    Asked, Filling, Found, Freshness, Head, Interim, Key, Object, Opening, Outcome, Passing,
    Recalled, Refused, RouteTtl, Use, confirms, has_tags, storable, usable, vary_names,
};
use crate::error::{Error, Kind};
use crate::guard::is_proof_field;
use crate::runtime::{Route, RouteCache};
use crate::upstream::{Ends, Fetch, Journal, Pool, Response, ServerId};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AGE, CONTENT_LENGTH, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

pub struct Job {
    edge: Arc<Edge>,
    route: Arc<Route>,
    pool: Arc<Pool>,
    cache: Arc<RouteCache>,
    filling: Filling<Response>,
    /// Of the object without variants.
    key: Key,
    /// What that hangs on in slower tiers; often itself.
    root: Key,
    /// What the leading client sent, for the policy and for Vary.
    client: HeaderMap,
    /// It has proven who asks.
    authorized: bool,
    /// Bytes of a body that is streamed to all who wait, though perhaps not stored.
    largest: u64,
    /// It is asked of an upstream, not of a stranger.
    is_ours: bool,
    request: RequestHeader,
    stale: Option<Arc<Object>>,
    /// Set when `stale` is out of a slower tier, so that nobody else has it: its name.
    recalled: Option<&'static str>,
    /// For an upstream that balances by hash.
    balance_key: Option<u64>,
    /// The server that the leading client is to stay with.
    preferred: Option<ServerId>,
    /// Of the leading client's connection.
    ends: Option<Ends>,
    /// Of the leading client's trace.
    part: Option<Part>,
    /// Where that client's log looks.
    told: Option<Told>,
}

impl Job {
    pub fn new(
        edge: &Arc<Edge>,
        client: &RequestHeader,
        ctx: &Context,
        resource: &Resource,
        filling: Filling<Response>,
        stale: Option<Arc<Object>>,
    ) -> pingora::Result<Job> {
        let target = resource.target.as_deref().unwrap_or(client.raw_path());
        let mut request = match &resource.elsewhere {
            Some(place) => headers::for_stranger(&place.host, target)?,
            None => headers::for_fetch(client, ctx, resource.target.as_deref())?,
        };
        // What the client proves to us, it proves to nobody else.
        let is_ours = resource.elsewhere.is_none();
        let fields = is_ours.then(|| client.headers.clone());
        let pool = resource.pool(ctx).clone();
        if let Some(stale) = &stale {
            make_conditional(&mut request, &stale.headers)?;
        }
        Ok(Job {
            balance_key: balance::key(&client.headers, target, ctx),
            preferred: balance::preferred(&client.headers, &pool),
            pool,
            edge: edge.clone(),
            route: resource.route.clone(),
            cache: resource.cache.clone(),
            filling,
            key: resource.key.clone(),
            root: resource.root(&Request::of(client), ctx),
            client: fields.unwrap_or_default(),
            authorized: is_ours && ctx.is_proven(),
            largest: resource.zone().max_object(),
            is_ours,
            request,
            stale,
            recalled: None,
            ends: is_ours.then(|| balance::ends(ctx)),
            part: Part::of(ctx),
            told: None,
        })
    }

    /// Lets somebody know what became of it.
    pub fn telling(self, told: Told) -> Job {
        let told = Some(told);
        Job { told, ..self }
    }

    /// Of such a size, others may read it too.
    pub fn reading(self, bytes: u64) -> Job {
        let largest = self.largest.max(bytes);
        Job { largest, ..self }
    }

    /// Its object is not needed after all; if somebody else waits for it, it is fetched.
    pub fn abandon(self) {
        if !self.filling.abandon() {
            tokio::spawn(run(self));
        }
    }

    /// Looks into the slower tiers, and no further. True if memory has it now, fresh.
    pub async fn promote(mut self) -> bool {
        let found = self.recall().await;
        self.abandon();
        matches!(found, Ok(Some(_)))
    }

    /// Between looking and leading, another may have filled.
    fn filled_meanwhile(&self) -> Option<Opening<Response>> {
        let now = unix_now();
        match self.cache.zone.find(self.key.clone(), &self.client, now) {
            // What is being refreshed may be fresh still.
            Found::Object { key, object }
                if usable(&object.freshness, &self.client, now) == Use::Fresh
                    && !self
                        .stale
                        .as_ref()
                        .is_some_and(|old| Arc::ptr_eq(old, &object)) =>
            {
                Some(for_waiters(&self.filling, &key, object))
            }
            _ => None,
        }
    }

    /// What a slower tier has. What is fresh needs no fetch; what is stale needs a shorter one.
    async fn recall(&mut self) -> pingora::Result<Option<(Arc<Object>, &'static str)>> {
        let (zone, now) = (&self.cache.zone, unix_now());
        let found = zone.recall(&self.root, &self.key, &self.client, now);
        let Some(Recalled { object, key, tier }) = found.await else {
            return Ok(None);
        };
        if self.filling.is_outdated() {
            return Ok(None);
        }
        let (status, fields, body) = (object.status, &object.headers, &object.body);
        let encoded = coded::to_be(&self.route, status, fields, body);
        let object = Arc::new(Object { encoded, ..*object });
        // What is fetched anew before its end is there as well.
        let is_newer = |known: &Arc<Object>| object.freshness.stored_at > known.freshness.stored_at;
        if !self.stale.as_ref().is_none_or(is_newer) {
            return Ok(None);
        }
        if usable(&object.freshness, &self.client, now) == Use::Fresh {
            zone.promote(key, object.clone());
            return Ok(Some((object, tier)));
        }
        make_conditional(&mut self.request, &object.headers)?;
        self.stale = Some(object);
        self.recalled = Some(tier);
        Ok(None)
    }

    /// One request to a server, and what it came to.
    async fn ask(&self) -> Result<Response, Error> {
        let fetch = Fetch {
            request: &self.request,
            key: self.balance_key,
            preferred: self.preferred,
            upgrade: false,
            priority: self.route.priority,
            deadline: self.route.timeout.map(|limit| Instant::now() + limit),
            ends: self.ends,
            // Strangers need not know.
            trace: self.part.as_ref().filter(|_| self.is_ours).map(|p| p.trace),
        };
        let client = &self.edge.foundation.client;
        let (mut journal, interim) = (Journal::default(), |interim: &_| {
            self.filling.interim(to_all(interim));
        });
        let answer = client.fetch(&self.pool, &fetch, &mut journal, &interim);
        let answer = answer.await;
        if let Some(part) = &self.part {
            part.tell(&journal);
        }
        if let Some(told) = &self.told {
            // A request that looks more than once hears of the first.
            let _ = told.set(journal);
        }
        answer
    }

    /// False for a 304 about something else than what is stored: that is no use, and neither is it an
    /// answer.
    fn is_about_stale(&self, answer: &Response) -> bool {
        let (head, stale) = (answer.head(), self.stale.as_ref());
        head.status != StatusCode::NOT_MODIFIED
            || stale.is_none_or(|stale| confirms(&head.headers, &stale.headers))
    }

    /// What is kept of an answer's fields.
    fn to_keep(&self, answer: &HeaderMap, framed: bool) -> HeaderMap {
        let tell = &self.edge.runtime.load().invalidate_headers;
        end_to_end(answer.clone(), framed, tell)
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            method: &http::Method::GET,
            headers: &self.client,
            authorized: self.authorized,
        }
    }
}

fn make_conditional(request: &mut RequestHeader, stored: &HeaderMap) -> pingora::Result<()> {
    if let Some(tag) = stored.get(ETAG) {
        request.insert_header(IF_NONE_MATCH, tag.clone())?;
    }
    if let Some(changed) = stored.get(LAST_MODIFIED) {
        request.insert_header(IF_MODIFIED_SINCE, changed.clone())?;
    }
    Ok(())
}

pub async fn run(mut job: Job) {
    if let Some(opening) = job.filled_meanwhile() {
        return job.filling.open(opening);
    }
    match job.recall().await {
        Ok(None) => {}
        Ok(Some((object, tier))) => return job.filling.open(Opening::Recalled(object, tier)),
        Err(e) => tracing::debug!(error = %e, "a recalled object's fields can't be sent"),
    }
    let mut asked_at = unix_now();
    let mut answer = job.ask().await;
    if answer.as_ref().is_ok_and(|said| !job.is_about_stale(said)) {
        drop(answer);
        job.request.remove_header(&IF_NONE_MATCH);
        job.request.remove_header(&IF_MODIFIED_SINCE);
        asked_at = unix_now();
        answer = job.ask().await;
    }
    match answer {
        Ok(response) => settle(job, response, asked_at).await,
        Err(e) => fail(&job, &e),
    }
}

/// An answer before the answer, as all who wait for the answer get it.
pub fn to_all(interim: &ResponseHeader) -> Interim {
    Interim {
        status: interim.status,
        headers: end_to_end(interim.headers.clone(), false, &[]),
    }
}

fn fail(job: &Job, e: &Error) {
    job.cache.zone.metrics.fills_failed.inc();
    tracing::debug!(route = %job.route.name, error = %e, "fill failed");
    job.filling.open(match (&job.stale, job.recalled) {
        (Some(stale), Some(tier)) if stale.freshness.hides_errors(unix_now()) => {
            Opening::Recalled(stale.clone(), tier)
        }
        _ => Opening::Failed(e.kind),
    });
}

/// The head has come: what is it good for?
async fn settle(job: Job, response: Response, asked_at: u64) {
    if !job.is_about_stale(&response) {
        return fail(&job, &Error::new(Kind::BadAnswer, "a 304 to no condition"));
    }
    let (now, head) = (unix_now(), response.head());
    if let Some(stale) = &job.stale {
        if head.status == StatusCode::NOT_MODIFIED {
            return revalidated(&job, stale, &head.headers, asked_at, now);
        }
        if head.status.is_server_error() && stale.freshness.hides_errors(now) {
            return fail(&job, &Error::new(Kind::BadAnswer, head.status.as_str()));
        }
    }
    let kept = judge(
        &job.asked(),
        head.status,
        &head.headers,
        &job.cache.ttl,
        asked_at,
        now,
    );
    match kept {
        Ok(_) if content_length(&head.headers).is_some_and(|length| length > job.largest) => {
            private(job, response, Some(Passing::All))
        }
        Ok(freshness) => store(job, response, freshness).await,
        Err(refused) => {
            let passing = refused.passes(head.status);
            private(job, response, passing);
        }
    }
}

/// As the cache judges, but for answers that vary by claims: what the edge itself adds is not among
/// the fields by which variants are told apart.
pub fn judge(
    asked: &Asked<'_>,
    status: StatusCode,
    answer: &HeaderMap,
    ttl: &RouteTtl,
    asked_at: u64,
    now: u64,
) -> Result<Freshness, Refused> {
    let kept = storable(asked, status, answer, ttl, asked_at, now)?;
    let by_claim = vary_names(answer).is_some_and(|names| names.iter().any(is_proof_field));
    match by_claim {
        true => Err(Refused::VaryClaim),
        false => Ok(kept),
    }
}

pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn private(job: Job, response: Response, passing: Option<Passing>) {
    let zone = &job.cache.zone;
    zone.metrics.fills_uncacheable.inc();
    if let Some(whose) = passing {
        let key = job.filling.key().clone();
        zone.pass(key, whose, unix_now(), job.filling.names());
    }
    job.filling.open(Opening::Private(Some(response)));
}

/// RFC 9111 §4.3.4: the stored answer's fields are brought up to date, and it is fresh anew.
fn revalidated(job: &Job, stale: &Object, answer: &HeaderMap, asked_at: u64, now: u64) {
    // Else it would be as old as what was stored.
    let answer = &dated(answer.clone());
    let mut headers = stale.headers.clone();
    for name in answer.keys().filter(|name| **name != CONTENT_LENGTH) {
        headers.remove(name);
    }
    for (name, value) in job.to_keep(answer, false).iter() {
        if name != CONTENT_LENGTH {
            headers.append(name, value.clone());
        }
    }
    // What is said to caches alone is not stored, nor is Age, and both count as the server says now.
    let mut said = headers.clone();
    for name in headers::TO_THE_CACHE.iter().chain([&AGE]) {
        said.extend(
            answer
                .get_all(name)
                .iter()
                .map(|v| (name.clone(), v.clone())),
        );
    }
    let kept = judge(
        &job.asked(),
        stale.status,
        &said,
        &job.cache.ttl,
        asked_at,
        now,
    );
    coded::announce(&job.route, stale.status, &mut headers);
    let vary = selecting(&job.route, &headers);
    let mut object = Object::new(
        stale.status,
        headers,
        stale.body.clone(),
        kept.unwrap_or(stale.freshness),
        match has_tags(answer) {
            true => job.filling.names().tagged(answer),
            false => stale.names.asked_with(job.filling.names()),
        },
    );
    object.encoded = coded::renewed(&job.route, stale, &object);
    let object = Arc::new(object);
    let zone = &job.cache.zone;
    if let Err(refused) = kept {
        // Such as one with a cookie: it answers whom it was sent to, and nobody else.
        if !(refused.is_about_one() && stale.freshness.is_of_use(now)) {
            zone.invalidate(job.filling.key());
        }
        return job.filling.open(Opening::Own(object));
    }
    let key = zone.place(&job.key, &vary, &job.client, &object.names);
    let opening = for_waiters(&job.filling, &key, object.clone());
    if !job.filling.is_outdated() && zone.store(key, object.clone()) {
        zone.hand_down(&job.root, &job.key, &vary, &job.client, &object);
    }
    job.filling.open(opening);
}

/// What is stored under `key`: for all who wait, or, where its Vary says more than the key that they
/// wait by, for the leader's client alone.
fn for_waiters(filling: &Filling<Response>, key: &Key, object: Arc<Object>) -> Opening<Response> {
    match key == filling.key() {
        true => Opening::Object(object),
        false => Opening::Own(object),
    }
}

/// The request fields by which an answer is one of several.
pub fn selecting(route: &Route, answer: &HeaderMap) -> Vec<HeaderName> {
    let mut names = vary_names(answer).unwrap_or_default();
    if route.compress {
        // All fetches of the route ask for the same coding: none.
        names.retain(|name| *name != ACCEPT_ENCODING);
    }
    names
}

/// Streams the answer to all who wait, and keeps it when it was whole.
async fn store(job: Job, mut response: Response, freshness: Freshness) {
    let zone = job.cache.zone.clone();
    let status = response.head().status;
    let names = job.filling.names().tagged(&response.head().headers);
    let mut headers = dated(job.to_keep(&response.head().headers, true));
    coded::announce(&job.route, status, &mut headers);
    let vary = selecting(&job.route, &headers);
    let key = zone.place(&job.key, &vary, &job.client, &names);
    let head = Head {
        status,
        headers: headers.clone(),
        freshness,
        names: names.clone(),
        shared: freshness.ttl(unix_now()) > 0 && !freshness.always_revalidate,
        key: key.clone(),
        vary: vary.clone(),
        length: content_length(&headers),
    };
    let mut left = head.length;
    job.filling.open(Opening::Head(Arc::new(head)));
    let mut last = Bytes::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                left = left.map(|left| left.saturating_sub(chunk.len() as u64));
                if left == Some(0) {
                    // Told with the end, which is at hand.
                    last = chunk;
                } else if !job.filling.push(chunk).await {
                    return;
                }
            }
            Ok(None) => break,
            Err(e) => {
                zone.metrics.fills_failed.inc();
                tracing::debug!(route = %job.route.name, error = %e, "fill broke off");
                return job.filling.fail(e.kind);
            }
        }
    }
    job.filling.finish(last, |outcome| match outcome {
        Outcome::Body(body) => {
            let encoded = coded::to_be(&job.route, status, &headers, &body);
            let mut object = Object::new(status, headers, body, freshness, names);
            object.encoded = encoded;
            let object = Arc::new(object);
            if zone.store(key, object.clone()) {
                zone.hand_down(&job.root, &job.key, &vary, &job.client, &object);
            }
        }
        Outcome::NotKept => zone.metrics.fills_uncacheable.inc(),
    });
}

/// RFC 9110 §6.6.1: an answer without a Date gets the time of its receipt, now.
fn dated(mut fields: HeaderMap) -> HeaderMap {
    fields
        .entry(DATE)
        .or_insert_with(|| headers::value(&httpdate::fmt_http_date(SystemTime::now())));
    fields
}

/// What is kept of an answer's fields: not the connection's, and not Age, which is computed.
/// RFC 9111 §3.1.
pub fn end_to_end(mut fields: HeaderMap, framed: bool, tell: &[HeaderName]) -> HeaderMap {
    headers::strip_from_server(&mut fields, false, tell);
    fields.remove(AGE);
    fields.remove(TRANSFER_ENCODING);
    if !framed {
        fields.remove(CONTENT_LENGTH);
    }
    fields
}
