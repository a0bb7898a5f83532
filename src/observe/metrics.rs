//! Every metric name; those of requests are in `requests.rs`, of pictures in `images.rs`, of TLS in
//! `tls.rs`, of certificates that are ordered in `acme.rs`, of the process in `process.rs`.
//!
//! Handles are resolved when a Runtime is built, never per request: a request only adds to
//! counters that it already holds. Labels are names from the configuration (route, upstream,
//! server, cache, limit) and small fixed sets; never text that a client chose.

use super::acme::AcmeMetrics;
use super::handles::{
    AuthMetrics, CacheMetrics, CodingsMetrics, ConfigMetrics, DiskMetrics, KeysMetrics,
    LimitMetrics, LinkMetrics, PoolMetrics, RedisMetrics, STATES, ServerMetrics, TierMetrics,
    TraceMetrics,
};
use super::images::ImageMetrics;
use super::process::Process;
use super::register::Make;
use super::requests::{RouteMetrics, Routes};
use super::tls::{Tls, TlsMetrics};
use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, TextEncoder,
};

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
            .expect("metric families are consistent: all are made in this file");
        out
    }

    pub fn route(&self, route: &str, listeners: &[&str]) -> RouteMetrics {
        self.routes.of(route, listeners)
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

/// Families by server of an upstream.
struct Servers {
    up: IntGaugeVec,
    active: IntGaugeVec,
    requests: IntCounterVec,
    failures: IntCounterVec,
    weight: GaugeVec,
    states: IntGaugeVec,
}

impl Servers {
    fn new(make: &Make<'_>) -> Servers {
        let labels = &["upstream", "server"];
        Servers {
            up: make.gauges(
                "lakh_upstream_up",
                "1 while the server passes its health check.",
                labels,
            ),
            active: make.gauges(
                "lakh_upstream_active",
                "Requests in flight to the server.",
                labels,
            ),
            requests: make.counters(
                "lakh_upstream_requests_total",
                "Requests sent to the server.",
                labels,
            ),
            failures: make.counters(
                "lakh_upstream_failures_total",
                "Requests to the server that failed: no connection, broken, timed out.",
                labels,
            ),
            weight: make.float_gauges(
                "lakh_upstream_weight",
                "What the server may get in fact: 0 while it is out, less while it starts slowly.",
                labels,
            ),
            states: make.gauges(
                "lakh_upstream_state",
                "1 for the state that the server is in.",
                &["upstream", "server", "state"],
            ),
        }
    }

    fn of(&self, upstream: &str, server: &str) -> ServerMetrics {
        let labels = &[upstream, server];
        ServerMetrics {
            up: self.up.with_label_values(labels),
            active: self.active.with_label_values(labels),
            requests: self.requests.with_label_values(labels),
            failures: self.failures.with_label_values(labels),
            weight: self.weight.with_label_values(labels),
            states: STATES.map(|state| self.states.with_label_values(&[upstream, server, state])),
        }
    }

    fn forget(&self, upstream: &str, server: &str) {
        let labels = &[upstream, server];
        // An error means that the series was never made: nothing to forget.
        let _ = self.up.remove_label_values(labels);
        let _ = self.active.remove_label_values(labels);
        let _ = self.requests.remove_label_values(labels);
        let _ = self.failures.remove_label_values(labels);
        let _ = self.weight.remove_label_values(labels);
        for state in STATES {
            let _ = self.states.remove_label_values(&[upstream, server, state]);
        }
    }
}

/// Families by upstream.
struct Pools {
    retries: IntCounterVec,
    retries_denied: IntCounterVec,
    tier: IntGaugeVec,
    running: IntGaugeVec,
    waiting: IntGaugeVec,
    concurrency: IntGaugeVec,
    busy: IntCounterVec,
    lookups_failed: IntCounterVec,
    spawned: IntGaugeVec,
    restarts: IntCounterVec,
}

impl Pools {
    fn new(make: &Make<'_>) -> Pools {
        Pools {
            retries: make.counters(
                "lakh_upstream_retries_total",
                "Requests tried again on another server.",
                &["upstream"],
            ),
            retries_denied: make.counters(
                "lakh_upstream_retries_denied_total",
                "Requests not tried again because too many already were.",
                &["upstream"],
            ),
            tier: make.gauges(
                "lakh_upstream_tier",
                "Servers in use: 0 primaries, 1 backups, 2 all, because too few are well.",
                &["upstream"],
            ),
            running: make.gauges(
                "lakh_upstream_running",
                "Requests within the upstream's concurrency limit.",
                &["upstream"],
            ),
            concurrency: make.gauges(
                "lakh_upstream_concurrency",
                "Requests that the upstream may have at once; 0 is no limit.",
                &["upstream"],
            ),
            waiting: make.gauges(
                "lakh_upstream_waiting",
                "Requests waiting for the upstream's concurrency limit.",
                &["upstream"],
            ),
            lookups_failed: make.counters(
                "lakh_upstream_lookups_failed_total",
                "Look-ups of a server's name that failed; the last answer stays in use.",
                &["upstream"],
            ),
            busy: make.counters(
                "lakh_upstream_busy_total",
                "Requests refused by the upstream's concurrency limit: queue full, or waited too long.",
                &["upstream"],
            ),
            spawned: make.gauges(
                "lakh_spawn_running",
                "Supervised processes that run now.",
                &["upstream"],
            ),
            restarts: make.counters(
                "lakh_spawn_restarts_total",
                "Supervised processes started again after they ended.",
                &["upstream"],
            ),
        }
    }

    fn of(&self, upstream: &str) -> PoolMetrics {
        PoolMetrics {
            retries: self.retries.with_label_values(&[upstream]),
            retries_denied: self.retries_denied.with_label_values(&[upstream]),
            tier: self.tier.with_label_values(&[upstream]),
            running: self.running.with_label_values(&[upstream]),
            waiting: self.waiting.with_label_values(&[upstream]),
            concurrency: self.concurrency.with_label_values(&[upstream]),
            busy: self.busy.with_label_values(&[upstream]),
            lookups_failed: self.lookups_failed.with_label_values(&[upstream]),
            spawned: self.spawned.with_label_values(&[upstream]),
            restarts: self.restarts.with_label_values(&[upstream]),
        }
    }
}

/// Families by cache zone.
struct Caches {
    requests: IntCounterVec,
    bytes: IntGaugeVec,
    objects: IntGaugeVec,
    evictions: IntCounterVec,
    fills: IntCounterVec,
}

impl Caches {
    fn new(make: &Make<'_>) -> Caches {
        Caches {
            requests: make.counters(
                "lakh_cache_requests_total",
                "Requests to a cache, by what it could do for them.",
                &["cache", "status"],
            ),
            bytes: make.gauges("lakh_cache_bytes", "Bytes stored.", &["cache"]),
            objects: make.gauges("lakh_cache_objects", "Objects stored.", &["cache"]),
            evictions: make.counters(
                "lakh_cache_evictions_total",
                "Objects that had to go, or weren't let in, because the cache was full.",
                &["cache"],
            ),
            fills: make.counters(
                "lakh_cache_fills_total",
                "Fetches made for a cache, by outcome.",
                &["cache", "outcome"],
            ),
        }
    }

    fn of(&self, cache: &str) -> CacheMetrics {
        let result = |r: &str| self.requests.with_label_values(&[cache, r]);
        let outcome = |o: &str| self.fills.with_label_values(&[cache, o]);
        CacheMetrics {
            hits: result("hit"),
            misses: result("miss"),
            stale: result("stale"),
            revalidated: result("revalidated"),
            collapsed: result("collapsed"),
            bypassed: result("bypass"),
            bytes: self.bytes.with_label_values(&[cache]),
            objects: self.objects.with_label_values(&[cache]),
            evicted: self.evictions.with_label_values(&[cache]),
            fills_stored: outcome("stored"),
            fills_uncacheable: outcome("uncacheable"),
            fills_failed: outcome("failed"),
        }
    }
}

/// The family of slower tiers.
struct Tiers(IntCounterVec);

impl Tiers {
    fn new(make: &Make<'_>) -> Tiers {
        Tiers(make.counters(
            "lakh_cache_tier_total",
            "What a slower tier of a cache did: look-ups by result, writes, writes dropped.",
            &["cache", "tier", "result"],
        ))
    }

    fn of(&self, cache: &str, tier: &str) -> TierMetrics {
        let result = |r: &str| self.0.with_label_values(&[cache, tier, r]);
        TierMetrics {
            hits: result("hit"),
            misses: result("miss"),
            errors: result("error"),
            writes: result("written"),
            dropped: result("dropped"),
        }
    }
}

/// Families of disks.
struct Disks {
    in_use: IntGaugeVec,
    waiting_bytes: IntGaugeVec,
}

impl Disks {
    fn new(make: &Make<'_>) -> Disks {
        Disks {
            in_use: make.gauges(
                "lakh_cache_disk_in_use",
                "1 while the folder of a cache's disk is open; else nothing is read or written there.",
                &["cache"],
            ),
            waiting_bytes: make.gauges(
                "lakh_cache_disk_waiting_bytes",
                "Bytes of bodies that wait to be written to a cache's disk.",
                &["cache"],
            ),
        }
    }

    fn of(&self, cache: &str, tier: TierMetrics) -> DiskMetrics {
        DiskMetrics {
            tier,
            in_use: self.in_use.with_label_values(&[cache]),
            waiting_bytes: self.waiting_bytes.with_label_values(&[cache]),
        }
    }
}

/// Families by connection to Redis, of which each use has its own.
struct Links {
    duration: HistogramVec,
    failures: IntCounterVec,
    breaker_open: IntGaugeVec,
}

impl Links {
    fn new(make: &Make<'_>) -> Links {
        Links {
            duration: make.histograms(
                "lakh_redis_command_seconds",
                "Time from a command to its answer.",
                &["use"],
            ),
            failures: make.counters(
                "lakh_redis_failures_total",
                "Commands that failed or timed out.",
                &["use"],
            ),
            breaker_open: make.gauges(
                "lakh_redis_breaker_open",
                "1 while Redis is not asked because it failed too often.",
                &["use"],
            ),
        }
    }

    fn of(&self, what: &str) -> LinkMetrics {
        LinkMetrics {
            duration: self.duration.with_label_values(&[what]),
            failures: self.failures.with_label_values(&[what]),
            breaker_open: self.breaker_open.with_label_values(&[what]),
        }
    }
}

impl RedisMetrics {
    fn new(make: &Make<'_>, links: &Links) -> RedisMetrics {
        RedisMetrics {
            link: links.of("caches"),
            in_touch: make.gauge(
                "lakh_redis_in_touch",
                "1 while all purges of the fleet are known; else nothing is read from Redis.",
            ),
            waiting: make.gauge(
                "lakh_redis_waiting",
                "Purges and changes that Redis has not been told yet.",
            ),
            heard: make.counter(
                "lakh_redis_purges_heard_total",
                "Purges that other edges of the fleet told.",
            ),
        }
    }
}

/// Families by rate limit.
struct Limits {
    decisions: IntCounterVec,
    keys: IntGaugeVec,
    store_errors: IntCounterVec,
}

impl Limits {
    fn new(make: &Make<'_>) -> Limits {
        Limits {
            decisions: make.counters(
                "lakh_ratelimit_decisions_total",
                "Decisions of a rate limit.",
                &["policy", "decision"],
            ),
            keys: make.gauges(
                "lakh_ratelimit_keys",
                "Keys that a limit keeps.",
                &["policy"],
            ),
            store_errors: make.counters(
                "lakh_ratelimit_store_errors_total",
                "Requests for which a limit of the fleet got no answer from Redis.",
                &["policy"],
            ),
        }
    }

    fn of(&self, limit: &str) -> LimitMetrics {
        let decision = |d: &str| self.decisions.with_label_values(&[limit, d]);
        LimitMetrics {
            allowed: decision("allowed"),
            refused: decision("refused"),
            dry_run: decision("dry_run"),
            keys: self.keys.with_label_values(&[limit]),
            store_errors: self.store_errors.with_label_values(&[limit]),
        }
    }
}

/// Families by way to prove who one is.
struct Auths {
    decisions: IntCounterVec,
    kept: IntGaugeVec,
    fetches: IntCounterVec,
    keys: IntGaugeVec,
    stale: IntGaugeVec,
}

impl Auths {
    fn new(make: &Make<'_>) -> Auths {
        Auths {
            decisions: make.counters(
                "lakh_auth_total",
                "Requests by what they proved: verified, cached (verified before), nobody, refused.",
                &["auth", "result"],
            ),
            kept: make.gauges(
                "lakh_auth_kept",
                "Verified tokens that are remembered, or API keys that are known.",
                &["auth"],
            ),
            fetches: make.counters(
                "lakh_auth_fetches_total",
                "Fetches of an issuer's key set.",
                &["auth", "result"],
            ),
            keys: make.gauges("lakh_auth_keys", "Keys of an issuer in use.", &["auth"]),
            stale: make.gauges(
                "lakh_auth_keys_stale",
                "1 while the last fetch of the issuer's key set failed; the one before stays in use.",
                &["auth"],
            ),
        }
    }

    fn of(&self, auth: &str) -> (AuthMetrics, KeysMetrics) {
        let decision = |d: &str| self.decisions.with_label_values(&[auth, d]);
        let fetch = |f: &str| self.fetches.with_label_values(&[auth, f]);
        let metrics = AuthMetrics {
            cached: decision("cached"),
            verified: decision("verified"),
            nobody: decision("nobody"),
            refused: decision("refused"),
            kept: self.kept.with_label_values(&[auth]),
        };
        let keys = KeysMetrics {
            fetched: fetch("fetched"),
            failed: fetch("failed"),
            keys: self.keys.with_label_values(&[auth]),
            stale: self.stale.with_label_values(&[auth]),
        };
        (metrics, keys)
    }
}

impl CodingsMetrics {
    fn new(make: &Make<'_>) -> CodingsMetrics {
        CodingsMetrics {
            answers: make.counters(
                "lakh_coded_answers_total",
                "Answers sent in a content coding, made once of a stored body or as they passed.",
                &["coding", "from"],
            ),
            bodies: make.counters(
                "lakh_coded_bodies_total",
                "Stored bodies coded; a useless one came out no smaller.",
                &["coding", "outcome"],
            ),
            bytes: make.counters(
                "lakh_coded_bytes_total",
                "Bytes of bodies before and after coding.",
                &["coding", "direction"],
            ),
            streams: make.gauge("lakh_coding_streams", "Answers being coded as they pass."),
            running: make.gauge("lakh_coding_running", "Stored bodies being coded now."),
            queue: make.gauge("lakh_coding_queue", "Stored bodies waiting to be coded."),
            dropped: make.counter(
                "lakh_coding_dropped_total",
                "Times that nothing was coded because as much was being coded as may be.",
            ),
        }
    }
}

impl TraceMetrics {
    fn new(make: &Make<'_>) -> TraceMetrics {
        let spans = make.counters(
            "lakh_trace_spans_total",
            "Spans by what became of them: exported, dropped (no room), failed (no collector took them).",
            &["result"],
        );
        let result = |r: &str| spans.with_label_values(&[r]);
        TraceMetrics {
            exported: result("exported"),
            dropped: result("dropped"),
            failed: result("failed"),
        }
    }
}

impl ConfigMetrics {
    fn new(make: &Make<'_>) -> ConfigMetrics {
        ConfigMetrics {
            loads: make.counter("lakh_config_loads_total", "Configurations put in force."),
            failures: make.counter(
                "lakh_config_load_failures_total",
                "Configurations refused; the one before stays in force.",
            ),
            loaded: make.float_gauge(
                "lakh_config_loaded_timestamp_seconds",
                "When the configuration in force was put in force.",
            ),
            stale: make.gauge(
                "lakh_config_stale",
                "1 while the last try to load the configuration failed.",
            ),
        }
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
