//! Metrics of Redis: of each connection to it, and of what caches share over it.

use super::register::Make;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// Families by connection to Redis, of which each use has its own.
pub struct Links {
    duration: HistogramVec,
    failures: IntCounterVec,
    breaker_open: IntGaugeVec,
}

impl Links {
    pub fn new(make: &Make<'_>) -> Links {
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

    pub fn of(&self, what: &'static str) -> LinkMetrics {
        LinkMetrics {
            what,
            duration: self.duration.with_label_values(&[what]),
            failures: self.failures.with_label_values(&[what]),
            breaker_open: self.breaker_open.with_label_values(&[what]),
        }
    }
}

/// Per connection to Redis.
#[derive(Clone)]
pub struct LinkMetrics {
    /// It is used for.
    pub what: &'static str,
    /// Seconds from a command to its answer.
    pub duration: Histogram,
    pub failures: IntCounter,
    /// 1 while Redis is not asked because it failed too often, else 0.
    pub breaker_open: IntGauge,
}

/// Of what caches share over Redis.
#[derive(Clone)]
pub struct RedisMetrics {
    pub link: LinkMetrics,
    /// 1 while all purges of the fleet are known, else 0.
    pub in_touch: IntGauge,
    /// Purges and changes that Redis has not been told yet.
    pub waiting: IntGauge,
    /// Purges that other edges told.
    pub heard: IntCounter,
}

impl RedisMetrics {
    pub fn new(make: &Make<'_>, links: &Links) -> RedisMetrics {
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
