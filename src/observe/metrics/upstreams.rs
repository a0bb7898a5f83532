//! Metrics of upstreams and their servers.

use super::register::Make;
use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// Families by server of an upstream.
pub struct Servers {
    up: IntGaugeVec,
    active: IntGaugeVec,
    requests: IntCounterVec,
    failures: IntCounterVec,
    weight: GaugeVec,
    states: IntGaugeVec,
}

impl Servers {
    pub fn new(make: &Make<'_>) -> Servers {
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

    pub fn of(&self, upstream: &str, server: &str) -> ServerMetrics {
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

    pub fn forget(&self, upstream: &str, server: &str) {
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

/// Per server of an upstream.
#[derive(Clone)]
pub struct ServerMetrics {
    /// 1 up, 0 down.
    pub up: IntGauge,
    /// Requests in flight.
    pub active: IntGauge,
    pub requests: IntCounter,
    pub failures: IntCounter,
    /// What it may get in fact: less than configured while it starts slowly, 0 while it is out.
    pub weight: Gauge,
    states: [IntGauge; STATES.len()],
}

impl ServerMetrics {
    /// `state` is one of `STATES`.
    pub fn show(&self, state: &str) {
        for (name, gauge) in STATES.iter().zip(&self.states) {
            gauge.set((*name == state).into());
        }
    }
}

/// What a server may be, as a metric's label.
pub const STATES: [&str; 6] = ["up", "draining", "down", "open", "half_open", "ejected"];

/// Families by upstream.
pub struct Pools {
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
    pub fn new(make: &Make<'_>) -> Pools {
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

    pub fn of(&self, upstream: &str) -> PoolMetrics {
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

/// Per upstream.
#[derive(Clone)]
pub struct PoolMetrics {
    pub retries: IntCounter,
    /// Not tried again because too many requests already were.
    pub retries_denied: IntCounter,
    /// Which servers are in use: 0 primaries, 1 backups, 2 all because too few are well.
    pub tier: IntGauge,
    /// Requests within the upstream's concurrency, and those that wait for it.
    pub running: IntGauge,
    pub waiting: IntGauge,
    /// How many may be within it: what is configured, or what was found out.
    pub concurrency: IntGauge,
    pub lookups_failed: IntCounter,
    /// Requests that were not let in.
    pub busy: IntCounter,
    /// Supervised processes that run now.
    pub spawned: IntGauge,
    pub restarts: IntCounter,
}
