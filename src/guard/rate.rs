//! Rate limits: a token bucket per key, by GCRA (`governor`).
//!
//! Keys live in our own store for `governor`: sixteen bytes each, bounded. A flood of new keys
//! never pushes an old key out, which would reset its bucket; keys beyond the bound share one.

use super::settings::{LimitKey, Rate, RateLimitSettings};
use crate::observe::LimitMetrics;
use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};
use http::HeaderMap;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// All named limits of a process. Buckets survive a reload while a limit's key and rate stay.
#[derive(Default)]
pub struct Limiters {
    by_name: Mutex<HashMap<String, Arc<Limiter>>>,
}

impl Limiters {
    /// The limiters for `settings`, in order; those of before where nothing changed. Nothing is
    /// forgotten until `commit`.
    pub fn build(
        &self,
        settings: &[RateLimitSettings],
        metrics: impl Fn(&str) -> LimitMetrics,
    ) -> Vec<Arc<Limiter>> {
        let known = self
            .by_name
            .lock()
            .expect("no code panics while it holds this lock");
        let build = |s: &RateLimitSettings| match known.get(&s.name) {
            Some(limiter) if limiter.settings == *s => limiter.clone(),
            _ => Arc::new(Limiter::new(s.clone(), metrics(&s.name))),
        };
        settings.iter().map(build).collect()
    }

    /// From here on only these are kept for the next `build`.
    pub fn commit(&self, limiters: &[Arc<Limiter>]) {
        *self
            .by_name
            .lock()
            .expect("no code panics while it holds this lock") = limiters
            .iter()
            .map(|l| (l.settings.name.clone(), l.clone()))
            .collect();
    }
}

/// What a limit may key on.
pub struct Asker<'a> {
    pub address: IpAddr,
    pub headers: &'a HeaderMap,
    /// The route's number in its configuration.
    pub route: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// The bucket is empty; one token is there after this time.
    Refuse {
        retry_after: Duration,
    },
}

/// One named limit.
pub struct Limiter<C: Clock = governor::clock::DefaultClock> {
    settings: RateLimitSettings,
    metrics: LimitMetrics,
    hasher: RandomState,
    gcra: RateLimiter<u64, Buckets<C>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
}

impl Limiter {
    fn new(settings: RateLimitSettings, metrics: LimitMetrics) -> Limiter {
        Limiter::with_clock(settings, metrics, governor::clock::DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limiter<C> {
    pub fn with_clock(settings: RateLimitSettings, metrics: LimitMetrics, clock: C) -> Limiter<C> {
        let buckets = Buckets::new(settings.max_keys, clock.clone(), metrics.clone());
        Limiter {
            gcra: RateLimiter::new(quota(settings.rate, settings.burst), buckets, clock.clone()),
            settings,
            metrics,
            hasher: RandomState::new(),
            clock,
        }
    }

    /// Takes one token, or says when there will be one. A request without the header that a limit
    /// is keyed on is not limited by it.
    pub fn check(&self, asker: &Asker<'_>) -> Verdict {
        let Some(key) = self.key(asker) else {
            return Verdict::Pass;
        };
        let Err(not_until) = self.gcra.check_key(&key) else {
            self.metrics.allowed.inc();
            return Verdict::Pass;
        };
        if self.settings.dry_run {
            self.metrics.dry_run.inc();
            return Verdict::Pass;
        }
        self.metrics.refused.inc();
        Verdict::Refuse {
            retry_after: not_until.wait_time_from(self.clock.now()),
        }
    }

    fn key(&self, asker: &Asker<'_>) -> Option<u64> {
        let mut hash = self.hasher.build_hasher();
        match &self.settings.key {
            LimitKey::Route => hash.write_usize(asker.route),
            LimitKey::Header(name) => hash.write(asker.headers.get(name)?.as_bytes()),
            LimitKey::ClientAddress => match asker.address {
                IpAddr::V4(v4) => hash.write_u32(v4.into()),
                // One customer usually has a whole /64; its addresses share a bucket.
                IpAddr::V6(v6) => hash.write_u64((u128::from(v6) >> 64) as u64),
            },
        }
        Some(hash.finish())
    }
}

/// `burst` at once, and a token back every `per / count`.
fn quota(rate: Rate, burst: u32) -> Quota {
    let interval = (rate.per / rate.count.max(1)).max(Duration::from_nanos(1));
    Quota::with_period(interval)
        .expect("an interval is never zero")
        .allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN))
}

const SHARDS: usize = 64;
/// How often a full shard looks for idle keys, in nanoseconds.
const SWEEP_EVERY: u64 = 1_000_000_000;

/// Key → theoretical arrival time, in nanoseconds since `start`.
struct Buckets<C: Clock> {
    shards: Box<[Mutex<Shard>]>,
    keys_per_shard: usize,
    clock: C,
    start: C::Instant,
    metrics: LimitMetrics,
}

#[derive(Default)]
struct Shard {
    arrivals: HashMap<u64, u64, BuildHasherDefault<AlreadyHashed>>,
    /// The bucket of every key for which there was no room.
    overflow: Option<u64>,
    swept_at: u64,
}

impl<C: Clock> Buckets<C> {
    fn new(max_keys: usize, clock: C, metrics: LimitMetrics) -> Buckets<C> {
        Buckets {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            keys_per_shard: max_keys.div_ceil(SHARDS).max(1),
            start: clock.now(),
            clock,
            metrics,
        }
    }

