//! The tier in Redis, which a fleet shares.
//!
//! Reading happens in a fill, which asks before it fetches; writing behind everybody's back. Both
//! treat every failure as if nothing were stored. What hangs on a key (variants, renditions) is
//! kept under keys that contain a number drawn for it, so that deleting one record makes all of it
//! unreachable.

use super::fleet::{self, CHANGES, Changed, Fleet, MAX_CHANGES, MAX_PURGES, PURGES};
use super::note::Change;
use super::outbox::{Forget, Item, Outbox, Store};
use super::record::{self, Record};
use super::settings::RedisTierSettings;
use super::shelf::{Found, LARGE, Place, Shelf, hanging, kept_for, unix_now, varies};
use crate::breaker::Down;
use crate::cache::key::Key;
use crate::cache::object::Object;
use crate::cache::purge::{Force, Name, Purges, Verdict};
use crate::observe::{RedisMetrics, TierMetrics};
use crate::redis::{Link, RedisSettings};
use http::HeaderName;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::AbortHandle;
use xxhash_rust::xxh3::xxh3_128;

/// What is done without Redis.
const MEANWHILE: &str = "each edge has its own cache alone, and purges reach the others later";
/// Before Redis is tried again with what must arrive.
const PAUSE: Duration = Duration::from_millis(100);

/// The connection to Redis and all that goes over it. Dropped, it ends.
pub struct Redis {
    pub settings: RedisSettings,
    link: Arc<Link>,
    fleet: Arc<Fleet>,
    outbox: Arc<Outbox>,
    purges: Arc<Purges>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// Whether a purge reached the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Redis has it, and the others within a moment.
    Told,
    /// Redis can't be reached: it is told as soon as it can.
    Pending,
}

impl Redis {
    /// Does nothing until `start`.
    pub fn new(settings: RedisSettings, purges: Arc<Purges>, metrics: RedisMetrics) -> Redis {
        Redis {
            link: Arc::new(Link::new(settings.clone(), metrics.link.clone(), MEANWHILE)),
            fleet: Arc::new(Fleet::new(purges.clone(), metrics.clone())),
            outbox: Arc::new(Outbox::new(metrics)),
            tasks: Mutex::default(),
            settings,
            purges,
        }
    }

    /// Connects and goes on for as long as this lives. Called once.
    pub fn start(&self, changed: Changed) {
        self.link.connect();
        let (link, outbox) = (self.link.clone(), self.outbox.clone());
        let listen = tokio::spawn(self.fleet.clone().listen(link, outbox, changed));
        let writer = Writer {
            link: self.link.clone(),
            fleet: self.fleet.clone(),
            outbox: self.outbox.clone(),
            purges: self.purges.clone(),
        };
        let write = tokio::spawn(writer.run());
        *self.tasks() = vec![listen.abort_handle(), write.abort_handle()];
    }

    /// Takes it back here and everywhere. The number is for `is_told`.
    pub fn purge(&self, name: Name, force: Force) -> u64 {
        self.fleet.purge(name, force, &self.outbox)
    }

    /// Waits a moment for the purge of this number.
    pub async fn told(&self, number: u64) -> Told {
        let patience = 2 * self.settings.timeout + PAUSE;
        match self.outbox.is_told(number, patience).await {
            true => Told::Told,
            false => Told::Pending,
        }
    }

    /// Whether all purges of the fleet were known once: none that was made before this edge began
    /// is missing.
    pub fn was_in_touch(&self) -> bool {
        self.fleet.was_in_touch()
    }

    fn forget(&self, forget: Forget) {
        if !self.outbox.forget(forget) {
            self.fleet.everything(&self.outbox);
        }
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<AbortHandle>> {
        self.tasks.lock().expect("no code panics with it")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.tasks().iter().for_each(AbortHandle::abort);
    }
}

/// One zone's part of it.
pub struct RedisTier {
    pub redis: Arc<Redis>,
    pub settings: RedisTierSettings,
    zone: Arc<str>,
    metrics: TierMetrics,
}

impl RedisTier {
    pub fn new(
        redis: Arc<Redis>,
        zone: &str,
        settings: RedisTierSettings,
        metrics: TierMetrics,
    ) -> RedisTier {
        RedisTier {
            redis,
            settings,
            zone: zone.into(),
            metrics,
        }
    }

    /// The object under `root`, or the one that hangs on it under the key that `below` makes.
    pub async fn get(
        &self,
        root: &Key,
        below: impl FnOnce(&[HeaderName]) -> Key + Send,
    ) -> Option<Found> {
        let unknown = !self.redis.fleet.is_in_touch();
        if unknown || self.redis.outbox.is_forgotten(&self.zone, root) {
            self.metrics.misses.inc();
            return None;
        }
        let found = self.find(root, below).await;
        self.metrics.count(&found);
        found.ok().flatten()
    }

