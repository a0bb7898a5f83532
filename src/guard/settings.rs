//! Rate limits as their operator wrote them.

use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitSettings {
    pub name: String,
    pub key: LimitKey,
    pub rate: Rate,
    /// Requests that may come at once after a pause. Default: the rate's count.
    pub burst: u32,
    /// Count and log, refuse nobody.
    pub dry_run: bool,
    /// Keys kept at most; a key asked beyond that shares one bucket with all such. Default 1,000,000.
    pub max_keys: usize,
}

/// Whose bucket a request takes from.
#[derive(Clone, Debug, PartialEq)]
pub enum LimitKey {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    ClientAddress,
    Header(http::HeaderName),
    /// One bucket for the whole route.
    Route,
}

/// `count` requests per `per`: `100/min`, `100/15min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}