    fn now(&self) -> u64 {
        self.clock.now().duration_since(self.start).as_u64()
    }

    /// A key whose arrival time has passed has a full bucket: it is as if it had never been asked.
    fn drop_idle(&self, shard: &mut Shard) {
        let now = self.now();
        if now.saturating_sub(shard.swept_at) < SWEEP_EVERY && shard.swept_at != 0 {
            return;
        }
        shard.swept_at = now.max(1);
        let before = shard.arrivals.len();
        shard.arrivals.retain(|_, arrival| *arrival > now);
        self.metrics
            .keys
            .sub((before - shard.arrivals.len()) as i64);
    }
}

impl<C: Clock> StateStore for Buckets<C> {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let shard = &self.shards[*key as usize % SHARDS];
        let mut shard = shard
            .lock()
            .expect("no code panics while it holds this lock");
        if let Some(arrival) = shard.arrivals.get_mut(key) {
            let (outcome, next) = decide(Some((*arrival).into()))?;
            *arrival = next.as_u64();
            return Ok(outcome);
        }
        if shard.arrivals.len() >= self.keys_per_shard {
            self.drop_idle(&mut shard);
        }
        if shard.arrivals.len() >= self.keys_per_shard {
            let (outcome, next) = decide(shard.overflow.map(Nanos::from))?;
            shard.overflow = Some(next.as_u64());
            return Ok(outcome);
        }
        let (outcome, next) = decide(None)?;
        shard.arrivals.insert(*key, next.as_u64());
        self.metrics.keys.inc();
        Ok(outcome)
    }
}

impl<C: Clock> Drop for Buckets<C> {
    /// The gauge is shared with the limit that follows this one after a reload.
    fn drop(&mut self) {
        let lock = |s: &Mutex<Shard>| s.lock().map_or(0, |s| s.arrivals.len());
        self.metrics
            .keys
            .sub(self.shards.iter().map(lock).sum::<usize>() as i64);
    }
}

