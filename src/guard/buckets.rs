//! Where a limit's buckets are in this process: sixteen bytes each, and bounded.
//!
//! A flood of new keys never pushes an old key out, which would reset its bucket; keys beyond the
//! bound share one. A bucket is known by the time at which it will be full; one that is full is as
//! if it had never been asked, and is dropped.

use crate::observe::LimitMetrics;
use governor::clock::{Clock, Reference};
use governor::nanos::Nanos;
use governor::state::StateStore;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Keys of a shard at most: looking through all of them takes microseconds, for which others wait.
const KEYS_PER_SHARD: usize = 4096;
const LEAST_SHARDS: usize = 64;
/// How often a shard looks for full buckets, and how often one without room does. Nanoseconds.
const SWEEP_EVERY: u64 = 10_000_000_000;
const SWEEP_WITHOUT_ROOM_EVERY: u64 = 1_000_000_000;

/// The buckets of one limit, with all its tiers.
#[derive(Clone)]
pub struct Buckets<C: Clock>(Arc<All<C>>);

/// Which bucket is asked, and for how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// By a random key, of all that tells the bucket from others, its tier included.
    pub hash: u64,
    pub tier: usize,
    /// Never zero.
    pub cost: u32,
}

struct All<C: Clock> {
    shards: Box<[Mutex<Shard>]>,
    keys_per_shard: AtomicUsize,
    clock: C,
    start: C::Instant,
    metrics: LimitMetrics,
}

struct Shard {
    /// Key → when its bucket is full, in nanoseconds since `start`.
    full_at: HashMap<u64, u64, BuildHasherDefault<AlreadyHashed>>,
    /// By tier, the bucket of all keys for which there was no room.
    overflow: Box<[Option<u64>]>,
    swept_at: u64,
}

impl<C: Clock> Buckets<C> {
    pub fn new(max_keys: usize, tiers: usize, clock: C, metrics: LimitMetrics) -> Buckets<C> {
        let shards = max_keys
            .div_ceil(KEYS_PER_SHARD)
            .next_power_of_two()
            .max(LEAST_SHARDS);
        let shard = |_| {
            Mutex::new(Shard {
                full_at: HashMap::default(),
                overflow: vec![None; tiers].into(),
                swept_at: 0,
            })
        };
        Buckets(Arc::new(All {
            shards: (0..shards).map(shard).collect(),
            keys_per_shard: AtomicUsize::new(max_keys.div_ceil(shards).max(1)),
            start: clock.now(),
            clock,
            metrics,
        }))
    }

    /// Takes so many keys from now on. Those that are too many stay until their buckets are full.
    pub fn hold(&self, max_keys: usize) {
        let keys = max_keys.div_ceil(self.0.shards.len()).max(1);
        self.0.keys_per_shard.store(keys, Ordering::Relaxed);
    }

    /// The time after which the bucket is full.
    pub fn full_in(&self, slot: &Slot) -> Duration {
        let mut shard = self.0.shard(slot);
        let full_at = shard.bucket(slot).map_or(0, |full_at| *full_at);
        Duration::from_nanos(full_at.saturating_sub(self.0.now()))
    }

    /// As if what took so long to come back had never been taken.
    pub fn give_back(&self, slot: &Slot, time: Duration) {
        if let Some(full_at) = self.0.shard(slot).bucket(slot) {
            *full_at = full_at.saturating_sub(time.as_nanos() as u64);
        }
    }
}

impl<C: Clock> StateStore for Buckets<C> {
    type Key = Slot;

    fn measure_and_replace<T, F, E>(&self, slot: &Slot, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let all = &*self.0;
        let room = all.keys_per_shard.load(Ordering::Relaxed);
        let mut shard = all.shard(slot);
        all.sweep(&mut shard, SWEEP_EVERY);
        if !shard.full_at.contains_key(&slot.hash) && shard.full_at.len() >= room {
            all.sweep(&mut shard, SWEEP_WITHOUT_ROOM_EVERY);
        }
        let has_room = shard.full_at.len() < room;
        if let Some(full_at) = shard.full_at.get_mut(&slot.hash) {
            let (outcome, next) = decide(Some((*full_at).into()))?;
            *full_at = next.as_u64();
            return Ok(outcome);
        }
        if has_room {
            let (outcome, next) = decide(None)?;
            shard.full_at.insert(slot.hash, next.as_u64());
            all.metrics.keys.inc();
            return Ok(outcome);
        }
        let overflow = &mut shard.overflow[slot.tier];
        let (outcome, next) = decide(overflow.map(Nanos::from))?;
        *overflow = Some(next.as_u64());
        Ok(outcome)
    }
}

impl<C: Clock> All<C> {
    fn now(&self) -> u64 {
        self.clock.now().duration_since(self.start).as_u64()
    }

    fn shard(&self, slot: &Slot) -> MutexGuard<'_, Shard> {
        // There is a power of two of them.
        let shard = slot.hash as usize & (self.shards.len() - 1);
        self.shards[shard]
            .lock()
            .expect("no code panics while it holds this lock")
    }

    /// Drops full buckets, unless that was done within the last `every` nanoseconds.
    fn sweep(&self, shard: &mut Shard, every: u64) {
        let now = self.now();
        if now.saturating_sub(shard.swept_at) < every {
            return;
        }
        shard.swept_at = now;
        let before = shard.full_at.len();
        shard.full_at.retain(|_, full_at| *full_at > now);
        let left = shard.full_at.len();
        if left < shard.full_at.capacity() / 4 {
            shard.full_at.shrink_to(2 * left);
        }
        self.metrics.keys.sub((before - left) as i64);
    }
}

impl<C: Clock> Drop for All<C> {
    /// The gauge is shared with the limit that follows this one after a reload.
    fn drop(&mut self) {
        let lock = |s: &Mutex<Shard>| s.lock().map_or(0, |s| s.full_at.len());
        self.metrics
            .keys
            .sub(self.shards.iter().map(lock).sum::<usize>() as i64);
    }
}

impl Shard {
    fn bucket(&mut self, slot: &Slot) -> Option<&mut u64> {
        let own = self.full_at.get_mut(&slot.hash);
        own.or(self.overflow[slot.tier].as_mut())
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
        self.0 = key.rotate_right(24);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
