//! What concerns hold of the metrics: handles resolved once, and only added to per request.

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};

/// Why the edge itself refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    RateLimit,
    Address,
    BodySize,
    Concurrency,
    NoServer,
    ImageQueue,
    ImageSignature,
    Busy,
    LimitUnknown,
    /// No proof of who asks, or a bad one.
    Token,
    /// A good proof that claims too little.
    Claims,
    /// No keys to check a proof with.
    NoKeys,
    Maintenance,
    HeadSize,
    UrlLength,
    /// A preflight of a page that may not ask.
    Origin,
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
    pub(super) states: [IntGauge; STATES.len()],
}

/// What a server may be, as a metric's label.
pub const STATES: [&str; 6] = ["up", "draining", "down", "open", "half_open", "ejected"];

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

/// Per disk of a cache zone.
#[derive(Clone)]
pub struct DiskMetrics {
    pub tier: TierMetrics,
    /// 1 while its folder is open, else 0.
    pub in_use: IntGauge,
    /// Bytes of bodies that wait to be written.
    pub waiting_bytes: IntGauge,
}

/// Per connection to Redis.
#[derive(Clone)]
pub struct LinkMetrics {
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

/// Of content codings.
#[derive(Clone)]
pub struct CodingsMetrics {
    pub(super) answers: IntCounterVec,
    pub(super) bodies: IntCounterVec,
    pub(super) bytes: IntCounterVec,
    /// Answers being coded as they pass.
    pub streams: IntGauge,
    /// Stored bodies being coded, and waiting for it.
    pub running: IntGauge,
    pub queue: IntGauge,
    /// Times that nothing was coded because as much was being coded as may be.
    pub dropped: IntCounter,
}

/// Per content coding.
#[derive(Clone)]
pub struct CodingMetrics {
    /// Answers sent with what was made once of a stored body.
    pub stored: IntCounter,
    /// Answers coded as they passed.
    pub streamed: IntCounter,
    /// Stored bodies coded.
    pub made: IntCounter,
    /// Stored bodies that coding made no smaller.
    pub useless: IntCounter,
    /// Bytes that were coded, and what they became.
    pub bytes_in: IntCounter,
    pub bytes_out: IntCounter,
}

/// Of traces: spans by what became of them.
#[derive(Clone)]
pub struct TraceMetrics {
    /// The collector has them.
    pub exported: IntCounter,
    /// There was no room in the queue.
    pub dropped: IntCounter,
    /// The collector did not take them.
    pub failed: IntCounter,
}

/// Of configuration loads.
pub struct ConfigMetrics {
    /// Those that succeeded, the first one included.
    pub loads: IntCounter,
    /// Unix time of the last one.
    pub loaded: Gauge,
    /// Those refused; the configuration before them stays in force.
    pub failures: IntCounter,
    /// 1 while the file on disk could not be loaded at the last try, else 0.
    pub stale: IntGauge,
}

impl ServerMetrics {
    /// `state` is one of `STATES`.
    pub fn show(&self, state: &str) {
        for (name, gauge) in STATES.iter().zip(&self.states) {
            gauge.set((*name == state).into());
        }
    }
}

impl CodingsMetrics {
    pub fn of(&self, coding: &str) -> CodingMetrics {
        let answers = |from: &str| self.answers.with_label_values(&[coding, from]);
        let bodies = |outcome: &str| self.bodies.with_label_values(&[coding, outcome]);
        let bytes = |direction: &str| self.bytes.with_label_values(&[coding, direction]);
        CodingMetrics {
            stored: answers("cache"),
            streamed: answers("stream"),
            made: bodies("made"),
            useless: bodies("useless"),
            bytes_in: bytes("in"),
            bytes_out: bytes("out"),
        }
    }
}

impl Refusal {
    /// In the order of the variants: the index of a counter is the variant's number.
    pub const ALL: [Refusal; 16] = [
        Refusal::RateLimit,
        Refusal::Address,
        Refusal::BodySize,
        Refusal::Concurrency,
        Refusal::NoServer,
        Refusal::ImageQueue,
        Refusal::ImageSignature,
        Refusal::Busy,
        Refusal::LimitUnknown,
        Refusal::Token,
        Refusal::Claims,
        Refusal::NoKeys,
        Refusal::Maintenance,
        Refusal::HeadSize,
        Refusal::UrlLength,
        Refusal::Origin,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Refusal::RateLimit => "rate_limit",
            Refusal::Address => "address",
            Refusal::BodySize => "body_size",
            Refusal::Concurrency => "concurrency",
            Refusal::NoServer => "no_server",
            Refusal::ImageQueue => "image_queue",
            Refusal::ImageSignature => "image_signature",
            Refusal::Busy => "busy",
            Refusal::LimitUnknown => "limit_unknown",
            Refusal::Token => "token",
            Refusal::Claims => "claims",
            Refusal::NoKeys => "no_keys",
            Refusal::Maintenance => "maintenance",
            Refusal::HeadSize => "head_size",
            Refusal::UrlLength => "url_length",
            Refusal::Origin => "origin",
        }
    }
}
