//! A cache zone, and how a route uses it.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct CacheSettings {
    pub name: String,
    /// Bytes in memory, keys and header fields included.
    pub memory: u64,
    /// Bytes of one body; larger ones stream past the cache.
    pub max_object: u64,
}

/// A route's `cache:`.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteCacheSettings {
    /// The zone's name.
    pub zone: String,
    /// Freshness where the origin gives none. None: only what the origin says.
    pub ttl: Option<Duration>,
    /// Overrides the origin's. None: what the origin says.
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    /// Query parameters that don't tell objects apart: a name, or a prefix with `*` at its end.
    pub ignore_query: Vec<String>,
    /// Request fields whose values tell objects apart.
    pub key_headers: Vec<http::HeaderName>,
}
