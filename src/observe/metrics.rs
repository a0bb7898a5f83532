//! Every metric name, in one file.
//!
//! Handles are resolved when a Runtime is built, never per request: a request only adds to
//! counters that it already holds. Labels are names from the configuration (route, upstream,
//! server, cache, limit) and small fixed sets; never text that a client chose.

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Seconds; from a cache hit to the longest wait that `timeout` usually allows.
const DURATION_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Status classes as labels, indexed by the status code's first digit minus one.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// All metric families of the process. Built once; shared by every Runtime, so that counters go
/// on over a reload.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: HistogramVec,
    refused: IntCounterVec,
    server_up: IntGaugeVec,
    server_active: IntGaugeVec,
    server_requests: IntCounterVec,
    server_failures: IntCounterVec,
    retries: IntCounterVec,
    spawned: IntGaugeVec,
    restarts: IntCounterVec,
    cache_requests: IntCounterVec,
    cache_bytes: IntGaugeVec,
    cache_objects: IntGaugeVec,
    cache_fills: IntCounterVec,
    limit_decisions: IntCounterVec,
    limit_keys: IntGaugeVec,
    images: IntCounterVec,
    /// Requests being answered now.
    pub in_flight: IntGauge,
    /// Open client connections.
    pub connections: IntGauge,
    /// Connections closed at once because a connection cap was reached.
    pub connections_refused: IntCounter,
    /// Requests refused before they had a route: malformed, too large a head, timed out.
    pub bad_requests: IntCounter,
    /// Panics caught by a task of ours or of Pingora's.
    pub panics: IntCounter,
    pub purges: IntCounter,
    /// Configuration loads that succeeded, the first one included.
    pub reloads: IntCounter,
    /// Reloads refused; the configuration before them stays in force.
    pub reload_failures: IntCounter,
    /// 1 while the file on disk could not be loaded at the last try, else 0.
    pub config_stale: IntGauge,
    /// Access log lines dropped because the log's queue was full.
    pub log_dropped: IntCounter,
    /// Seconds from a transform's start to its end.
    pub image_time: Histogram,
    /// Seconds a transform waited for a worker.
    pub image_wait: Histogram,
    /// Transforms waiting for a worker.
    pub image_queue: IntGauge,
    /// Unix time at which the process started.
    pub started: Gauge,
}

/// What a finished request adds to. One per route.
#[derive(Clone)]
pub struct RouteMetrics {
    by_class: [IntCounter; 5],
    pub duration: Histogram,
    refused: [IntCounter; Refusal::ALL.len()],
}

/// Why the edge itself refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    RateLimit,
    Address,
    BodySize,
    NoServer,
    ImageQueue,
}

/// Per server of an upstream.
#[derive(Clone)]
pub struct ServerMetrics {
    /// 1 up, 0 down.
    pub up: IntGauge,
    /// Requests in flight.
    pub active: IntGauge,
    pub requests: IntCounter,
    pub failures: IntCounter,
}

/// Per upstream.
#[derive(Clone)]
pub struct PoolMetrics {
    pub retries: IntCounter,
    /// Supervised processes that run now.
    pub spawned: IntGauge,
    pub restarts: IntCounter,
}

/// Per cache zone.
#[derive(Clone)]
pub struct CacheMetrics {
    pub hits: IntCounter,
    pub misses: IntCounter,
    pub stale: IntCounter,
    pub revalidated: IntCounter,
    pub collapsed: IntCounter,
    pub bypassed: IntCounter,
    pub bytes: IntGauge,
    pub objects: IntGauge,
    pub fills_stored: IntCounter,
    pub fills_uncacheable: IntCounter,
    pub fills_failed: IntCounter,
}

/// Per named rate limit.
#[derive(Clone)]
pub struct LimitMetrics {
    pub allowed: IntCounter,
    pub refused: IntCounter,
    /// Would have been refused, but for `dry_run`.
    pub dry_run: IntCounter,
    pub keys: IntGauge,
}

/// Outcomes of image requests, by cause.
#[derive(Clone)]
pub struct ImageMetrics {
    outcomes: IntCounterVec,
}

