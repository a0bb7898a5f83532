//! One rate limit: a token bucket per key, by GCRA (`governor`).

use super::asker::Asker;
use super::buckets::{Buckets, Slot};
use super::settings::{Quota, RateLimitSettings};
use super::standing::policy;
use crate::observe::LimitMetrics;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::{Quota as GcraQuota, RateLimiter};
use serde::Serialize;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// All named limits of a process. Buckets survive a reload while a limit stays as it is.
#[derive(Default)]
pub struct Limiters {
    by_name: Mutex<HashMap<String, Arc<Limiter>>>,
}

impl Limiters {
    /// The limiters for `settings`, in order; those of before where nothing changed, and with their
    /// buckets where these are still for the same. Nothing is forgotten until `commit`.
    pub fn build(
        &self,
        settings: &[RateLimitSettings],
        metrics: impl Fn(&str) -> LimitMetrics,
    ) -> Vec<Arc<Limiter>> {
        let known = self.known();
        let build = |s: &RateLimitSettings| match known.get(&s.name) {
            Some(limiter) if limiter.settings == *s => limiter.clone(),
            Some(limiter) if limiter.settings.counts_as(s) => Arc::new(limiter.with(s.clone())),
            _ => {
                let clock = DefaultClock::default();
                Arc::new(Limiter::new(s.clone(), metrics(&s.name), clock))
            }
        };
        settings.iter().map(build).collect()
    }

    /// From here on only these are kept for the next `build`.
    pub fn commit(&self, limiters: &[Arc<Limiter>]) {
        for limiter in limiters {
            limiter.buckets.hold(limiter.settings.max_keys);
        }
        let named = |l: &Arc<Limiter>| (l.settings.name.clone(), l.clone());
        *self.known() = limiters.iter().map(named).collect();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Arc<Limiter>>> {
        self.by_name
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

/// One named limit.
pub struct Limiter<C: Clock = DefaultClock> {
    pub(super) settings: RateLimitSettings,
    pub(super) metrics: LimitMetrics,
    hasher: RandomState,
    buckets: Buckets<C>,
    /// The last one is for all whom no other fits.
    tiers: Arc<[Tier<C>]>,
}

/// A limit, and what it has decided.
#[derive(Serialize)]
pub struct Shown {
    name: String,
    dry_run: bool,
    /// As in RateLimit-Policy; the last is for all whom no tier fits.
    policies: Vec<String>,
    keys: i64,
    allowed: u64,
    refused: u64,
    /// But for `dry_run`.
    would_refuse: u64,
}

struct Tier<C: Clock> {
    quota: Quota,
    gcra: RateLimiter<Slot, Buckets<C>, C, NoOpMiddleware<C::Instant>>,
    /// For RateLimit-Policy.
    policy: Box<str>,
}

impl<C: Clock + Clone> Limiter<C> {
    pub fn new(settings: RateLimitSettings, metrics: LimitMetrics, clock: C) -> Limiter<C> {
        let quotas = settings.tiers.iter().map(|tier| tier.quota);
        let quotas: Vec<Quota> = quotas.chain([settings.quota]).collect();
        let (clock_of_all, bound) = (clock.clone(), settings.max_keys);
        let buckets = Buckets::new(bound, quotas.len(), clock_of_all, metrics.clone());
        let tier = |quota: Quota| Tier {
            quota,
            gcra: RateLimiter::new(gcra(&quota), buckets.clone(), clock.clone()),
            policy: policy(&settings.name, &quota).into(),
        };
        Limiter {
            tiers: quotas.into_iter().map(tier).collect(),
            buckets,
            settings,
            metrics,
            hasher: RandomState::new(),
        }
    }

    /// The same count under other settings, which must be such as `counts_as` takes.
    fn with(&self, settings: RateLimitSettings) -> Limiter<C> {
        Limiter {
            settings,
            metrics: self.metrics.clone(),
            hasher: self.hasher.clone(),
            buckets: self.buckets.clone(),
            tiers: self.tiers.clone(),
        }
    }

    /// For the admin API.
    pub fn shown(&self) -> Shown {
        Shown {
            name: self.settings.name.clone(),
            dry_run: self.settings.dry_run,
            policies: self
                .tiers
                .iter()
                .map(|tier| tier.policy.to_string())
                .collect(),
            keys: self.metrics.keys.get(),
            allowed: self.metrics.allowed.get(),
            refused: self.metrics.refused.get(),
            would_refuse: self.metrics.dry_run.get(),
        }
    }

    /// Which bucket the request takes from, and how much. None: the limit doesn't concern it, for
    /// it costs nothing or has none of what the limit is keyed on.
    pub(super) fn slot(&self, asker: &Asker<'_>) -> Option<Slot> {
        let cost = self.settings.cost.of(asker.method);
        if cost == 0 {
            return None;
        }
        let tier = self.tier(asker);
        let mut hash = self.hasher.build_hasher();
        hash.write_usize(tier);
        let has_any = asker.tell(&self.settings.key, |bytes| hash.write(bytes));
        let hash = hash.finish();
        has_any.then_some(Slot { hash, tier, cost })
    }

    /// Takes what the request costs, or says when it can be had.
    pub(super) fn take(&self, slot: &Slot) -> Result<(), Duration> {
        let gcra = &self.tiers[slot.tier].gcra;
        let cost = NonZeroU32::new(slot.cost).expect("a slot costs something");
        gcra.check_key_n(slot, cost)
            .expect("config: no cost is above a burst")
            .map_err(|not_until| not_until.wait_time_from(gcra.clock().now()))
    }

    /// What `take` would say now. Nothing is taken.
    pub(super) fn look(&self, slot: &Slot) -> Result<(), Duration> {
        self.would_take(slot, self.full_in(slot))
    }

    /// Of a bucket that is full after this time.
    pub(super) fn would_take(&self, slot: &Slot, full_in: Duration) -> Result<(), Duration> {
        let wait = (full_in + self.price(slot)).checked_sub(self.quota(slot.tier).refill());
        match wait.filter(|wait| !wait.is_zero()) {
            None => Ok(()),
            Some(wait) => Err(wait),
        }
    }

    pub(super) fn give_back(&self, slot: &Slot) {
        self.buckets.give_back(slot, self.price(slot));
    }

    /// The time after which the bucket is full.
    pub(super) fn full_in(&self, slot: &Slot) -> Duration {
        self.buckets.full_in(slot)
    }

    /// What the request takes, as the time in which it comes back.
    pub(super) fn price(&self, slot: &Slot) -> Duration {
        self.quota(slot.tier).interval() * slot.cost
    }

    pub(super) fn quota(&self, tier: usize) -> &Quota {
        &self.tiers[tier].quota
    }

    pub(super) fn policy(&self, tier: usize) -> &str {
        &self.tiers[tier].policy
    }

    fn tier(&self, asker: &Asker<'_>) -> usize {
        let mut tiers = self.settings.tiers.iter();
        let first = tiers.position(|tier| asker.fits(&tier.when));
        first.unwrap_or(self.settings.tiers.len())
    }
}

fn gcra(quota: &Quota) -> GcraQuota {
    GcraQuota::with_period(quota.interval())
        .expect("an interval is never zero")
        .allow_burst(NonZeroU32::new(quota.burst).unwrap_or(NonZeroU32::MIN))
}