/// Keys are hashes by a random key already: hashing them again would buy nothing.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are u64")
    }

    fn write_u64(&mut self, key: u64) {
        // The shard took the low bits; the table wants both ends to vary.
        self.0 = key.rotate_right(6);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Metrics;
    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;

    fn settings(count: u32, per: Duration, burst: u32) -> RateLimitSettings {
        RateLimitSettings {
            name: "test".into(),
            key: LimitKey::ClientAddress,
            rate: Rate { count, per },
            burst,
            dry_run: false,
            max_keys: 1000,
        }
    }

    fn limiter(s: RateLimitSettings) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (
            Limiter::with_clock(s, Metrics::new().limit("test"), clock.clone()),
            clock,
        )
    }

    fn from(limiter: &Limiter<FakeRelativeClock>, address: IpAddr) -> Verdict {
        limiter.check(&Asker {
            address,
            headers: &HeaderMap::new(),
            route: 0,
        })
    }

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn a_burst_then_the_rate_and_each_address_its_own() {
        let (limiter, clock) = limiter(settings(60, Duration::from_secs(60), 3));
        for _ in 0..3 {
            assert_eq!(from(&limiter, v4(1)), Verdict::Pass);
        }
        let refused = Verdict::Refuse {
            retry_after: Duration::from_secs(1),
        };
        assert_eq!(from(&limiter, v4(1)), refused);
        assert_eq!(from(&limiter, v4(2)), Verdict::Pass);
        clock.advance(Duration::from_secs(1));
        assert_eq!(from(&limiter, v4(1)), Verdict::Pass);
        assert_eq!(from(&limiter, v4(1)), refused);
    }

    #[test]
    fn addresses_of_one_v6_network_share_a_bucket() {
        let (limiter, _) = limiter(settings(1, Duration::from_secs(60), 1));
        assert_eq!(
            from(&limiter, "2001:db8::1".parse().expect("v6")),
            Verdict::Pass
        );
        assert_ne!(
            from(&limiter, "2001:db8::2".parse().expect("v6")),
            Verdict::Pass
        );
        assert_eq!(
            from(&limiter, "2001:db8:0:1::2".parse().expect("v6")),
            Verdict::Pass
        );
    }

    #[test]
    fn new_keys_never_reset_an_old_one_and_memory_is_bounded() {
        let (limiter, clock) = limiter(settings(1, Duration::from_secs(60), 1));
        assert_eq!(from(&limiter, v4(0)), Verdict::Pass);
        for n in 1..10_000 {
            from(&limiter, v4(n));
        }
        assert_ne!(
            from(&limiter, v4(0)),
            Verdict::Pass,
            "its token is still gone"
        );
        assert!(
            limiter.metrics.keys.get() <= 1024,
            "{}",
            limiter.metrics.keys.get()
        );
        clock.advance(Duration::from_secs(120));
        assert_eq!(
            from(&limiter, v4(20_001)),
            Verdict::Pass,
            "idle keys made room"
        );
    }

    #[test]
    fn a_dry_run_refuses_nobody_and_counts() {
        let dry = RateLimitSettings {
            dry_run: true,
            ..settings(1, Duration::from_secs(60), 1)
        };
        let (limiter, _) = limiter(dry);
        from(&limiter, v4(1));
        assert_eq!(from(&limiter, v4(1)), Verdict::Pass);
        assert_eq!(limiter.metrics.dry_run.get(), 1);
    }

    #[test]
    fn buckets_survive_a_reload_that_leaves_their_limit_alone() {
        let (metrics, limiters) = (Metrics::new(), Limiters::default());
        let one = settings(1, Duration::from_secs(60), 1);
        let first = limiters.build(std::slice::from_ref(&one), |n| metrics.limit(n));
        limiters.commit(&first);
        let same = limiters.build(std::slice::from_ref(&one), |n| metrics.limit(n));
        assert!(Arc::ptr_eq(&first[0], &same[0]));
        let other = RateLimitSettings { burst: 2, ..one };
        let changed = limiters.build(&[other], |n| metrics.limit(n));
        assert!(!Arc::ptr_eq(&first[0], &changed[0]));
    }

    proptest! {
        /// Never more than burst + rate × time; never refused while fewer than that have come.
        #[test]
        fn it_admits_what_the_bucket_holds(
            count in 1u32..200,
            burst in 1u32..50,
            gaps in proptest::collection::vec(0u64..400, 1..300),
        ) {
            let per = Duration::from_secs(10);
            let (limiter, clock) = limiter(settings(count, per, burst));
            let interval = per / count;
            let mut tokens = f64::from(burst);
            for gap in gaps {
                let gap = Duration::from_millis(gap);
                clock.advance(gap);
                tokens = (tokens + gap.as_secs_f64() / interval.as_secs_f64()).min(burst.into());
                let pass = from(&limiter, v4(7)) == Verdict::Pass;
                // A nanosecond of rounding per step is allowed either way.
                if tokens >= 1.0 + 1e-6 {
                    prop_assert!(pass, "refused with {tokens} tokens");
                } else if tokens < 1.0 - 1e-6 {
                    prop_assert!(!pass, "admitted with {tokens} tokens");
                }
                if pass {
                    tokens -= 1.0;
                }
            }
        }
    }
}
