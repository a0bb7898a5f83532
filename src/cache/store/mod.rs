//! Where objects are kept: zones of bounded bytes.

mod zones;

pub use zones::Zones;

use super::fill::Fills;
use super::hits::Hottest;
use super::key::Key;
use super::object::{FIELD_OVERHEAD, Object};
use super::policy::Passing;
use super::purge::{Force, Name, Names, Purges, Verdict};
use super::settings::CacheSettings;
use super::slots::Slots;
use super::tier::{Change, Disk, Redis, RedisTier};
use crate::observe::CacheMetrics;
use http::{HeaderMap, HeaderName};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What an entry costs beside its bytes: its place and the way there, the header map's slots.
const ENTRY_OVERHEAD: usize = 400;

/// How long what can't be stored is remembered as such, in seconds: so long its requests don't
/// wait for each other.
const PASS_SECONDS: u64 = 10;

/// One `caches:` entry. `H` is what a fill hands over when its answer can't be stored.
pub struct Zone<H> {
    settings: CacheSettings,
    kept: Arc<Kept>,
    pub(super) purges: Arc<Purges>,
    pub(super) disk: Option<Arc<Disk>>,
    pub(super) redis: Option<RedisTier>,
    pub fills: Fills<H>,
    pub metrics: CacheMetrics,
}

/// What lies below a zone's memory.
#[derive(Default)]
pub struct Tiers {
    pub disk: Option<Arc<Disk>>,
    pub redis: Option<RedisTier>,
}

/// What a zone holds, and one of another size after it.
struct Kept {
    slots: Slots<Key, Slot>,
    generations: AtomicU64,
}

#[derive(Clone)]
enum Slot {
    Object(Arc<Object>),
    /// The object has variants, each under a key of its own.
    Varies(Arc<Varies>),
    /// What is here can't be stored: until then, don't make anybody wait for it.
    Pass {
        whose: Passing,
        until: u64,
        /// Whose answer it was.
        fill: u64,
    },
}

struct Varies {
    generation: u64,
    names: Box<[HeaderName]>,
    /// The last that said so.
    fill: AtomicU64,
}

impl Slot {
    /// Whether what this says was surely asked for after what is called `names`.
    fn is_newer(&self, names: &Names) -> bool {
        let last = match self {
            Slot::Object(object) => object.names.fill(),
            Slot::Varies(by) => by.fill.load(Ordering::Relaxed),
            Slot::Pass { fill, .. } => *fill,
        };
        names.fill() != 0 && names.fill() < last
    }
}

pub enum Found {
    Object {
        key: Key,
        object: Arc<Object>,
    },
    Pass {
        key: Key,
        whose: Passing,
    },
    /// Nothing; a fill would be for this key.
    Nothing {
        key: Key,
    },
}

impl<H> Zone<H> {
    pub fn new(
        settings: CacheSettings,
        metrics: CacheMetrics,
        purges: Arc<Purges>,
        tiers: Tiers,
    ) -> Zone<H> {
        let kept = Kept {
            slots: Slots::new(settings.memory),
            generations: AtomicU64::new(1),
        };
        Zone::of(Arc::new(kept), settings, metrics, purges, tiers)
    }

    fn of(
        kept: Arc<Kept>,
        settings: CacheSettings,
        metrics: CacheMetrics,
        purges: Arc<Purges>,
        tiers: Tiers,
    ) -> Zone<H> {
        Zone {
            kept,
            // As much again as is stored, and one more, so that whatever its size it can be.
            fills: Fills::new(
                settings.max_object,
                settings.memory.saturating_add(settings.max_object),
                purges.clone(),
            ),
            purges,
            disk: tiers.disk,
            redis: tiers.redis,
            settings,
            metrics,
        }
    }

