//! Metrics of who is let in: rate limits, and ways to prove who one is.

use super::register::Make;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// Families by rate limit.
pub struct Limits {
    decisions: IntCounterVec,
    keys: IntGaugeVec,
    store_errors: IntCounterVec,
}

impl Limits {
    pub fn new(make: &Make<'_>) -> Limits {
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

    pub fn of(&self, limit: &str) -> LimitMetrics {
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

/// Per named rate limit.
#[derive(Clone)]
pub struct LimitMetrics {
    pub allowed: IntCounter,
    pub refused: IntCounter,
    /// Would have been refused, but for `dry_run`.
    pub dry_run: IntCounter,
    pub keys: IntGauge,
    /// Times that the fleet could not be asked.
    pub store_errors: IntCounter,
}

/// Families by way to prove who one is.
pub struct Auths {
    decisions: IntCounterVec,
    kept: IntGaugeVec,
    fetches: IntCounterVec,
    keys: IntGaugeVec,
    stale: IntGaugeVec,
}

impl Auths {
    pub fn new(make: &Make<'_>) -> Auths {
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

    pub fn of(&self, auth: &str) -> (AuthMetrics, KeysMetrics) {
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

/// Per named way to prove who one is.
#[derive(Clone)]
pub struct AuthMetrics {
    /// Requests whose token had been verified before.
    pub cached: IntCounter,
    pub verified: IntCounter,
    /// Without a proof, where none is needed.
    pub nobody: IntCounter,
    pub refused: IntCounter,
    /// Verified tokens that are remembered, or API keys that are known.
    pub kept: IntGauge,
}

/// Per set of keys that an issuer publishes.
#[derive(Clone)]
pub struct KeysMetrics {
    pub fetched: IntCounter,
    pub failed: IntCounter,
    /// Keys of the set in use.
    pub keys: IntGauge,
    /// 1 while the last fetch has failed, else 0.
    pub stale: IntGauge,
}
