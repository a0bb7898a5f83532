//! The whole source of a rendition: out of the cache, or by the fill that everybody shares.

use super::super::cached;
use super::super::context::{Context, Told};
use super::super::fill::{self, Job};
use super::super::request::Request;
use super::super::resource::{Resource, unix_now};
use super::Edge;
use super::made::is_svg;
use crate::cache::{
    Follower, Found, Freshness, Head, Name, Names, Object, Opened, Use, usable, vary_names,
};
use crate::error::Kind;
use crate::runtime::{Images, SourceRoom};
use crate::upstream::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use pingora::http::RequestHeader;
use std::sync::Arc;
use tokio::time::timeout;

/// Bytes of a source that are read without room for it: most are no longer, and they tell what it is.
const SMALL: u64 = 64 << 10;

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
    /// `alone`: it is not waited for together with others. `folders`: what renditions are purged by
    /// beside it, which it must be newer than too.
    pub fn new(
        edge: &Arc<Edge>,
        request: &RequestHeader,
        ctx: &Context,
        source: &Resource,
        max_source: u64,
        alone: bool,
        folders: &[Name],
    ) -> pingora::Result<Obtain> {
        let is_kept = |object: &Object| source.zone().is_kept(&object.names.also(folders));
        let (now, fields) = (unix_now(), source.told(&request.headers));
        let (key, stale) = match source.zone().find(source.key.clone(), &fields, now) {
            Found::Object { key, object } => match usable(&object.freshness, &request.headers, now)
            {
                Use::Fresh if is_kept(&object) => return Ok(Obtain::Stored(object)),
                // A rendition of it would be stale at once, and made again and again.
                _ => (key, Some(object)),
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

    pub async fn run(self, images: &Images) -> Obtained {
        match self {
            Obtain::Stored(object) => Obtained::Object(object),
            Obtain::Follow(following) => following.run(images).await,
        }
    }
}

impl Following {
    async fn run(mut self, images: &Images) -> Obtained {
        if let Some(job) = self.job.take() {
            tokio::spawn(fill::run(job));
        }
        let leads = self.follower.leads();
        match self.follower.opened().await {
            Opened::Head(head) if leads || self.is_ours(&head) => {
                match self.whole(&head, images).await {
                    Ok(object) => Obtained::Object(object),
                    Err(kind) => Obtained::Failed(kind),
                }
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

    /// What the cache holds too takes no room; for what it does not, whoever reads along waits for
    /// none: the others' reading would wait for that.
    async fn whole(&mut self, head: &Head, images: &Images) -> Result<Arc<Object>, Kind> {
        let mut body = Body::new(&head.headers, images);
        while let Some(chunk) = self.follower.chunk().await? {
            body.push(chunk)?;
            if !self.follower.is_kept() {
                body.hold_at_once(images)?;
            }
        }
        // All who waited for it have the same bytes then, and what they make of them together.
        if let Some(stored) = self.stored(head, &body) {
            return Ok(stored);
        }
        body.hold_at_once(images)?;
        let (names, headers) = (head.names.clone(), head.headers.clone());
        let body = body.into_bytes();
        let object = Object::new(head.status, headers, body, head.freshness, names);
        Ok(Arc::new(object))
    }

    /// Whoever has the whole of what can be stored finds it there.
    fn stored(&self, head: &Head, body: &Body<'_>) -> Option<Arc<Object>> {
        let (zone, now) = (self.source.zone(), unix_now());
        let is_it = |object: &Object| object.freshness == head.freshness && body.is(&object.body);
        match zone.find(head.key.clone(), &HeaderMap::new(), now) {
            Found::Object { object, .. } if object.freshness.ttl(now) > 0 || is_it(&object) => {
                Some(object)
            }
            _ => None,
        }
    }
}

fn varies(answer: &HeaderMap) -> bool {
    vary_names(answer).is_none_or(|names| !names.is_empty())
}

/// Why an answer for one request alone was not read.
pub enum Unread {
    /// More is known to come than may be read.
    TooLarge(Response),
    /// There was no room for it in time.
    Full(Response),
    Failed(Kind),
}

/// The whole of an answer for one request alone, once there is room for it. `tell`: fields that it
/// tells the edge something by.
pub async fn whole(
    mut answer: Response,
    images: &Images,
    names: Names,
    tell: &[HeaderName],
) -> Result<Arc<Object>, Unread> {
    let headers = answer.head().headers.clone();
    let mut body = Body::new(&headers, images);
    while let Some(chunk) = next(&mut answer).await? {
        body.push(chunk).map_err(Unread::Failed)?;
        let unread: fn(Response) -> Unread = if body.is_too_large() {
            Unread::TooLarge
        } else if body.wants_room() && !body.hold(images).await {
            Unread::Full
        } else {
            continue;
        };
        // It may be seen as it is.
        body.is_no_svg().map_err(Unread::Failed)?;
        answer.unread(body.into_bytes());
        return Err(unread(answer));
    }
    let headers = fill::end_to_end(headers.clone(), false, tell);
    let (body, freshness) = (body.into_bytes(), Freshness::none(unix_now()));
    let object = Object::new(answer.head().status, headers, body, freshness, names);
    Ok(Arc::new(object))
}

async fn next(answer: &mut Response) -> Result<Option<Bytes>, Unread> {
    answer.chunk().await.map_err(|e| Unread::Failed(e.kind))
}

/// One that is read to work on, within a bound.
struct Body<'h> {
    headers: &'h HeaderMap,
    /// Bytes that will come, if they are known.
    length: Option<u64>,
    most: u64,
    chunks: Vec<Bytes>,
    read: u64,
    held: Option<SourceRoom>,
}

impl<'h> Body<'h> {
    fn new(headers: &'h HeaderMap, images: &Images) -> Body<'h> {
        Body {
            headers,
            length: fill::content_length(headers),
            most: images.settings.max_source,
            chunks: Vec::new(),
            read: 0,
            held: None,
        }
    }

    /// What is too large may be seen as it is, unless that is SVG.
    fn push(&mut self, chunk: Bytes) -> Result<(), Kind> {
        self.read += chunk.len() as u64;
        self.chunks.push(chunk);
        if self.read <= self.most {
            return Ok(());
        }
        self.is_no_svg().and(Err(Kind::TooLarge))
    }

    fn is_no_svg(&self) -> Result<(), Kind> {
        let start = self.chunks.iter().flatten().take(SMALL as usize);
        let start: Vec<u8> = start.copied().collect();
        match is_svg(self.headers, &start) {
            true => Err(Kind::NotAPicture),
            false => Ok(()),
        }
    }

    fn is_too_large(&self) -> bool {
        self.length.is_some_and(|length| length > self.most)
    }

    fn wants_room(&self) -> bool {
        self.held.is_none() && self.read > SMALL
    }

    fn wanted(&self) -> u64 {
        self.length.unwrap_or(self.most).max(self.read)
    }

    /// Waits for room for all of it, for as long as clients wait for a rendition.
    async fn hold(&mut self, images: &Images) -> bool {
        let room = images.memory.hold(self.wanted());
        self.held = timeout(images.settings.max_time, room).await.ok();
        self.held.is_some()
    }

    fn hold_at_once(&mut self, images: &Images) -> Result<(), Kind> {
        if self.wants_room() {
            let room = images.memory.try_hold(self.wanted());
            self.held = Some(room.ok_or(Kind::Full)?);
        }
        Ok(())
    }

    fn is(&self, other: &[u8]) -> bool {
        let mut rest = other;
        let mut begins = |chunk: &Bytes| {
            let after = rest.strip_prefix(&**chunk);
            rest = after.unwrap_or_default();
            after.is_some()
        };
        self.read == other.len() as u64 && self.chunks.iter().all(&mut begins)
    }

    /// The room goes back with the last who has the bytes.
    fn into_bytes(self) -> Bytes {
        let whole = self.chunks.concat();
        match self.held {
            None => whole.into(),
            Some(mut held) => {
                held.keep(whole.len() as u64);
                Bytes::from_owner(Roomed { whole, _held: held })
            }
        }
    }
}

struct Roomed {
    whole: Vec<u8>,
    _held: SourceRoom,
}

impl AsRef<[u8]> for Roomed {
    fn as_ref(&self) -> &[u8] {
        &self.whole
    }
}
