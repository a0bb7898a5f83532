//! The whole source of a rendition: out of the cache, or by the fill that everybody shares.

use super::super::cached;
use super::super::context::Context;
use super::super::fill::{self, Job};
use super::super::resource::{Resource, unix_now};
use super::Edge;
use crate::cache::{Follower, Found, Head, Object, Opened, Use, Zone, usable};
use crate::error::Kind;
use crate::upstream::Response;
use bytes::Bytes;
use http::HeaderMap;
use pingora::http::RequestHeader;
use std::sync::Arc;

/// How it is to be had.
pub enum Obtain {
    Stored(Arc<Object>),
    Follow(Following),
}

pub struct Following {
    zone: Arc<Zone<Response>>,
    follower: Follower<Response>,
    /// What fills it, if nobody else does.
    job: Option<Box<Job>>,
}

pub enum Obtained {
    Object(Arc<Object>),
    /// With the answer, if it was this request that asked.
    NotShared(Option<Response>),
    Failed(Kind),
}

impl Obtain {
    pub fn new(
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
            Found::Nothing { key } | Found::Pass { key, .. } => (key, None),
        };
        let (follower, job) = cached::join(edge, request, ctx, source, &key, stale.as_ref())?;
        Ok(Obtain::Follow(Following {
            zone: source.zone().clone(),
            follower,
            job: job.map(Box::new),
        }))
    }

    /// The source is not needed.
    pub fn abandon(self) {
        if let Obtain::Follow(Following { job: Some(job), .. }) = self {
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
            tokio::spawn(fill::run(*job));
        }
        match self.follower.opened().await {
            Opened::Object(object) | Opened::Recalled(object, _) => Obtained::Object(object),
            Opened::Mine(response) => Obtained::NotShared(Some(response)),
            Opened::NotShared => Obtained::NotShared(None),
            Opened::Failed(kind) => Obtained::Failed(kind),
            Opened::Head(head) => self.whole(&head, max_source).await,
        }
    }

    /// One that is too large to read is not for us: the client gets it as it is.
    async fn whole(&mut self, head: &Head, max_source: u64) -> Obtained {
        let (mut chunks, mut length) = (Vec::new(), 0);
        loop {
            match self.follower.chunk().await {
                Ok(Some(chunk)) => {
                    length += chunk.len();
                    chunks.push(chunk);
                }
                Ok(None) => break,
                Err(kind) => return Obtained::Failed(kind),
            }
            if length as u64 > max_source {
                return Obtained::NotShared(None);
            }
        }
        // All who waited for it have the same bytes then, and what they make of them together.
        Obtained::Object(self.stored(head).unwrap_or_else(|| {
            let body = Bytes::from(chunks.concat());
            let names = head.names.clone();
            Arc::new(Object::new(
                head.status,
                head.headers.clone(),
                body,
                head.freshness,
                names,
            ))
        }))
    }

    /// Whoever has the whole of what can be stored finds it there.
    fn stored(&self, head: &Head) -> Option<Arc<Object>> {
        let now = unix_now();
        match self.zone.find(head.key.clone(), &HeaderMap::new(), now) {
            Found::Object { object, .. } if object.freshness.ttl(now) > 0 => Some(object),
            _ => None,
        }
    }
}
