//! Every metric: a file for each concern, with its families and what the concern holds of them.
//!
//! Handles are resolved when a Runtime is built, never per request: a request only adds to
//! counters that it already holds. Labels are names from the configuration (route, upstream,
//! server, cache, limit) and small fixed sets; never text that a client chose.

mod acme;
mod caches;
mod codings;
mod guard;
mod images;
mod operation;
mod process;
mod redis;
mod refusal;
mod register;
mod requests;
mod tls;
mod upstreams;

pub use acme::AcmeMetrics;
pub use caches::{CacheMetrics, DiskMetrics, TierMetrics};
pub use codings::{CodingMetrics, CodingsMetrics};
pub use guard::{AuthMetrics, KeysMetrics, LimitMetrics};
pub use images::ImageMetrics;
pub use operation::{ConfigMetrics, TraceMetrics};
pub use redis::{LinkMetrics, RedisMetrics};
pub use refusal::Refusal;
pub use requests::{Answers, RouteMetrics};
pub use tls::{Handshake, TlsMetrics};
pub use upstreams::{PoolMetrics, ServerMetrics};

use caches::{Caches, Disks, Tiers};
use guard::{Auths, Limits};
use process::Process;
use prometheus::{
    Encoder, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, Registry, TextEncoder,
};
use redis::Links;
use register::Make;
use requests::Routes;
use tls::Tls;
use upstreams::{Pools, Servers};

/// All metric families of the process. Built once; shared by every Runtime, so that counters go
/// on over a reload.
pub struct Metrics {
    registry: Registry,
    routes: Routes,
    servers: Servers,
    pools: Pools,
    splits: GaugeVec,
    caches: Caches,
    tiers: Tiers,
    disks: Disks,
    pub redis: RedisMetrics,
    /// Of the connection that limits of a fleet are asked over.
    pub limits_link: LinkMetrics,
    limits: Limits,
    auths: Auths,
    tls: Tls,
    pub acme: AcmeMetrics,
    pub images: ImageMetrics,
    pub codings: CodingsMetrics,
    pub config: ConfigMetrics,
    /// TLS handshakes that have begun and not ended.
    pub handshakes: IntGauge,
    /// Requests being answered now.
    pub in_flight: IntGauge,
    /// Open client connections.
    pub connections: IntGauge,
    /// Connections closed at once because a connection cap was reached.
    pub connections_refused: IntCounter,
    /// Requests refused before they had a route: malformed, too large a head, timed out.
    pub bad_requests: IntCounter,
    /// Bans of addresses, by what brought them; `operator` for those made by hand.
    bans: IntCounterVec,
    /// Addresses kept out now.
    pub banned: IntGauge,
    /// Requests refused because their address is banned.
    pub requests_banned: IntCounter,
    /// Panics caught by a task of ours or of Pingora's.
    pub panics: IntCounter,
    pub purges: IntCounter,
    /// Access log lines dropped: no room, or no target.
    pub log_dropped: IntCounter,
    pub traces: TraceMetrics,
    process: Process,
}