    /// Stores it behind everybody's back.
    pub fn put(&self, place: Place, object: &Arc<Object>) {
        if object.body.len() as u64 > self.settings.max_object {
            return;
        }
        self.redis.outbox.store(Store {
            zone: self.zone.clone(),
            place,
            object: object.clone(),
            ttl: self.settings.ttl.as_secs().max(1),
            metrics: self.metrics.clone(),
        });
    }

    /// A write made all that hangs on `root` invalid. `tell` the others: its key in memory, its
    /// name, and whether there is more of that name.
    pub fn forget(&self, root: &Key, tell: Option<(&Key, Name, bool)>) {
        let change = tell.map(|(key, url, has_more)| Change {
            edge: self.redis.fleet.edge,
            zone: self.zone.to_string(),
            key: key.clone(),
            root: root.clone(),
            url,
            has_more,
        });
        self.redis.forget(Forget {
            zone: self.zone.clone(),
            root: root.clone(),
            tell: change,
        });
    }
}

impl Shelf for RedisTier {
    async fn record(&self, key: &Key) -> Result<Option<Record>, Down> {
        let stored = self.redis.link.get(&address(&self.zone, key)).await?;
        let Some(bytes) = stored else {
            return Ok(None);
        };
        let (fleet, key) = (self.redis.fleet.clone(), key.clone());
        let limit = self.settings.max_object;
        let large = bytes.len() > LARGE;
        let decode = move || record::decode(&bytes, &key, limit, |mark| fleet.time(mark));
        Ok(off_worker(large, decode).await.flatten())
    }
}

/// Sends what is in the outbox, in order, one thing at a time.
struct Writer {
    link: Arc<Link>,
    fleet: Arc<Fleet>,
    outbox: Arc<Outbox>,
    purges: Arc<Purges>,
}

impl Writer {
    async fn run(self) {
        loop {
            let next = self.outbox.next().await;
            let sent = match &next.1 {
                Item::Purge(note) => self.purge(note).await,
                Item::Forget(forget) => self.forget(forget).await,
                Item::Store(store) => {
                    match self.store(store).await {
                        Ok(true) => store.metrics.writes.inc(),
                        Ok(false) | Err(Down) => store.metrics.dropped.inc(),
                    }
                    Ok(())
                }
            };
            match sent {
                Ok(()) => self.outbox.done(&next),
                Err(Down) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn purge(&self, note: &super::note::Note) -> Result<(), Down> {
        let add = || self.link.add(PURGES, MAX_PURGES, false, note.fields());
        if add().await?.is_none() {
            // There was no stream: never, or no more.
            fleet::begin(&self.link).await?;
            self.outbox.again();
            add().await?;
        }
        Ok(())
    }

    async fn forget(&self, forget: &Forget) -> Result<(), Down> {
        let keys = forget.roots().map(|root| address(&forget.zone, &root));
        self.link.delete(keys.to_vec()).await?;
        if let Some(change) = &forget.tell {
            let fields = change.fields();
            self.link.add(CHANGES, MAX_CHANGES, true, fields).await?;
        }
        Ok(())
    }

    /// False: there was no point in it.
    async fn store(&self, store: &Store) -> Result<bool, Down> {
        let names = &store.object.names;
        let seconds = kept_for(&store.object.freshness, unix_now()).min(store.ttl);
        let Some(mark) = self.fleet.mark(names.asked_at()) else {
            return Ok(false);
        };
        if seconds == 0 || self.purges.verdict(names) != Verdict::Kept {
            return Ok(false);
        }
        let root = &store.place.root;
        let key = match &store.place.below {
            None => root.clone(),
            Some((names, below)) => {
                let generation = self.generation(store, names).await?;
                hanging(below, generation)
            }
        };
        let (object, of) = (store.object.clone(), key.clone());
        let large = object.body.len() > LARGE;
        let encode = move || record::encode_object(&of, &object, mark);
        let Some(bytes) = off_worker(large, encode).await else {
            return Ok(false);
        };
        let address = address(&store.zone, &key);
        self.link.set(&address, bytes.into(), seconds).await?;
        Ok(true)
    }

    /// Of what hangs on the root, which is kept for as long as this object may be.
    async fn generation(&self, store: &Store, names: &[HeaderName]) -> Result<u64, Down> {
        let root = &store.place.root;
        let address = address(&store.zone, root);
        let known = self.link.get(&address).await?;
        let known = known.and_then(|bytes| record::decode(&bytes, root, u64::MAX, |_| None));
        // Written in any case, which keeps it for as long.
        let (varies, _) = varies(known, names);
        let record = record::encode_varies(root, &varies);
        self.link.set(&address, record.into(), store.ttl).await?;
        Ok(varies.generation)
    }
}

/// Two keys may meet here: their records tell them apart.
fn address(zone: &str, key: &Key) -> String {
    format!("lakh:v1:{zone}:{:032x}", xxh3_128(key.as_bytes()))
}

/// On a thread of its own if it is `large`. None: it panicked.
async fn off_worker<T: Send + 'static>(
    large: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    match large {
        true => tokio::task::spawn_blocking(work).await.ok(),
        false => Some(work()),
    }
}
