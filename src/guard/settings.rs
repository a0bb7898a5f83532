//! Rate limits as their operator wrote them.

use http::{HeaderName, Method};
use std::time::Duration;

/// Limits that a route may have: what they say of a request has room in its context.
pub const MOST_LIMITS: usize = 8;

/// The longest that an empty bucket may take to be full again. Times in nanoseconds stay far from
/// what a number can hold.
pub const LONGEST_REFILL: Duration = Duration::from_secs(3650 * 86_400);

#[derive(Clone, Debug, PartialEq)]
pub struct RateLimitSettings {
    pub name: String,
    /// All together tell one bucket from another; one at least.
    pub key: Vec<KeyPart>,
    /// For all whom no tier fits.
    pub quota: Quota,
    /// The first that fits holds.
    pub tiers: Vec<TierSettings>,
    pub cost: Costs,
    /// Whether answers say how the limit stands, in RateLimit and RateLimit-Policy.
    pub fields: bool,
    /// Count and log, refuse nobody.
    pub dry_run: bool,
    /// Keys kept at most; a key asked beyond that shares one bucket with all such. Default 1,000,000.
    pub max_keys: usize,
    pub store: StoreSettings,
}

impl RateLimitSettings {
    /// Whether it tells requests apart, or ranks them, by a claim.
    pub fn asks_claims(&self) -> bool {
        let conditions = self.tiers.iter().flat_map(|tier| &tier.when);
        let mut asked = self
            .key
            .iter()
            .chain(conditions.map(|condition| &condition.of));
        asked.any(|part| matches!(part, KeyPart::Claim(_)))
    }
}

/// What a request can be told by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    ClientAddress,
    Header(HeaderName),
    Cookie(String),
    /// Of a verified token.
    Claim(String),
    /// One bucket for the whole route.
    Route,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TierSettings {
    /// All must hold; one at least.
    pub when: Vec<Condition>,
    pub quota: Quota,
}

/// A part with exactly this value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pub of: KeyPart,
    pub is: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    pub rate: Rate,
    /// Units that may be taken at once after a pause. Default: the rate's count.
    pub burst: u32,
}

/// `count` units per `per`: `100/min`, `100/15min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

/// Units that a request takes, by its method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Costs {
    pub by_method: Vec<(Method, u32)>,
    pub default: u32,
}

/// Where a limit's buckets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreSettings {
    Local,
    Redis(OnStoreError),
}

/// What holds while the store does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreError {
    /// The same limit, with buckets of this process alone.
    Local,
    Allow,
    Refuse,
}

impl Quota {
    /// The time after which one unit is back. Never zero.
    pub fn interval(&self) -> Duration {
        let interval = self.rate.per / self.rate.count.max(1);
        interval.max(Duration::from_nanos(1))
    }

    /// The time in which an empty bucket becomes full.
    pub fn refill(&self) -> Duration {
        self.interval().saturating_mul(self.burst)
    }
}

impl Costs {
    pub fn of(&self, method: &Method) -> u32 {
        let mut costs = self.by_method.iter();
        let own = costs.find(|(of, _)| of == method);
        own.map_or(self.default, |(_, cost)| *cost)
    }

    pub fn most(&self) -> u32 {
        let costs = self.by_method.iter().map(|(_, cost)| *cost);
        costs.fold(self.default, u32::max)
    }
}

impl Default for Costs {
    fn default() -> Costs {
        Costs {
            by_method: Vec::new(),
            default: 1,
        }
    }
}

impl RateLimitSettings {
    pub fn is_shared(&self) -> bool {
        self.store != StoreSettings::Local
    }

    /// Whether what was counted under these settings counts under `other`.
    pub fn counts_as(&self, other: &RateLimitSettings) -> bool {
        let RateLimitSettings {
            name,
            key,
            quota,
            tiers,
            cost,
            // How it is told, what comes of it, and where it is kept.
            fields: _,
            dry_run: _,
            max_keys: _,
            store: _,
        } = self;
        (name, key, quota, tiers, cost)
            == (
                &other.name,
                &other.key,
                &other.quota,
                &other.tiers,
                &other.cost,
            )
    }

    /// What its key and its tiers ask for.
    pub fn parts(&self) -> impl Iterator<Item = &KeyPart> {
        let conditions = self.tiers.iter().flat_map(|tier| &tier.when);
        self.key.iter().chain(conditions.map(|c| &c.of))
    }
}