impl Metrics {
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let make = Make::new(&registry);
        let links = Links::new(&make);
        Metrics {
            routes: Routes::new(&make),
            servers: Servers::new(&make),
            pools: Pools::new(&make),
            splits: make.float_gauges(
                "lakh_split_share",
                "Percent of a route's requests that an upstream of its split gets.",
                &["route", "upstream"],
            ),
            caches: Caches::new(&make),
            tiers: Tiers::new(&make),
            disks: Disks::new(&make),
            redis: RedisMetrics::new(&make, &links),
            limits_link: links.of("limits"),
            limits: Limits::new(&make),
            auths: Auths::new(&make),
            tls: Tls::new(&make),
            acme: AcmeMetrics::new(&make, links.of("acme")),
            images: ImageMetrics::new(&make),
            codings: CodingsMetrics::new(&make),
            config: ConfigMetrics::new(&make),
            handshakes: make.gauge(
                "lakh_tls_handshakes_open",
                "TLS handshakes that have begun and not ended.",
            ),
            in_flight: make.gauge("lakh_in_flight", "Requests being answered now."),
            connections: make.gauge("lakh_connections", "Open client connections."),
            connections_refused: make.counter(
                "lakh_connections_refused_total",
                "Connections closed at once because a cap was reached.",
            ),
            bad_requests: make.counter(
                "lakh_bad_requests_total",
                "Requests refused before they had a route.",
            ),
            bans: make.counters(
                "lakh_bans_total",
                "Bans of addresses, by what brought them.",
                &["offence"],
            ),
            banned: make.gauge("lakh_banned_addresses", "Addresses kept out now."),
            requests_banned: make.counter(
                "lakh_requests_banned_total",
                "Requests refused because their address is banned.",
            ),
            panics: make.counter("lakh_panics_total", "Panics caught; each one is a bug."),
            purges: make.counter("lakh_cache_purges_total", "Names purged from the caches."),
            log_dropped: make.counter(
                "lakh_access_log_dropped_total",
                "Access log lines dropped: the queue was full, or its target could not be written.",
            ),
            traces: TraceMetrics::new(&make),
            process: Process::new(&make),
            registry,
        }
    }

    /// Unix time at which the process started.
    pub fn started(&self) -> &Gauge {
        &self.process.started
    }

    /// The text that Prometheus scrapes. Reads files of the kernel's.
    pub fn render(&self) -> Vec<u8> {
        self.process.report();
        let mut out = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut out)
            .expect("metric families are consistent: all are made here");
        out
    }

    pub fn route(&self, route: &str, listeners: &[&str]) -> RouteMetrics {
        self.routes.of(route, listeners)
    }

    /// Answers to what has no route.
    pub fn unrouted(&self, listeners: &[&str]) -> Answers {
        self.routes.unrouted(listeners)
    }

    pub fn server(&self, upstream: &str, server: &str) -> ServerMetrics {
        self.servers.of(upstream, server)
    }

    /// Called when a server leaves the configuration, so that it leaves the page too.
    pub fn forget_server(&self, upstream: &str, server: &str) {
        self.servers.forget(upstream, server);
    }

    pub fn pool(&self, upstream: &str) -> PoolMetrics {
        self.pools.of(upstream)
    }

    /// Percent of a route's requests that an upstream gets.
    pub fn split(&self, route: &str, upstream: &str) -> Gauge {
        self.splits.with_label_values(&[route, upstream])
    }

    pub fn cache(&self, cache: &str) -> CacheMetrics {
        self.caches.of(cache)
    }

    pub fn tier(&self, cache: &str, tier: &str) -> TierMetrics {
        self.tiers.of(cache, tier)
    }

    pub fn disk(&self, cache: &str) -> DiskMetrics {
        self.disks.of(cache, self.tier(cache, "disk"))
    }

    /// Bans are rare, and looked up here when one is made.
    pub fn banned_for(&self, offence: &str) {
        self.bans.with_label_values(&[offence]).inc();
    }

    pub fn limit(&self, limit: &str) -> LimitMetrics {
        self.limits.of(limit)
    }

    pub fn tls(&self, listener: &str) -> TlsMetrics {
        self.tls.of(listener)
    }

    /// Before what is in force is told again, so that all else leaves the page.
    pub fn forget_tls(&self) {
        self.tls.forget();
    }

    pub fn auth(&self, auth: &str) -> (AuthMetrics, KeysMetrics) {
        self.auths.of(auth)
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_left_leaves_the_page() {
        let metrics = Metrics::new();
        metrics.server("app", "127.0.0.1:9001").requests.inc();
        metrics.forget_server("app", "127.0.0.1:9001");
        let page = String::from_utf8(metrics.render()).expect("text");
        assert!(!page.contains("9001"), "{page}");
    }
}
