//! A route with all that it names, and how it is put together.

use super::{Foundation, Images, alike};
use crate::cache::{KeyRules, Name, RouteCacheSettings, RouteTtl, Url, Zone};
use crate::config::{HeaderEdits, RouteSettings};
use crate::guard::{
    AddressRules, Auth, Cors, Fleet, Identity, Limiter, Limits as RateLimits, Networks,
    SecurityHeaders,
};
use crate::observe::RouteMetrics;
use crate::route::Rewrite;
use crate::upstream::{Pool, Priority, Response, Split};
use bytes::Bytes;
use http::HeaderMap;
use lakh_image::Source;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A route with all that it names.
pub struct Route {
    pub name: Arc<str>,
    /// The upstream, or the first side of its split.
    pool: Arc<Pool>,
    pub split: Option<Split>,
    pub auth: Option<RouteAuth>,
    pub cors: Option<Cors>,
    pub security_headers: SecurityHeaders,
    pub maintenance: Option<Maintenance>,
    pub header_size: Option<usize>,
    pub url_length: Option<usize>,
    pub addresses: AddressRules,
    pub limits: RateLimits,
    pub rewrite: Rewrite,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    pub timeout: Option<Duration>,
    pub body_size: u64,
    pub cache: Option<Arc<RouteCache>>,
    /// Other routes that may have stored what this one reads, by their numbers.
    pub beside: Vec<usize>,
    /// Set on a route that resizes images.
    pub images: Option<Arc<Images>>,
    /// Whether text is coded for clients that accept it.
    pub compress: bool,
    /// Whether calls of pages, in gRPC-web, are made to gRPC.
    pub grpc_web: bool,
    pub priority: Priority,
    /// Requests at once; more are refused.
    pub concurrency: Option<usize>,
    /// WebSockets open at once; more are refused.
    pub websockets: Option<usize>,
    pub metrics: RouteMetrics,
}

impl Route {
    /// What is stored for a URL on this route is called: the URL's own, with all that was made of
    /// it; of a rendition's URL, also its source's.
    pub fn stored_as(&self, host: &str, target: &str) -> Vec<Name> {
        let Some(cache) = &self.cache else {
            return Vec::new();
        };
        let name = |host: &str, target: &str| {
            let url = Url::new(host, target.as_bytes());
            Name::url(&cache.keys.address(&url))
        };
        let images = self.images.as_ref();
        let source = images.and_then(|images| images.source_of(host, target));
        let mut names = vec![name(host, target)];
        names.extend(source.map(|source| match source {
            Source::Here(target) => name(host, &target),
            Source::Elsewhere(place) => name(&place.host, &place.target),
        }));
        names
    }
}

/// What a route's requests must prove.
pub struct RouteAuth {
    pub auth: Arc<Auth>,
    /// Claims by name and value, all of them.
    pub require: Vec<(String, String)>,
}

impl RouteAuth {
    /// Whether whoever asks has proven these claims. Who can't be told yet may have: `require` has
    /// them too, and decides.
    pub(super) fn may_hold(
        &self,
        headers: &HeaderMap,
        claims: &[(String, String)],
        now: u64,
    ) -> bool {
        match self.auth.check(headers, now, false) {
            Identity::Known(known, _) => claims.iter().all(|(name, is)| known.holds(name, is)),
            Identity::Undecided(_) | Identity::NoKeys => true,
            Identity::Nobody | Identity::Refused(_) => false,
        }
    }
}

/// What a route says while it is being worked on.
pub struct Maintenance {
    pub retry_after: Duration,
    /// Who is let in all the same.
    pub allow: Networks,
    pub page: Option<Bytes>,
}

/// How a route uses its zone.
pub struct RouteCache {
    pub zone: Arc<Zone<Response>>,
    pub keys: KeyRules,
    pub ttl: RouteTtl,
    pub refresh_ahead: Option<f64>,
    pub x_cache: bool,
    /// None: `PURGE` is a method like any other.
    pub purge_from: Option<Networks>,
}

impl Route {
    /// Whether answers go to clients with what is stored of them, and nothing is changed.
    pub fn leaves_answers(&self) -> bool {
        self.response_headers.is_empty()
            && self.cors.is_none()
            && self.security_headers == SecurityHeaders::None
    }

    /// The upstream, or a side of its split.
    pub fn pool(&self, side: Option<usize>) -> &Arc<Pool> {
        match (&self.split, side) {
            (Some(split), Some(side)) => &split.sides[side].pool,
            _ => &self.pool,
        }
    }

