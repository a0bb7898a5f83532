//! Metrics of certificates that are ordered by ACME.

use super::redis::LinkMetrics;
use super::register::Make;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

#[derive(Clone)]
pub struct AcmeMetrics {
    orders: IntCounterVec,
    challenges: IntCounterVec,
    next: IntGaugeVec,
    /// Certificates that there are none of yet.
    pub missing: IntGauge,
    /// Certificates whose last order failed.
    pub failing: IntGauge,
    pub link: LinkMetrics,
}

impl AcmeMetrics {
    pub(super) fn new(make: &Make<'_>, link: LinkMetrics) -> AcmeMetrics {
        AcmeMetrics {
            orders: make.counters(
                "lakh_acme_orders_total",
                "Orders of certificates by this edge: issued, failed.",
                &["certificate", "result"],
            ),
            challenges: make.counters(
                "lakh_acme_challenges_total",
                "Times that an authority was shown that a name is ours.",
                &["challenge"],
            ),
            next: make.gauges(
                "lakh_acme_next_order_timestamp_seconds",
                "When a certificate is ordered next.",
                &["certificate"],
            ),
            missing: make.gauge(
                "lakh_acme_missing",
                "Certificates that are to be ordered, and that there are none of yet.",
            ),
            failing: make.gauge("lakh_acme_failing", "Certificates whose last order failed."),
            link,
        }
    }

    /// `certificate`: the first of its names.
    pub fn ordered(&self, certificate: &str, result: &str) {
        self.orders.with_label_values(&[certificate, result]).inc();
    }

    pub fn asked(&self, challenge: &str) {
        self.challenges.with_label_values(&[challenge]).inc();
    }

    /// Unix seconds. For whoever brings the page up to date.
    pub fn next(&self, certificate: &str, at: i64) {
        self.next.with_label_values(&[certificate]).set(at);
    }

    /// Before those in force are told again.
    pub fn forget(&self) {
        self.next.reset();
        self.missing.set(0);
        self.failing.set(0);
    }
}