    pub fn settings(&self) -> &CacheSettings {
        &self.settings
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Bytes of one body.
    pub fn max_object(&self) -> u64 {
        self.settings.max_object
    }

    pub fn find(&self, key: Key, request: &HeaderMap, now: u64) -> Found {
        let found = self.find_by(key, request, now, |key| self.kept.slots.get(key));
        if let Found::Object { object, .. } = &found {
            object.hits.add();
        }
        found
    }

    /// Whether none of these was purged since they were asked for.
    pub fn is_kept(&self, names: &Names) -> bool {
        self.purges.verdict(names) == Verdict::Kept
    }

    /// As `find`, of nobody who asks: it makes nothing more asked for.
    pub fn look(&self, key: Key, request: &HeaderMap, now: u64) -> Found {
        self.find_by(key, request, now, |key| self.kept.slots.peek(key))
    }

    fn find_by(
        &self,
        key: Key,
        request: &HeaderMap,
        now: u64,
        get: impl Fn(&Key) -> Option<Slot>,
    ) -> Found {
        let slots = &self.kept.slots;
        let (slot, key) = match get(&key) {
            Some(Slot::Varies(by)) => {
                let key = key.variant(by.generation, &by.names, request);
                (get(&key), key)
            }
            slot => (slot, key),
        };
        match slot {
            Some(Slot::Object(object)) => match self.purges.verdict(&object.names) {
                Verdict::Kept => Found::Object { key, object },
                Verdict::Stale => {
                    let object = Arc::new(self.aged(&object, now));
                    self.insert(key.clone(), Slot::Object(object.clone()));
                    Found::Object { key, object }
                }
                Verdict::Gone => {
                    slots.remove(&key);
                    Found::Nothing { key }
                }
            },
            Some(Slot::Pass { whose, until, .. }) if now < until => Found::Pass { key, whose },
            _ => Found::Nothing { key },
        }
    }

    /// What this request finds under `key`: one variant, where the object is known to have several.
    pub fn variant(&self, key: &Key, request: &HeaderMap) -> Key {
        // Its body is not asked for, so that it counts as asked for no more than it is.
        let Some(Slot::Varies(by)) = self.kept.slots.peek(key) else {
            return key.clone();
        };
        self.kept.slots.get(key);
        key.variant(by.generation, &by.names, request)
    }

    /// What a soft purge leaves of an object.
    pub(super) fn aged(&self, object: &Object, now: u64) -> Object {
        let encoded = object.encoded.as_deref();
        let mut aged = Object::new(
            object.status,
            object.headers.clone(),
            object.body.clone(),
            object.freshness.expired(now),
            object.names.since(self.purges.now()),
        );
        aged.encoded = encoded.map(|e| Box::new(e.renewed(|_, coded| self.aged(coded, now))));
        aged
    }

    /// The key under which an answer that varies by `vary` goes, for an object asked by `key`.
    /// Makes the object one with variants, unless what is known of it was asked for after what is
    /// called `names`: nobody finds that answer then.
    pub fn place(&self, key: &Key, vary: &[HeaderName], request: &HeaderMap, names: &Names) -> Key {
        if vary.is_empty() {
            return key.clone();
        }
        let generation = match self.kept.slots.get(key) {
            Some(Slot::Varies(by)) if *by.names == *vary => {
                by.fill.fetch_max(names.fill(), Ordering::Relaxed);
                by.generation
            }
            _ => self.vary(key, vary, names),
        };
        key.variant(generation, vary, request)
    }

    /// The generation of the variants.
    fn vary(&self, key: &Key, by: &[HeaderName], names: &Names) -> u64 {
        let generation = self.kept.generations.fetch_add(1, Ordering::Relaxed);
        let varies = Varies {
            generation,
            names: by.into(),
            fill: AtomicU64::new(names.fill()),
        };
        self.insert_unless_newer(key.clone(), Slot::Varies(Arc::new(varies)), names);
        generation
    }

    /// Stores what a fill brought; false where what is there was asked for later.
    pub fn store(&self, key: Key, object: Arc<Object>) -> bool {
        self.metrics.fills_stored.inc();
        self.insert_unless_newer(key, Slot::Object(object.clone()), &object.names)
    }

    fn insert_unless_newer(&self, key: Key, slot: Slot, names: &Names) -> bool {
        let weight = weight(&key, &slot);
        let is_newer = |stored: &Slot| stored.is_newer(names);
        let gone = self.kept.slots.insert_unless(key, slot, weight, is_newer);
        self.count_evicted(gone.as_deref().unwrap_or_default());
        gone.is_some()
    }

    /// Stores what another tier holds already.
    pub fn promote(&self, key: Key, object: Arc<Object>) {
        self.insert(key, Slot::Object(object));
    }

    fn insert(&self, key: Key, slot: Slot) {
        let weight = weight(&key, &slot);
        self.count_evicted(&self.kept.slots.insert(key, slot, weight));
    }

    fn count_evicted(&self, gone: &[Slot]) {
        let objects = gone.iter().filter(|slot| matches!(slot, Slot::Object(_)));
        self.metrics.evicted.inc_by(objects.count() as u64);
    }

    /// Counts what was made of an object since it was stored, if it is stored still.
    pub fn reweigh(&self, key: &Key, object: &Arc<Object>) {
        let gone = self.kept.slots.reweigh(key, |slot| match slot {
            Slot::Object(stored) if Arc::ptr_eq(stored, object) => Some(weight(key, slot)),
            _ => None,
        });
        self.count_evicted(&gone);
    }

    /// Remembers for a while that what this key names can't be stored, or not of whom.
    /// `names`: what the answer that says so is called.
    pub fn pass(&self, key: Key, whose: Passing, now: u64, names: &Names) {
        let stays = match self.kept.slots.peek(&key) {
            Some(Slot::Object(object)) => match whose {
                Passing::All => false,
                Passing::Unstored => object.freshness.is_of_use(now),
                Passing::Proven => true,
            },
            _ => false,
        };
        if !stays {
            let (until, fill) = (now + PASS_SECONDS, names.fill());
            self.insert_unless_newer(key, Slot::Pass { whose, until, fill }, names);
        }
    }

    /// Forgets the object and, their generation being gone, all its variants. Whether there was
    /// anything to forget.
    pub fn invalidate(&self, key: &Key) -> bool {
        let was_stored = self.kept.slots.remove(key).is_some();
        self.fills.invalidate(key) || was_stored
    }

    /// A write made the object invalid, in every tier: RFC 9111 §4.4. `root` is what it hangs on in
    /// slower ones, if not itself; `has_more` of the same name, `url`, if there may be other objects,
    /// such as renditions.
    pub fn forget(&self, key: &Key, root: Option<&Key>, url: Name, has_more: bool) {
        let root = root.unwrap_or(key);
        self.forget_here(key, root, url, has_more);
        if let Some(redis) = &self.redis {
            redis.forget(root, Some((key, url, has_more)));
        }
    }

    /// Another edge did so. What this one may have handed down since must not come back.
    fn forget_too(&self, change: &Change) {
        let was_here = self.forget_here(&change.key, &change.root, change.url, change.has_more);
        if let Some(redis) = &self.redis
            && (was_here || change.has_more)
        {
            redis.forget(&change.root, None);
        }
    }

    fn forget_here(&self, key: &Key, root: &Key, url: Name, has_more: bool) -> bool {
        let was_here = self.invalidate(key);
        // The disk keeps what it has, so that it must be told by name, as it is of purges. Writes to
        // what was never stored are not noted: they would crowd out what operators say. For the same
        // reason the fleet is told of none of these as a purge.
        let may_be_on_disk = |disk: &Arc<Disk>| was_here || disk.may_hold(root);
        if has_more || self.disk.as_ref().is_some_and(may_be_on_disk) {
            self.purges.purge(url, Force::Hard);
        }
        was_here
    }

    /// The `limit` objects found most often since they were stored. Looks at all there are.
    pub fn hottest(
        &self,
        limit: usize,
        counts: impl Fn(&Object) -> bool,
    ) -> Vec<(Key, Arc<Object>)> {
        let mut hottest = Hottest::new(limit);
        self.kept.slots.for_each(|key, slot| {
            if let Slot::Object(object) = slot {
                let is_there =
                    |object: &Object| self.purges.verdict(&object.names) != Verdict::Gone;
                hottest.look(key, object, |object| counts(object) && is_there(object));
            }
        });
        hottest.into_sorted()
    }

    /// Brings the gauges up to date; called when metrics are read.
    pub fn report(&self) {
        self.metrics.bytes.set(self.kept.slots.weight() as i64);
        self.metrics.objects.set(self.kept.slots.len() as i64);
        if let Some(disk) = &self.disk {
            disk.report();
        }
    }

    /// Whether its tiers are those of this connection.
    fn is_on(&self, redis: Option<&Arc<Redis>>) -> bool {
        let mine = self.redis.as_ref();
        mine.is_none_or(|mine| redis.is_some_and(|redis| Arc::ptr_eq(&mine.redis, redis)))
            && self.disk_for(&self.settings, redis).is_some() == self.disk.is_some()
    }

    /// Its own disk, if that will do for these settings.
    fn disk_for(&self, settings: &CacheSettings, redis: Option<&Arc<Redis>>) -> Option<Arc<Disk>> {
        let (disk, wanted) = self.disk.as_ref().zip(settings.disk.as_ref())?;
        let redis = redis.map(Arc::as_ref);
        disk.is_for(wanted, settings.max_object, redis)
            .then(|| disk.clone())
    }

    /// A zone of another size holds what this one holds, as far as it fits once it is in force.
    fn resized(&self, settings: CacheSettings, tiers: Tiers) -> Zone<H> {
        let (metrics, purges) = (self.metrics.clone(), self.purges.clone());
        Zone::of(self.kept.clone(), settings, metrics, purges, tiers)
    }

    /// Takes the room that its settings say.
    fn fit(&self) {
        self.count_evicted(&self.kept.slots.resize(self.settings.memory));
    }
}

/// In bytes, about.
fn weight(key: &Key, slot: &Slot) -> u64 {
    let slot = match slot {
        Slot::Object(object) => object.size(),
        Slot::Varies(by) => by.names.len() * FIELD_OVERHEAD,
        Slot::Pass { .. } => 0,
    };
    (key.as_bytes().len() + slot + ENTRY_OVERHEAD) as u64
}

#[cfg(test)]
pub(super) mod tests;