    /// All upstreams that its requests may go to.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        let sides = self.split.iter().flat_map(|split| &split.sides);
        let one = self.split.is_none().then_some(&self.pool);
        sides.map(|side| &side.pool).chain(one)
    }
}

/// What routes are made of, in the order in which a configuration names it.
pub(super) struct Parts<'a> {
    pub pools: &'a [Arc<Pool>],
    pub zones: &'a [Arc<Zone<Response>>],
    pub limiters: &'a [Arc<Limiter>],
    pub auths: &'a [Arc<Auth>],
    pub fleet: Option<&'a Arc<Fleet>>,
    pub images: Option<&'a Arc<Images>>,
    pub routes: &'a [RouteSettings],
    /// Their names.
    pub listeners: &'a [&'a str],
    /// Of a request, where a route says nothing else.
    pub body_size: u64,
}

impl Foundation {
    pub(super) fn route(
        &self,
        settings: &RouteSettings,
        parts: &Parts<'_>,
    ) -> Result<Route, String> {
        Ok(Route {
            name: settings.name.as_str().into(),
            auth: settings.auth.map(|auth| RouteAuth {
                auth: parts.auths[auth].clone(),
                require: [&settings.require[..], &settings.matches.claims].concat(),
            }),
            maintenance: maintenance(settings)?,
            cors: settings.cors.as_ref().map(Cors::new),
            security_headers: settings.security_headers,
            header_size: settings.header_size,
            url_length: settings.url_length,
            pool: parts.pools[settings.upstream].clone(),
            split: self.split(settings, parts.pools),
            addresses: AddressRules::new(&settings.allow, &settings.deny),
            limits: limits(settings, parts),
            rewrite: settings.rewrite.clone(),
            request_headers: settings.request_headers.clone(),
            response_headers: settings.response_headers.clone(),
            timeout: settings.timeout,
            body_size: settings.body_size.unwrap_or(parts.body_size),
            cache: settings
                .cache
                .as_ref()
                .map(|cache| route_cache(settings, cache, parts.zones)),
            beside: alike::beside(settings, parts.routes),
            images: parts.images.cloned().filter(|_| settings.images),
            compress: settings.compress,
            grpc_web: settings.grpc_web,
            priority: settings.priority,
            concurrency: settings.concurrency,
            websockets: settings.websockets,
            metrics: self.metrics.route(&settings.name, parts.listeners),
        })
    }

    fn split(&self, settings: &RouteSettings, pools: &[Arc<Pool>]) -> Option<Split> {
        let split = settings.split.as_ref()?;
        let pool = |name: &String| {
            let named = pools.iter().find(|pool| *pool.name == **name);
            named.expect("config: a split names upstreams").clone()
        };
        let sides = split.sides.iter().map(|(name, _)| pool(name));
        Some(self.registry.split(&settings.name, split, sides))
    }
}

fn route_cache(
    route: &RouteSettings,
    cache: &RouteCacheSettings,
    zones: &[Arc<Zone<Response>>],
) -> Arc<RouteCache> {
    let keys = KeyRules::new(&cache.key);
    let zone = zones.iter().find(|z| z.name() == cache.zone);
    Arc::new(RouteCache {
        zone: zone.expect("config: a route's cache names a zone").clone(),
        keys: match alike::apart(route) {
            Some(by) => keys.apart(by),
            None => keys,
        },
        ttl: RouteTtl {
            ttl: cache.ttl,
            negative_ttl: cache.negative_ttl,
            stale_while_revalidate: cache.stale_while_revalidate,
            stale_if_error: cache.stale_if_error,
        },
        refresh_ahead: cache.refresh_ahead,
        x_cache: cache.x_cache,
        purge_from: match &cache.purge_from[..] {
            [] => None,
            from => Some(Networks::new(from)),
        },
    })
}

fn limits(settings: &RouteSettings, parts: &Parts<'_>) -> RateLimits {
    let named = settings.rate_limits.iter();
    let named = named.map(|limit| parts.limiters[*limit].clone());
    RateLimits::new(named.collect(), parts.fleet.cloned())
}

fn maintenance(route: &RouteSettings) -> Result<Option<Maintenance>, String> {
    let Some(settings) = &route.maintenance else {
        return Ok(None);
    };
    let read = |page: &PathBuf| {
        std::fs::read(page).map(Bytes::from).map_err(|e| {
            let (name, page) = (&route.name, page.display());
            format!("routes.{name}.maintenance.page {page} can't be read: {e}")
        })
    };
    Ok(Some(Maintenance {
        retry_after: settings.retry_after,
        allow: Networks::new(&settings.allow),
        page: settings.page.as_ref().map(read).transpose()?,
    }))
}