impl Metrics {
    pub fn new() -> Metrics {
        let registry = Registry::new();
        let made = Make {
            registry: &registry,
        };
        Metrics {
            requests: made.counters(
                "lakh_requests_total",
                "Requests answered, by route and status class.",
                &["route", "class"],
            ),
            duration: made.histograms(
                "lakh_request_duration_seconds",
                "Time from a request's head to the end of its answer.",
                &["route"],
            ),
            refused: made.counters(
                "lakh_refused_total",
                "Requests that the edge itself refused, by reason.",
                &["route", "reason"],
            ),
            server_up: made.gauges(
                "lakh_upstream_up",
                "1 while the server passes its health check.",
                &["upstream", "server"],
            ),
            server_active: made.gauges(
                "lakh_upstream_active",
                "Requests in flight to the server.",
                &["upstream", "server"],
            ),
            server_requests: made.counters(
                "lakh_upstream_requests_total",
                "Requests sent to the server.",
                &["upstream", "server"],
            ),
            server_failures: made.counters(
                "lakh_upstream_failures_total",
                "Requests to the server that failed: no connection, broken, timed out.",
                &["upstream", "server"],
            ),
            retries: made.counters(
                "lakh_upstream_retries_total",
                "Requests tried again on another server.",
                &["upstream"],
            ),
            spawned: made.gauges(
                "lakh_spawn_running",
                "Supervised processes that run now.",
                &["upstream"],
            ),
            restarts: made.counters(
                "lakh_spawn_restarts_total",
                "Supervised processes started again after they ended.",
                &["upstream"],
            ),
            cache_requests: made.counters(
                "lakh_cache_requests_total",
                "Requests to a cache, by what it could do for them.",
                &["cache", "result"],
            ),
            cache_bytes: made.gauges("lakh_cache_bytes", "Bytes stored.", &["cache"]),
            cache_objects: made.gauges("lakh_cache_objects", "Objects stored.", &["cache"]),
            cache_fills: made.counters(
                "lakh_cache_fills_total",
                "Fetches made for a cache, by outcome.",
                &["cache", "outcome"],
            ),
            limit_decisions: made.counters(
                "lakh_limit_decisions_total",
                "Decisions of a rate limit.",
                &["limit", "decision"],
            ),
            limit_keys: made.gauges("lakh_limit_keys", "Keys that a limit keeps.", &["limit"]),
            images: made.counters(
                "lakh_images_total",
                "Transforms, by outcome; a failed one answers with the original.",
                &["outcome"],
            ),
            in_flight: made.gauge("lakh_in_flight", "Requests being answered now."),
            connections: made.gauge("lakh_connections", "Open client connections."),
            connections_refused: made.counter(
                "lakh_connections_refused_total",
                "Connections closed at once because a cap was reached.",
            ),
            bad_requests: made.counter(
                "lakh_bad_requests_total",
                "Requests refused before they had a route.",
            ),
            panics: made.counter("lakh_panics_total", "Panics caught; each one is a bug."),
            purges: made.counter("lakh_cache_purges_total", "Names purged from the caches."),
            reloads: made.counter("lakh_config_loads_total", "Configurations put in force."),
            reload_failures: made.counter(
                "lakh_config_load_failures_total",
                "Configurations refused; the one before stays in force.",
            ),
            config_stale: made.gauge(
                "lakh_config_stale",
                "1 while the last try to load the configuration failed.",
            ),
            log_dropped: made.counter(
                "lakh_access_log_dropped_total",
                "Access log lines dropped because the queue was full.",
            ),
            image_time: made.histogram("lakh_image_seconds", "Time that a transform takes."),
            image_wait: made.histogram(
                "lakh_image_wait_seconds",
                "Time that a transform waits for a worker.",
            ),
            image_queue: made.gauge("lakh_image_queue", "Transforms waiting for a worker."),
            started: made.float_gauge("lakh_start_time_seconds", "When the process started."),
            registry,
        }
    }

