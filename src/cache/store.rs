//! Where objects are kept: zones of bounded bytes.

use super::compact::Compact;
use super::encoded::Encoded;
use super::fill::Fills;
use super::hits::{Hits, Hottest};
use super::key::Key;
use super::policy::{Freshness, Passing};
use super::purge::{Force, Name, Names, Purges, Verdict};
use super::settings::CacheSettings;
use super::slots::Slots;
use super::tier::{Change, Disk, DiskSettings, Redis, RedisTier};
use crate::observe::{CacheMetrics, Metrics};
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderName, StatusCode};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What an entry costs beside its bytes: its place and the way there, the header map's slots.
const ENTRY_OVERHEAD: usize = 400;
/// A header field's cost in a `HeaderMap` beside its name and value.
const FIELD_OVERHEAD: usize = 64;
/// What an object in an object costs beside its bytes.
const OBJECT_OVERHEAD: usize = size_of::<Object>() + 128;

/// A stored answer. Whole, and never changed: an update is another object. Only what can be made of
/// it is added, once.
///
/// What a hit needs comes first: the hits beside the count of references that every look-up writes
/// anyway, the rest behind it, and the fields, which it does not need, last.
#[derive(Debug)]
#[repr(C)]
pub struct Object {
    pub hits: Hits,
    pub status: StatusCode,
    /// Its origin has put it into a content coding.
    pub is_coded: bool,
    /// Set where it may be sent in content codings.
    pub encoded: Option<Box<Encoded>>,
    pub freshness: Freshness,
    /// What it is purged by.
    pub names: Names,
    /// `headers` as HTTP/1 writes them, but for what each answer says for itself.
    pub head: Bytes,
    pub body: Bytes,
    /// End-to-end fields, without Age.
    pub headers: HeaderMap,
}

impl Object {
    pub fn new(
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        freshness: Freshness,
        names: Names,
    ) -> Object {
        let Compact { fields, head, body } = Compact::new(&headers, body);
        Object {
            hits: Hits::default(),
            status,
            is_coded: fields.contains_key(CONTENT_ENCODING),
            encoded: None,
            freshness,
            names,
            head,
            body,
            headers: fields,
        }
    }
}

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
            fills: Fills::new(settings.max_object, purges.clone()),
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

    /// Remembers that what this key names can't be stored, or not of whom.
    /// `names`: what the answer that says so is called.
    pub fn pass(&self, key: Key, whose: Passing, until: u64, names: &Names) {
        let is_others = || matches!(self.kept.slots.get(&key), Some(Slot::Object(_)));
        if whose == Passing::All || !is_others() {
            let fill = names.fill();
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
        Slot::Object(object) => size(object),
        Slot::Varies(by) => by.names.len() * FIELD_OVERHEAD,
        Slot::Pass { .. } => 0,
    };
    (key.as_bytes().len() + slot + ENTRY_OVERHEAD) as u64
}

fn size(object: &Object) -> usize {
    let fields = object
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD);
    let encoded = object.encoded.as_deref().map_or(0, |encoded| {
        let made = encoded.made().map(|coded| size(coded) + OBJECT_OVERHEAD);
        size_of::<Encoded>() + made.sum::<usize>()
    });
    object.body.len() + object.names.size() + fields.sum::<usize>() + encoded
}

/// All zones of a process, by name; what they hold survives a reload.
pub struct Zones<H> {
    pub purges: Arc<Purges>,
    by_name: Mutex<HashMap<String, Arc<Zone<H>>>>,
}

impl<H> Default for Zones<H> {
    fn default() -> Zones<H> {
        Zones {
            purges: Arc::default(),
            by_name: Mutex::new(HashMap::new()),
        }
    }
}

impl<H> Zones<H> {
    /// The zones for `settings`, in order. Nothing is forgotten until `commit`. `redis` is set if
    /// any zone has a tier there.
    pub fn build(
        &self,
        settings: &[CacheSettings],
        redis: Option<&Arc<Redis>>,
        metrics: &Metrics,
    ) -> Vec<Arc<Zone<H>>> {
        let known = self
            .by_name
            .lock()
            .expect("no code panics while it holds this lock");
        let build = |s: &CacheSettings| {
            let known = known.get(&s.name);
            let disk = known.and_then(|zone| zone.disk_for(s, redis));
            let tiers = || self.tiers(s, disk, redis, metrics);
            match known {
                Some(zone) if zone.settings == *s && zone.is_on(redis) => zone.clone(),
                Some(zone) => Arc::new(zone.resized(s.clone(), tiers())),
                None => {
                    let (metrics, purges) = (metrics.cache(&s.name), self.purges.clone());
                    Arc::new(Zone::new(s.clone(), metrics, purges, tiers()))
                }
            }
        };
        settings.iter().map(build).collect()
    }

