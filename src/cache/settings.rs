//! A cache zone, and how a route uses it.

use super::tier::{DiskSettings, RedisTierSettings};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct CacheSettings {
    pub name: String,
    /// Bytes in memory, keys and header fields included.
    pub memory: u64,
    /// Bytes of one body; larger ones stream past the cache.
    pub max_object: u64,
    /// In an answer to a write, from any origin: tags whose objects are purged.
    pub invalidate_header: Option<http::HeaderName>,
    /// The tier on this machine's disk.
    pub disk: Option<DiskSettings>,
    /// The tier that a fleet shares.
    pub redis: Option<RedisTierSettings>,
}

/// A route's `cache:`.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteCacheSettings {
    /// The zone's name.
    pub zone: String,
    /// Freshness where the origin gives none. None: only what the origin says.
    pub ttl: Option<Duration>,
    /// The same for refusals that may be kept: 404, 405, 410, 414 and 501.
    pub negative_ttl: Option<Duration>,
    /// Overrides the origin's. None: what the origin says.
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
    pub key: KeySettings,
    /// The last share of a lifetime, from 0.0 to 1.0, in which what is asked for often is fetched
    /// anew before it ends.
    pub refresh_ahead: Option<f64>,
    /// Say what the cache did in `X-Cache` too.
    pub x_cache: bool,
    /// Clients whose `PURGE` is carried out. Empty: the method means nothing here.
    pub purge_from: Vec<ipnet::IpNet>,
}

/// What tells two objects apart, beside upstream, host and path.
#[derive(Clone, Debug, PartialEq)]
pub struct KeySettings {
    /// An answer over plain HTTP is often a redirect to HTTPS, which must not answer itself.
    pub scheme: bool,
    pub query: QuerySettings,
    pub headers: Vec<http::HeaderName>,
    /// By name.
    pub cookies: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct QuerySettings {
    pub names: QueryNames,
    /// Take parameters by name, whatever order they came in.
    pub sort: bool,
}

/// Which parameters count: each a name, or the beginning of names with `*` at its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum QueryNames {
    #[default]
    All,
    Except(Vec<String>),
    Only(Vec<String>),
}

impl Default for KeySettings {
    fn default() -> KeySettings {
        KeySettings {
            scheme: true,
            query: QuerySettings::default(),
            headers: Vec::new(),
            cookies: Vec::new(),
        }
    }
}
