//! What a request asks the cache for.

use super::context::{CacheStatus, Context};
use super::headers;
use super::request::Request;
use crate::cache::{Asked, CacheControl, Key, Names, Object, Scheme, Url, Zone, may_look_up};
use crate::runtime::{Route, RouteCache};
use crate::upstream::{Pool, Response};
use http::HeaderMap;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

/// Hits since an object was stored that make it worth fetching before anybody waits for it.
const HOT: u64 = 3;

#[derive(Clone)]
pub struct Resource {
    pub route: Arc<Route>,
    pub cache: Arc<RouteCache>,
    /// Of the object without variants.
    pub key: Key,
    /// Where it is fetched from, when that is not what the client asked for.
    pub target: Option<Vec<u8>>,
    /// Set when that is on another host than the client asked.
    pub elsewhere: Option<Elsewhere>,
}

/// A host that is not ours: it learns nothing of the client, and the client nothing of it but
/// pictures.
#[derive(Clone)]
pub struct Elsewhere {
    pub host: String,
    pub pool: Arc<Pool>,
}

impl Resource {
    /// None where the request can't be answered from a cache.
    pub fn of(request: &Request<'_>, ctx: &mut Context) -> Option<Resource> {
        let route = ctx.routed().clone();
        let cache = route.cache.clone()?;
        let asked = Asked {
            method: request.method,
            headers: request.headers,
            authorized: ctx.is_proven(),
        };
        if !may_look_up(&asked) {
            return bypass(&cache, ctx, "method");
        }
        if ctx.upgrade {
            return bypass(&cache, ctx, "request");
        }
        let key = key(&cache, request, request.target, ctx);
        Some(Resource {
            route,
            cache,
            key,
            target: None,
            elsewhere: None,
        })
    }

    /// Itself, unless the request wants nothing of it stored.
    pub fn if_wanted(self, request: &Request<'_>, ctx: &mut Context) -> Option<Resource> {
        match CacheControl::parse(request.headers).no_store {
            true => bypass(&self.cache, ctx, "request"),
            false => Some(self),
        }
    }

    /// What is at a target of another host.
    pub fn elsewhere(&self, elsewhere: Elsewhere, target: Vec<u8>) -> Resource {
        let url = Url::new(&elsewhere.host, &target);
        let (pool, fields) = (&elsewhere.pool.name, HeaderMap::new());
        Resource {
            key: self.cache.keys.key(pool, Scheme::Http, &url, &fields),
            route: self.route.clone(),
            cache: self.cache.clone(),
            target: Some(target),
            elsewhere: Some(elsewhere),
        }
    }

    /// What is at another target, for the same request.
    pub fn beside(&self, request: &Request<'_>, target: Vec<u8>, ctx: &Context) -> Resource {
        Resource {
            key: key(&self.cache, request, &target, ctx),
            route: self.route.clone(),
            cache: self.cache.clone(),
            target: Some(target),
            elsewhere: None,
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
        let host = self.host(request);
        let url = Url::new(host, self.target(request));
        let address = self.cache.keys.address(&url);
        Names::new(host, url.path, &address, since)
    }

    /// What it is taken out of the slower tiers by, when a write changes it.
    pub fn root(&self, request: &Request<'_>, ctx: &Context) -> Key {
        let url = Url::new(self.host(request), self.target(request));
        let scheme = match self.elsewhere {
            Some(_) => Scheme::Http,
            None => headers::scheme(request.headers, ctx),
        };
        let root = self.cache.keys.root(&self.pool(ctx).name, scheme, &url);
        root.unwrap_or_else(|| self.key.clone())
    }

    /// Of a request's fields those that its server is told, and may choose an answer by.
    pub fn told<'a>(&self, fields: &'a HeaderMap) -> Cow<'a, HeaderMap> {
        match self.elsewhere {
            Some(_) => Cow::Owned(HeaderMap::new()),
            None => Cow::Borrowed(fields),
        }
    }

    /// Where it comes from.
    pub fn pool<'a>(&'a self, ctx: &'a Context) -> &'a Arc<Pool> {
        self.elsewhere
            .as_ref()
            .map_or(ctx.pool(), |place| &place.pool)
    }

    fn host<'a>(&'a self, request: &Request<'a>) -> &'a str {
        self.elsewhere
            .as_ref()
            .map_or(request.host, |place| &place.host)
    }

    fn target<'a>(&'a self, request: &'a Request<'_>) -> &'a [u8] {
        self.target.as_deref().unwrap_or(request.target)
    }

    pub fn zone(&self) -> &Arc<Zone<Response>> {
        &self.cache.zone
    }
}

fn bypass(cache: &RouteCache, ctx: &mut Context, why: &'static str) -> Option<Resource> {
    if !ctx.looking {
        cache.zone.metrics.bypassed.inc();
    }
    ctx.cache = Some(CacheStatus::Forwarded { why, detail: None });
    None
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
