//! Metrics of caches, and of the slower tiers behind their memory.

use super::register::Make;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// Families by cache zone.
pub struct Caches {
    requests: IntCounterVec,
    bytes: IntGaugeVec,
    objects: IntGaugeVec,
    evictions: IntCounterVec,
    fills: IntCounterVec,
}

impl Caches {
    pub fn new(make: &Make<'_>) -> Caches {
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

    pub fn of(&self, cache: &str) -> CacheMetrics {
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
    /// Objects that made room for others, or were asked for too seldom to be let in.
    pub evicted: IntCounter,
    pub fills_stored: IntCounter,
    pub fills_uncacheable: IntCounter,
    pub fills_failed: IntCounter,
}

impl CacheMetrics {
    /// What was stored answers, with so many seconds to live.
    pub fn answered(&self, ttl: i64) {
        match ttl > 0 {
            true => self.hits.inc(),
            false => self.stale.inc(),
        }
    }

    /// A fill answers: one's own, or another's that was waited for.
    pub fn filled(&self, collapsed: bool) {
        match collapsed {
            true => self.collapsed.inc(),
            false => self.misses.inc(),
        }
    }
}

/// The family of slower tiers.
pub struct Tiers(IntCounterVec);

impl Tiers {
    pub fn new(make: &Make<'_>) -> Tiers {
        Tiers(make.counters(
            "lakh_cache_tier_total",
            "What a slower tier of a cache did: look-ups by result, writes, writes dropped.",
            &["cache", "tier", "result"],
        ))
    }

    pub fn of(&self, cache: &str, tier: &str) -> TierMetrics {
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

/// Per tier of a cache zone.
#[derive(Clone)]
pub struct TierMetrics {
    pub hits: IntCounter,
    pub misses: IntCounter,
    /// Could not be asked, or did not answer.
    pub errors: IntCounter,
    pub writes: IntCounter,
    /// Objects that were not written: the queue was full, the tier failed, or it was too late.
    pub dropped: IntCounter,
}

impl TierMetrics {
    /// A look-up; an error is one that could not be made.
    pub fn count<T, E>(&self, found: &Result<Option<T>, E>) {
        match found {
            Ok(Some(_)) => self.hits.inc(),
            Ok(None) => self.misses.inc(),
            Err(_) => self.errors.inc(),
        }
    }
}

/// Families of disks.
pub struct Disks {
    in_use: IntGaugeVec,
    waiting_bytes: IntGaugeVec,
}

impl Disks {
    pub fn new(make: &Make<'_>) -> Disks {
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

    pub fn of(&self, cache: &str, tier: TierMetrics) -> DiskMetrics {
        DiskMetrics {
            tier,
            in_use: self.in_use.with_label_values(&[cache]),
            waiting_bytes: self.waiting_bytes.with_label_values(&[cache]),
        }
    }
}

/// Per disk of a cache zone.
#[derive(Clone)]
pub struct DiskMetrics {
    pub tier: TierMetrics,
    /// 1 while its folder is open, else 0.
    pub in_use: IntGauge,
    /// Bytes of bodies that wait to be written.
    pub waiting_bytes: IntGauge,
}
