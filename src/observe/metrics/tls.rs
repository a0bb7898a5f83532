//! Metrics of TLS on listeners.

use super::register::Make;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec};

/// Per listener with TLS.
#[derive(Clone)]
pub struct TlsMetrics {
    listener: Box<str>,
    handshakes: [IntCounter; Handshake::ALL.len()],
    /// Files that were read again because they had changed.
    pub loads: IntCounter,
    pub load_failures: IntCounter,
    stale: IntGaugeVec,
    not_after: IntGaugeVec,
    staple_not_after: IntGaugeVec,
}

impl TlsMetrics {
    pub fn shook(&self, how: Handshake) {
        self.handshakes[how as usize].inc();
    }

    /// The files can't be used as they are, and those of before are in force. For whoever brings the page
    /// up to date.
    pub fn is_stale(&self, stale: bool) {
        let gauge = self.stale.with_label_values(&[&*self.listener]);
        gauge.set(stale.into());
    }

    /// Unix seconds until which a certificate holds. For whoever brings the page up to date.
    pub fn expires(&self, certificate: &str, not_after: i64) {
        let labels = [&*self.listener, certificate];
        self.not_after.with_label_values(&labels).set(not_after);
    }

    /// Unix seconds until which what its issuer says of it is sent. For whoever brings the page up to date.
    pub fn staple_expires(&self, certificate: &str, until: i64) {
        let labels = [&*self.listener, certificate];
        self.staple_not_after.with_label_values(&labels).set(until);
    }
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    Full12,
    Full13,
    Resumed12,
    Resumed13,
    Failed,
    TimedOut,
    /// Not begun: too many at once.
    Refused,
    /// A request came without TLS.
    Plain,
    /// Over QUIC, which doesn't tell whether it was resumed.
    Quic,
    /// Of an authority that has looked whether a name is ours.
    Challenge,
}

impl Handshake {
    pub const ALL: [Handshake; 10] = [
        Handshake::Full12,
        Handshake::Full13,
        Handshake::Resumed12,
        Handshake::Resumed13,
        Handshake::Failed,
        Handshake::TimedOut,
        Handshake::Refused,
        Handshake::Plain,
        Handshake::Quic,
        Handshake::Challenge,
    ];

    /// Outcome and version.
    fn labels(self) -> [&'static str; 2] {
        match self {
            Handshake::Full12 => ["full", "1.2"],
            Handshake::Full13 => ["full", "1.3"],
            Handshake::Resumed12 => ["resumed", "1.2"],
            Handshake::Resumed13 => ["resumed", "1.3"],
            Handshake::Failed => ["failed", ""],
            Handshake::TimedOut => ["timeout", ""],
            Handshake::Refused => ["refused", ""],
            Handshake::Plain => ["plain", ""],
            Handshake::Quic => ["quic", "1.3"],
            Handshake::Challenge => ["challenge", ""],
        }
    }
}

/// Families by listener with TLS.
pub struct Tls {
    handshakes: IntCounterVec,
    loads: IntCounterVec,
    load_failures: IntCounterVec,
    stale: IntGaugeVec,
    not_after: IntGaugeVec,
    staple_not_after: IntGaugeVec,
}

impl Tls {
    pub fn new(make: &Make<'_>) -> Tls {
        Tls {
            handshakes: make.counters(
                "lakh_tls_handshakes_total",
                "TLS handshakes by how they ended: full, resumed, failed, timeout, refused, plain, quic, challenge.",
                &["listener", "outcome", "version"],
            ),
            loads: make.counters(
                "lakh_tls_loads_total",
                "Times that certificates and keys were read again because they had changed.",
                &["listener"],
            ),
            load_failures: make.counters(
                "lakh_tls_load_failures_total",
                "Times that changed certificates or keys could not be used.",
                &["listener"],
            ),
            stale: make.gauges(
                "lakh_tls_stale",
                "1 while the files can't be used and those of before are in force.",
                &["listener"],
            ),
            not_after: make.gauges(
                "lakh_tls_certificate_not_after_seconds",
                "When a certificate's time is over.",
                &["listener", "certificate"],
            ),
            staple_not_after: make.gauges(
                "lakh_tls_staple_not_after_seconds",
                "When what a certificate's issuer says of it (OCSP) is over, and no longer sent.",
                &["listener", "certificate"],
            ),
        }
    }

    pub fn of(&self, listener: &str) -> TlsMetrics {
        let handshakes = |how: Handshake| {
            let [outcome, version] = how.labels();
            let labels = [listener, outcome, version];
            self.handshakes.with_label_values(&labels)
        };
        TlsMetrics {
            listener: listener.into(),
            handshakes: Handshake::ALL.map(handshakes),
            loads: self.loads.with_label_values(&[listener]),
            load_failures: self.load_failures.with_label_values(&[listener]),
            stale: self.stale.clone(),
            not_after: self.not_after.clone(),
            staple_not_after: self.staple_not_after.clone(),
        }
    }
    /// Before those in force are told again.
    pub fn forget(&self) {
        self.stale.reset();
        self.not_after.reset();
        self.staple_not_after.reset();
    }
}
