//! The whole source of a rendition: out of the cache, or by the fill that everybody shares.

use super::super::cached;
use super::super::context::Context;
use super::super::fill::{self, Job};
use super::super::resource::{Resource, unix_now};
use super::Edge;
use crate::cache::{Follower, Found, Head, Object, Opened, Use, usable};
use crate::error::Kind;
use crate::upstream::Response;
use bytes::BytesMut;
use pingora::http::RequestHeader;
use std::sync::Arc;

/// How it is to be had.
pub enum Obtain {
    Stored(Arc<Object>),
    /// With the job that fills it, if nobody else runs one.
    Follow(Follower<Response>, Option<Box<Job>>),
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
            Found::Nothing { key } => (key, None),
            Found::Pass => (source.key.clone(), None),
        };
        let (follower, job) = cached::join(edge, request, ctx, source, &key, stale.as_ref())?;
        Ok(Obtain::Follow(follower, job.map(Box::new)))
    }

    /// The source is not needed.
    pub fn abandon(self) {
        if let Obtain::Follow(follower, Some(job)) = self {
            drop(follower);
            job.abandon();
        }
    }

    pub async fn run(self, max_source: u64) -> Obtained {
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
