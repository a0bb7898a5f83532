//! The whole source of a rendition: out of the cache, or by the fill that everybody shares.

use super::super::cached;
use super::super::context::{Context, Told};
use super::super::fill::{self, Job};
use super::super::request::Request;
use super::super::resource::{Resource, unix_now};
use super::Edge;
use crate::cache::{
    Follower, Found, Freshness, Head, Names, Object, Opened, Use, usable, vary_names,
};
use crate::error::Kind;
use crate::upstream::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use pingora::http::RequestHeader;
use std::sync::Arc;

/// How it is to be had.
pub enum Obtain {
    Stored(Arc<Object>),
    Follow(Box<Following>),
}

pub struct Following {
    source: Resource,
    /// What the server is told, to know by whether another's variant is this request's too.
    fields: HeaderMap,
    follower: Follower<Response>,
    /// What fills it, if nobody else does.
    job: Option<Job>,
}

pub enum Obtained {
    Object(Arc<Object>),
    /// What was stored, brought up to date by an answer for this request alone.
    Own(Arc<Object>),
    /// An answer for this request alone.
    Private(Response),
    /// What came was for another request.
    NotShared,
    Failed(Kind),
}

impl Obtain {
    /// `alone`: it is not waited for together with others.
    pub fn new(
        edge: &Arc<Edge>,
        request: &RequestHeader,
        ctx: &Context,
        source: &Resource,
        max_source: u64,
        alone: bool,
    ) -> pingora::Result<Obtain> {
        let (now, fields) = (unix_now(), source.told(&request.headers));
        let (key, stale) = match source.zone().find(source.key.clone(), &fields, now) {
            Found::Object { key, object } => match usable(&object.freshness, &request.headers, now)
            {
                Use::Fresh => return Ok(Obtain::Stored(object)),
                // A rendition of it would be stale at once, and made again and again.
                Use::StaleWhileRevalidate | Use::Revalidate { .. } => (key, Some(object)),
            },
            Found::Nothing { key } | Found::Pass { key, .. } => (key, None),
        };
        let (follower, job) = match alone {
            false => cached::join(edge, request, ctx, source, &key, stale.as_ref())?,
            true => {
                let names = |since| source.names(&Request::of(request), since);
                let (filling, follower) = source.zone().fills.alone(&key, names);
                let job = Job::new(edge, request, ctx, source, filling, None)?;
                let told = ctx.filled.get_or_init(Told::default).clone();
                (follower, Some(job.telling(told)))
            }
        };
        Ok(Obtain::Follow(Box::new(Following {
            source: source.clone(),
            fields: fields.into_owned(),
            follower,
            job: job.map(|job| job.reading(max_source)),
        })))
    }

    /// The source is not needed.
    pub fn abandon(self) {
        if let Obtain::Follow(following) = self
            && let Some(job) = following.job
        {
            job.abandon();
        }
    }

    pub async fn run(self, max_source: u64) -> Obtained {
        match self {
            Obtain::Stored(object) => Obtained::Object(object),
            Obtain::Follow(following) => following.run(max_source).await,
        }
    }
}

impl Following {
    async fn run(mut self, max_source: u64) -> Obtained {
        if let Some(job) = self.job.take() {
            tokio::spawn(fill::run(job));
        }
        let leads = self.follower.leads();
        match self.follower.opened().await {
            Opened::Head(head) if leads || self.is_ours(&head) => {
                self.whole(&head, max_source).await
            }
            // As long as nothing was known of variants, any of them may have come.
            Opened::Recalled(object, _) if !leads && varies(&object.headers) => Obtained::NotShared,
            Opened::Object(object) if leads && !self.is_stored(&object) => Obtained::Own(object),
            Opened::Object(object) | Opened::Recalled(object, _) => Obtained::Object(object),
            Opened::Mine(response) => Obtained::Private(response),
            Opened::Head(_) | Opened::NotShared => Obtained::NotShared,
            Opened::Failed(kind) => Obtained::Failed(kind),
        }
    }

    fn is_ours(&self, head: &Head) -> bool {
        let (zone, key) = (self.source.zone(), &self.source.key);
        zone.place(key, &head.vary, &self.fields, &head.names) == head.key
    }

    fn is_stored(&self, object: &Arc<Object>) -> bool {
        let (zone, key) = (self.source.zone(), self.source.key.clone());
        let found = zone.look(key, &self.fields, unix_now());
        matches!(found, Found::Object { object: stored, .. } if Arc::ptr_eq(&stored, object))
    }

    async fn whole(&mut self, head: &Head, max_source: u64) -> Obtained {
        let mut body = Body::new(max_source);
        loop {
            match self.follower.chunk().await {
                Ok(Some(chunk)) if body.has_room_for(&chunk) => body.chunks.push(chunk),
                Ok(Some(_)) => return Obtained::Failed(Kind::TooLarge),
                Ok(None) => break,
                Err(kind) => return Obtained::Failed(kind),
            }
        }
        // All who waited for it have the same bytes then, and what they make of them together.
        Obtained::Object(self.stored(head).unwrap_or_else(|| {
            let (names, headers) = (head.names.clone(), head.headers.clone());
            let body = body.into_bytes();
            Arc::new(Object::new(
                head.status,
                headers,
                body,
                head.freshness,
                names,
            ))
        }))
    }

    /// Whoever has the whole of what can be stored finds it there.
    fn stored(&self, head: &Head) -> Option<Arc<Object>> {
        let now = unix_now();
        match self
            .source
            .zone()
            .find(head.key.clone(), &HeaderMap::new(), now)
        {
            Found::Object { object, .. } if object.freshness.ttl(now) > 0 => Some(object),
            _ => None,
        }
    }
}

fn varies(answer: &HeaderMap) -> bool {
    vary_names(answer).is_none_or(|names| !names.is_empty())
}

/// Whether more is known to come than may be read.
pub fn is_too_large(answer: &Response, max_source: u64) -> bool {
    fill::content_length(&answer.head().headers).is_some_and(|length| length > max_source)
}

/// The whole of an answer for one request alone. `tell`: fields that it tells the edge something by.
pub async fn whole(
    mut answer: Response,
    max_source: u64,
    names: Names,
    tell: &[HeaderName],
) -> Result<Arc<Object>, Kind> {
    let mut body = Body::new(max_source);
    while let Some(chunk) = answer.chunk().await.map_err(|e| e.kind)? {
        if !body.has_room_for(&chunk) {
            return Err(Kind::TooLarge);
        }
        body.chunks.push(chunk);
    }
    let head = answer.head();
    let headers = fill::end_to_end(head.headers.clone(), false, tell);
    let body = body.into_bytes();
    let freshness = Freshness::none(unix_now());
    Ok(Arc::new(Object::new(
        head.status,
        headers,
        body,
        freshness,
        names,
    )))
}

/// One that is read to work on, within a bound.
struct Body {
    chunks: Vec<Bytes>,
    room: u64,
}

impl Body {
    fn new(room: u64) -> Body {
        let chunks = Vec::new();
        Body { chunks, room }
    }

    /// Takes it, if there is any.
    fn has_room_for(&mut self, chunk: &Bytes) -> bool {
        let room = self.room.checked_sub(chunk.len() as u64);
        self.room = room.unwrap_or(self.room);
        room.is_some()
    }

    fn into_bytes(self) -> Bytes {
        self.chunks.concat().into()
    }
}