    /// The text that Prometheus scrapes.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut out)
            .expect("metric families are consistent: all are made in this file");
        out
    }

    pub fn route(&self, route: &str) -> RouteMetrics {
        RouteMetrics {
            by_class: CLASSES.map(|c| self.requests.with_label_values(&[route, c])),
            duration: self.duration.with_label_values(&[route]),
            refused: Refusal::ALL.map(|r| self.refused.with_label_values(&[route, r.label()])),
        }
    }

    pub fn server(&self, upstream: &str, server: &str) -> ServerMetrics {
        let labels = &[upstream, server];
        ServerMetrics {
            up: self.server_up.with_label_values(labels),
            active: self.server_active.with_label_values(labels),
            requests: self.server_requests.with_label_values(labels),
            failures: self.server_failures.with_label_values(labels),
        }
    }

    /// Called when a server leaves the configuration, so that it leaves the page too.
    pub fn forget_server(&self, upstream: &str, server: &str) {
        let labels = &[upstream, server];
        // An error means that the series was never made: nothing to forget.
        let _ = self.server_up.remove_label_values(labels);
        let _ = self.server_active.remove_label_values(labels);
        let _ = self.server_requests.remove_label_values(labels);
        let _ = self.server_failures.remove_label_values(labels);
    }

    pub fn pool(&self, upstream: &str) -> PoolMetrics {
        PoolMetrics {
            retries: self.retries.with_label_values(&[upstream]),
            spawned: self.spawned.with_label_values(&[upstream]),
            restarts: self.restarts.with_label_values(&[upstream]),
        }
    }

    pub fn cache(&self, cache: &str) -> CacheMetrics {
        let result = |r: &str| self.cache_requests.with_label_values(&[cache, r]);
        let outcome = |o: &str| self.cache_fills.with_label_values(&[cache, o]);
        CacheMetrics {
            hits: result("hit"),
            misses: result("miss"),
            stale: result("stale"),
            revalidated: result("revalidated"),
            collapsed: result("collapsed"),
            bypassed: result("bypass"),
            bytes: self.cache_bytes.with_label_values(&[cache]),
            objects: self.cache_objects.with_label_values(&[cache]),
            fills_stored: outcome("stored"),
            fills_uncacheable: outcome("uncacheable"),
            fills_failed: outcome("failed"),
        }
    }

    pub fn limit(&self, limit: &str) -> LimitMetrics {
        let decision = |d: &str| self.limit_decisions.with_label_values(&[limit, d]);
        LimitMetrics {
            allowed: decision("allowed"),
            refused: decision("refused"),
            dry_run: decision("dry_run"),
            keys: self.limit_keys.with_label_values(&[limit]),
        }
    }

    pub fn images(&self) -> ImageMetrics {
        ImageMetrics {
            outcomes: self.images.clone(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl RouteMetrics {
    /// Counts one answer. A status outside 100–599 counts as 5xx.
    pub fn answered(&self, status: u16) {
        let class = usize::from(status / 100).wrapping_sub(1);
        self.by_class[class.min(CLASSES.len() - 1)].inc();
    }

    pub fn refused(&self, why: Refusal) {
        self.refused[why as usize].inc();
    }
}

impl Refusal {
    /// In the order of the variants: the index of a counter is the variant's number.
    pub const ALL: [Refusal; 5] = [
        Refusal::RateLimit,
        Refusal::Address,
        Refusal::BodySize,
        Refusal::NoServer,
        Refusal::ImageQueue,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Refusal::RateLimit => "rate_limit",
            Refusal::Address => "address",
            Refusal::BodySize => "body_size",
            Refusal::NoServer => "no_server",
            Refusal::ImageQueue => "image_queue",
        }
    }
}

impl ImageMetrics {
    /// `outcome` is from a fixed set: "transformed", or a failure's cause. Looked up by label,
    /// because a transform costs ten thousand times what the look-up does.
    pub fn count(&self, outcome: &'static str) {
        self.outcomes.with_label_values(&[outcome]).inc();
    }
}

/// Registers families; a name used twice is a bug in this file.
struct Make<'a> {
    registry: &'a Registry,
}

impl Make<'_> {
    fn add<C: prometheus::core::Collector + Clone + 'static>(&self, family: C) -> C {
        self.registry
            .register(Box::new(family.clone()))
            .expect("metric names are unique");
        family
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels).expect("a valid name"))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels).expect("a valid name"))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(DURATION_BUCKETS.to_vec());
        self.add(HistogramVec::new(opts, labels).expect("a valid name"))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help).expect("a valid name"))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help).expect("a valid name"))
    }

    fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help).expect("a valid name"))
    }

    fn histogram(&self, name: &str, help: &str) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(DURATION_BUCKETS.to_vec());
        self.add(Histogram::with_opts(opts).expect("a valid name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_under_its_own_label() {
        let metrics = Metrics::new();
        metrics.route("home").refused(Refusal::NoServer);
        let page = String::from_utf8(metrics.render()).expect("text");
        assert!(
            page.contains(r#"lakh_refused_total{reason="no_server",route="home"} 1"#),
            "{page}"
        );
    }

    #[test]
    fn an_odd_status_counts_as_a_server_error() {
        let metrics = Metrics::new();
        metrics.route("home").answered(999);
        metrics.route("home").answered(0);
        let page = String::from_utf8(metrics.render()).expect("text");
        assert!(
            page.contains(r#"lakh_requests_total{class="5xx",route="home"} 2"#),
            "{page}"
        );
    }

    #[test]
    fn a_server_that_left_leaves_the_page() {
        let metrics = Metrics::new();
        metrics.server("app", "127.0.0.1:9001").requests.inc();
        metrics.forget_server("app", "127.0.0.1:9001");
        let page = String::from_utf8(metrics.render()).expect("text");
        assert!(!page.contains("9001"), "{page}");
    }
}
