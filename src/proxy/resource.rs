//! What a request asks the cache for.

use super::context::{CacheStatus, Context};
use super::headers;
use super::request::Request;
use crate::cache::{Asked, CacheControl, Key, Names, Object, Url, Zone, may_look_up};
use crate::runtime::{Route, RouteCache};
use crate::upstream::Response;
use std::sync::Arc;
use std::time::SystemTime;

/// Hits since an object was stored that make it worth fetching before anybody waits for it.
const HOT: u64 = 3;

pub struct Resource {
    pub route: Arc<Route>,
    pub cache: Arc<RouteCache>,
    /// Of the object without variants.
    pub key: Key,
    /// Where it is fetched from, when that is not what the client asked for.
    pub target: Option<Vec<u8>>,
}

impl Resource {
    /// None where the request can't be answered from a cache: its method, or its own wish.
    pub fn of(request: &Request<'_>, ctx: &mut Context) -> Option<Resource> {
        let route = ctx.routed().clone();
        let cache = route.cache.clone()?;
        let asked = Asked {
            method: request.method,
            headers: request.headers,
            authorized: ctx.claims.is_some(),
        };
        let bypass = if !may_look_up(&asked) {
            Some("method")
        } else if ctx.upgrade || CacheControl::parse(request.headers).no_store {
            Some("request")
        } else {
            None
        };
        if let Some(why) = bypass {
            cache.zone.metrics.bypassed.inc();
            ctx.cache = Some(CacheStatus::Forwarded { why, detail: None });
            return None;
        }
        let key = key(&cache, request, request.target, ctx);
        Some(Resource {
            route,
            cache,
            key,
            target: None,
        })
    }

    /// What is at another target, for the same request.
    pub fn beside(&self, request: &Request<'_>, target: Vec<u8>, ctx: &Context) -> Resource {
        Resource {
            key: key(&self.cache, request, &target, ctx),
            route: self.route.clone(),
            cache: self.cache.clone(),
            target: Some(target),
        }
    }

    /// Whether to fetch a fresh object anew already, so that nobody will have to wait for it: it is
    /// asked for again and again, and will soon be stale. Once for each object, however that ends.
    pub fn ends_while_hot(&self, object: &Object, now: u64) -> bool {
        self.cache.refresh_ahead.is_some_and(|share| {
            object.freshness.ends_soon(share, now)
                && object.hits.count() >= HOT
                && !object.hits.is_refreshing()
        })
    }

    /// What it is called, asked for at a time of `Purges`; without tags, which the answer gives.
    pub fn names(&self, request: &Request<'_>, since: u64) -> Names {
        let url = Url::new(request.host, self.target(request));
        let address = self.cache.keys.address(&url);
        Names::new(request.host, url.path, &address, since)
    }

    /// What it is taken out of the slower tiers by, when a write changes it.
    pub fn root(&self, request: &Request<'_>, ctx: &Context) -> Key {
        let url = Url::new(request.host, self.target(request));
        let scheme = headers::scheme(request.headers, ctx);
        let root = self.cache.keys.root(&ctx.pool().name, scheme, &url);
        root.unwrap_or_else(|| self.key.clone())
    }

    fn target<'a>(&'a self, request: &'a Request<'_>) -> &'a [u8] {
        self.target.as_deref().unwrap_or(request.target)
    }

    pub fn zone(&self) -> &Arc<Zone<Response>> {
        &self.cache.zone
    }
}

fn key(cache: &RouteCache, request: &Request<'_>, target: &[u8], ctx: &Context) -> Key {
    let (pool, scheme) = (&ctx.pool().name, headers::scheme(request.headers, ctx));
    let url = Url::new(request.host, target);
    cache.keys.key(pool, scheme, &url, request.headers)
}

/// In seconds.
pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}