    /// Of a zone with these settings, which had `disk` before.
    fn tiers(
        &self,
        settings: &CacheSettings,
        disk: Option<Arc<Disk>>,
        redis: Option<&Arc<Redis>>,
        metrics: &Metrics,
    ) -> Tiers {
        let name = &settings.name;
        let new_disk = |wanted: &DiskSettings| {
            let (purges, metrics) = (self.purges.clone(), metrics.disk(name));
            let (wanted, limit) = (wanted.clone(), settings.max_object);
            Arc::new(Disk::new(wanted, limit, purges, redis.cloned(), metrics))
        };
        let new_redis = |(redis, wanted): (&Arc<Redis>, _)| {
            let metrics = metrics.tier(name, "redis");
            RedisTier::new(redis.clone(), name, wanted, metrics)
        };
        Tiers {
            disk: disk.or_else(|| settings.disk.as_ref().map(new_disk)),
            redis: redis.zip(settings.redis.clone()).map(new_redis),
        }
    }

    fn disks(&self) -> Vec<Arc<Disk>> {
        let known = self
            .by_name
            .lock()
            .expect("no code panics while it holds this lock");
        known
            .values()
            .filter_map(|zone| zone.disk.clone())
            .collect()
    }

    /// Waits until a purge would outlive this process, or for as long as `patience`. None: there is
    /// no disk that it could outlive it on.
    pub async fn settle_purges(&self, patience: Duration) -> Option<bool> {
        let disks = self.disks();
        let settled = async {
            for disk in &disks {
                disk.settle_purges().await;
            }
        };
        let is_settled = tokio::time::timeout(patience, settled).await.is_ok();
        (!disks.is_empty()).then_some(is_settled)
    }

    /// Waits until what was stored is on disk, or for as long as `patience`.
    pub async fn flush(&self, patience: Duration) {
        let flushed = async {
            for disk in self.disks() {
                disk.flush().await;
            }
        };
        if tokio::time::timeout(patience, flushed).await.is_err() {
            tracing::warn!("not all that was stored is on disk: time is up");
        }
    }

    /// What another edge of the fleet found changed.
    pub fn changed(&self, change: &Change) {
        let known = self
            .by_name
            .lock()
            .expect("no code panics while it holds this lock");
        if let Some(zone) = known.get(&change.zone) {
            zone.forget_too(change);
        }
    }

    pub fn commit(&self, zones: &[Arc<Zone<H>>]) {
        for disk in zones.iter().filter_map(|zone| zone.disk.as_ref()) {
            disk.start();
        }
        zones.iter().for_each(|zone| zone.fit());
        *self
            .by_name
            .lock()
            .expect("no code panics while it holds this lock") = zones
            .iter()
            .map(|z| (z.settings.name.clone(), z.clone()))
            .collect();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cache::key::{KeyRules, Scheme, Url};
    use crate::coding::Coding;

    fn zone(memory: u64) -> Zone<()> {
        let settings = CacheSettings {
            name: "z".into(),
            memory,
            max_object: 1 << 20,
            invalidate_header: None,
            disk: None,
            redis: None,
        };
        let metrics = Metrics::new().cache("z");
        Zone::new(settings, metrics, Arc::default(), Tiers::default())
    }

    fn key(path: &str) -> Key {
        KeyRules::default().key(
            "app",
            Scheme::Http,
            &Url::new("h", path.as_bytes()),
            &HeaderMap::new(),
        )
    }

    pub fn object(body: &'static [u8]) -> Arc<Object> {
        Arc::new(Object::new(
            StatusCode::OK,
            HeaderMap::new(),
            Bytes::from_static(body),
            Freshness {
                stored_at: 0,
                initial_age: 0,
                lifetime: 10,
                stale_while_revalidate: 0,
                stale_if_error: 0,
                always_revalidate: false,
            },
            Names::default(),
        ))
    }

    fn body(zone: &Zone<()>, path: &str, request: &HeaderMap) -> Option<Bytes> {
        match zone.find(key(path), request, 5) {
            Found::Object { object, .. } => Some(object.body.clone()),
            _ => None,
        }
    }

    #[test]
    fn variants_are_found_by_what_the_request_says_and_go_together() {
        let zone = zone(1 << 20);
        let names = [http::header::ACCEPT_LANGUAGE];
        let lang = |l: &'static str| {
            HeaderMap::from_iter([(names[0].clone(), http::HeaderValue::from_static(l))])
        };
        for (language, text) in [("de", &b"hallo"[..]), ("en", b"hello")] {
            let place = zone.place(&key("/x"), &names, &lang(language), &Names::default());
            zone.store(place, object(text));
        }
        assert_eq!(
            body(&zone, "/x", &lang("de")).as_deref(),
            Some(&b"hallo"[..])
        );
        assert_eq!(
            body(&zone, "/x", &lang("en")).as_deref(),
            Some(&b"hello"[..])
        );
        assert_eq!(body(&zone, "/x", &lang("fr")), None);
        zone.invalidate(&key("/x"));
        zone.place(&key("/x"), &names, &lang("fr"), &Names::default());
        assert_eq!(body(&zone, "/x", &lang("de")), None);
    }

    #[test]
    fn bytes_are_bounded_and_a_resized_zone_keeps_what_fits() {
        let big = zone(1 << 20);
        for n in 0..1000 {
            big.store(key(&format!("/{n}")), object(&[0; 4096]));
        }
        big.report();
        assert!(
            big.metrics.bytes.get() <= 1 << 20,
            "{}",
            big.metrics.bytes.get()
        );
        let kept = big.metrics.objects.get();
        assert!(kept > 100);
        assert_eq!(big.metrics.evicted.get(), 1000 - kept as u64);
        let larger = CacheSettings {
            memory: 2 << 20,
            ..big.settings.clone()
        };
        let other = big.resized(larger, Tiers::default());
        other.fit();
        assert_eq!(other.kept.slots.len() as i64, kept);
        big.fit();
        assert_eq!(other.kept.slots.len() as i64, kept);
    }

    #[test]
    fn a_coded_form_is_weighed_and_goes_with_its_object() {
        let zone = zone(1 << 20);
        let weighed = || {
            zone.report();
            zone.metrics.bytes.get()
        };
        let plain = Arc::new(Object {
            encoded: Some(Box::default()),
            ..Arc::into_inner(object(&[0; 4096])).expect("nobody else has it")
        });
        zone.store(key("/x"), plain.clone());
        let before = weighed();
        let encoded = plain.encoded.as_deref().expect("it is there");
        encoded.set(Coding::Gzip, Some(object(&[0; 1000])));
        zone.reweigh(&key("/x"), &plain);
        let after = weighed();
        assert!((1000..2000).contains(&(after - before)), "{before} {after}");

        zone.invalidate(&key("/x"));
        zone.reweigh(&key("/x"), &plain);
        assert_eq!(weighed(), 0);
        zone.store(key("/x"), object(b"another"));
        zone.reweigh(&key("/x"), &plain);
        let found = body(&zone, "/x", &HeaderMap::new());
        assert_eq!(found.as_deref(), Some(&b"another"[..]));
    }

    #[test]
    fn the_hottest_are_those_found_most_often() {
        let zone = zone(1 << 20);
        for n in 0..9 {
            zone.store(key(&format!("/{n}")), object(b"x"));
            for _ in 0..n % 5 {
                body(&zone, &format!("/{n}"), &HeaderMap::new());
            }
        }
        let hottest: Vec<_> = zone
            .hottest(3, |_| true)
            .iter()
            .map(|(_, object)| object.hits.count())
            .collect();
        assert_eq!(hottest, [4, 3, 3]);
        assert_eq!(zone.hottest(100, |_| true).len(), 9);
        assert_eq!(zone.hottest(0, |_| true).len(), 0);
    }

    #[test]
    fn a_pass_ends() {
        let zone = zone(1 << 20);
        zone.pass(key("/x"), Passing::All, 10, &Names::default());
        assert!(matches!(
            zone.find(key("/x"), &HeaderMap::new(), 9),
            Found::Pass { .. }
        ));
        assert!(matches!(
            zone.find(key("/x"), &HeaderMap::new(), 10),
            Found::Nothing { .. }
        ));
    }
}
