//! A map of bounded weight that many threads read at once: what is asked for again stays.
//!
//! A look-up writes nothing but a small count beside the entry that it found, and not even that once
//! the entry is known to be wanted: there is no list to be kept in the order of use, no queue of
//! what was read. It goes through an index of a few bytes for an entry, which a processor has at
//! hand even for a million of them, to the entry itself, and no further.
//!
//! What goes is decided much as in S3-FIFO (Yang, Zhang, Qiu, Yue, Vigfusson: "FIFO queues are all
//! you need for cache eviction", SOSP 2023). What is new waits in a short queue, and passes on to
//! the long one only if it is asked for there again, so that a scan passes by. What comes back soon
//! after it went has its count still, and goes to the long queue at once. Of a few at the end of the
//! long queue it is the one with the least count that goes, while the others' counts are lowered:
//! that takes a bounded time. What weighs more than the others must be asked for more often.

use hashbrown::HashTable;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Readers of different entries seldom meet at a lock, and a shard is small enough to grow in a breath.
const MOST_SHARDS: u64 = 256;
/// Capacity that is worth a shard of its own: there should be many entries in each.
const SHARD: u64 = 4 << 20;
/// Counts no further: more says nothing about what is wanted soon.
const MOST_SEEN: u8 = 15;
/// Of a shard's weight, the part that is for what is new.
const YOUNG_PART: u64 = 33;
/// Entries of the long queue that are looked at to find one that goes.
const LOOKS: usize = 16;
/// Of so many that are new and would go, one is weighed against what is not.
const TURN: u8 = 16;
/// What went is remembered by half as many as there are, and by no fewer than this.
const LEAST_GHOSTS: usize = 64;

pub struct Slots<K, V> {
    shards: Box<[RwLock<Shard<K, V>>]>,
    hasher: RandomState,
    capacity: AtomicU64,
    weight: AtomicU64,
    /// The shard that gives up an entry next: all do in turn, so that all keep theirs as long.
    hand: AtomicUsize,
}

impl<K: Hash + Eq, V: Clone> Slots<K, V> {
    /// Keeps entries until they weigh more than `capacity` together.
    pub fn new(capacity: u64) -> Slots<K, V> {
        let shards = (capacity / SHARD).clamp(1, MOST_SHARDS).next_power_of_two();
        Slots {
            shards: (0..shards).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            capacity: AtomicU64::new(capacity),
            weight: AtomicU64::new(0),
            hand: AtomicUsize::new(0),
        }
    }

    pub fn get(&self, key: &K) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        self.read(hash).find(hash, key).map(|entry| {
            entry.notice();
            entry.value.clone()
        })
    }

    /// As `get`, without counting as asked for.
    pub fn peek(&self, key: &K) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        let shard = self.read(hash);
        shard.find(hash, key).map(|entry| entry.value.clone())
    }

    /// Keeps `value` instead of what was there. Gives what had to go for it; that may be `value`
    /// itself, if it alone weighs too much.
    pub fn insert(&self, key: K, value: V, weight: u64) -> Vec<V> {
        self.insert_unless(key, value, weight, |_| false)
            .unwrap_or_default()
    }

    /// The same, but for where what is there `stays`: None then.
    pub fn insert_unless(
        &self,
        key: K,
        value: V,
        weight: u64,
        stays: impl FnOnce(&V) -> bool,
    ) -> Option<Vec<V>> {
        let hash = self.hasher.hash_one(&key);
        let mut shard = self.write(hash);
        if shard
            .find(hash, &key)
            .is_some_and(|entry| stays(&entry.value))
        {
            return None;
        }
        if weight > self.capacity() {
            drop(shard);
            self.remove(&key);
            return Some(vec![value]);
        }
        self.weight.fetch_add(weight, Ordering::Relaxed);
        let replaced = shard.insert(hash, key, value, weight);
        self.lighten(replaced.as_ref());
        drop(shard);
        drop(replaced);
        Some(self.evict())
    }

    /// Takes `change`'s word for what the value with this key weighs now; None leaves it.
    pub fn reweigh(&self, key: &K, change: impl FnOnce(&V) -> Option<u64>) -> Vec<V> {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.write(hash);
        if let Some(at) = shard.place(hash, key)
            && let Some(weight) = change(&shard.entry(at).value)
        {
            let before = shard.reweigh(at, weight);
            self.weight.fetch_add(weight, Ordering::Relaxed);
            self.weight.fetch_sub(before, Ordering::Relaxed);
        }
        drop(shard);
        self.evict()
    }

    pub fn remove(&self, key: &K) -> Option<V> {
        let hash = self.hasher.hash_one(key);
        let mut shard = self.write(hash);
        let at = shard.place(hash, key)?;
        let removed = shard.take(at);
        self.lighten(Some(&removed));
        drop(shard);
        Some(removed.value)
    }

    /// Shows all entries, a shard at a time.
    pub fn for_each(&self, mut show: impl FnMut(&K, &V)) {
        for shard in &self.shards {
            let shard = shard.read().expect(UNPOISONED);
            for entry in shard.entries.iter().flatten() {
                show(&entry.key, &entry.value);
            }
        }
    }

    /// Keeps less, or more, from now on. Gives what had to go.
    pub fn resize(&self, capacity: u64) -> Vec<V> {
        self.capacity.store(capacity, Ordering::Relaxed);
        self.evict()
    }

    pub fn weight(&self) -> u64 {
        self.weight.load(Ordering::Relaxed)
    }

    pub fn len(&self) -> usize {
        let len = |shard: &RwLock<Shard<K, V>>| shard.read().expect(UNPOISONED).index.len();
        self.shards.iter().map(len).sum()
    }

    fn capacity(&self) -> u64 {
        self.capacity.load(Ordering::Relaxed)
    }

    fn evict(&self) -> Vec<V> {
        let (mut gone, mut empty) = (Vec::new(), 0);
        while self.weight() > self.capacity() && empty < self.shards.len() {
            let turn = self.hand.fetch_add(1, Ordering::Relaxed) % self.shards.len();
            let mut shard = self.shards[turn].write().expect(UNPOISONED);
            let evicted = shard.evict();
            self.lighten(evicted.as_ref());
            drop(shard);
            empty = if evicted.is_some() { 0 } else { empty + 1 };
            gone.extend(evicted.map(|entry| entry.value));
        }
        gone
    }

    /// While the shard is locked that the entry was in: no entry is subtracted before it was added.
    fn lighten(&self, gone: Option<&Entry<K, V>>) {
        let weight = gone.map_or(0, |entry| entry.weight);
        self.weight.fetch_sub(weight, Ordering::Relaxed);
    }

    fn read(&self, hash: u64) -> RwLockReadGuard<'_, Shard<K, V>> {
        self.shards[self.shard(hash)].read().expect(UNPOISONED)
    }

    fn write(&self, hash: u64) -> RwLockWriteGuard<'_, Shard<K, V>> {
        self.shards[self.shard(hash)].write().expect(UNPOISONED)
    }

    /// By bits that a shard's index does not go by.
    fn shard(&self, hash: u64) -> usize {
        (hash >> 40) as usize % self.shards.len()
    }
}

const UNPOISONED: &str = "no code panics while it holds this lock";

/// What is new, what was asked for again, and a memory of what went.
struct Shard<K, V> {
    /// Places in `entries`.
    index: HashTable<u32>,
    entries: Vec<Option<Entry<K, V>>>,
    free: Vec<u32>,
    young: Queue,
    old: Queue,
    ghosts: Ghosts,
    /// Of what is new that went.
    turn: u8,
}

/// One line of a processor's cache, or two that are read together.
#[repr(align(64))]
struct Entry<K, V> {
    seen: AtomicU8,
    is_old: bool,
    hash: u64,
    key: K,
    value: V,
    weight: u64,
    /// Neighbours in its queue.
    newer: u32,
    older: u32,
}

/// Entries in the order they came. What is linked lies in `entries`.
struct Queue {
    newest: u32,
    oldest: u32,
    weight: u64,
}

const NOWHERE: u32 = u32::MAX;

impl<K, V> Entry<K, V> {
    fn notice(&self) {
        let seen = self.seen.load(Ordering::Relaxed);
        if seen < MOST_SEEN {
            // Of two at once one may be lost: it is but a measure.
            self.seen.store(seen + 1, Ordering::Relaxed);
        }
    }
}

impl<K: Eq, V> Shard<K, V> {
    fn find(&self, hash: u64, key: &K) -> Option<&Entry<K, V>> {
        self.place(hash, key).map(|at| self.entry(at))
    }

    fn place(&self, hash: u64, key: &K) -> Option<u32> {
        let is_it = |at: &u32| {
            let entry = self.entry(*at);
            entry.hash == hash && entry.key == *key
        };
        self.index.find(hash, is_it).copied()
    }

    /// Gives what it replaces.
    fn insert(&mut self, hash: u64, key: K, value: V, weight: u64) -> Option<Entry<K, V>> {
        let replaced = self.place(hash, &key).map(|at| self.take(at));
        let before = match &replaced {
            Some(entry) => Some((entry.seen.load(Ordering::Relaxed), entry.is_old)),
            None => self.ghosts.take(hash).map(|seen| (seen, true)),
        };
        let (seen, is_old) = before.unwrap_or_default();
        self.add(Entry {
            seen: AtomicU8::new(seen),
            is_old,
            hash,
            key,
            value,
            weight,
            newer: NOWHERE,
            older: NOWHERE,
        });
        replaced
    }

    fn add(&mut self, entry: Entry<K, V>) {
        let hash = entry.hash;
        let at = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("a shard has fewer than four billion")
        });
        self.entries[at as usize] = Some(entry);
        let entries = &self.entries;
        self.index
            .insert_unique(hash, at, |at| known(entries, *at).hash);
        self.link(at);
    }

    fn take(&mut self, at: u32) -> Entry<K, V> {
        self.unlink(at);
        let hash = self.entry(at).hash;
        let found = self.index.find_entry(hash, |other| *other == at);
        found.expect("what is linked is indexed").remove();
        self.free.push(at);
        self.entries[at as usize].take().expect(LINKED)
    }

    /// Gives what it weighed before.
    fn reweigh(&mut self, at: u32, weight: u64) -> u64 {
        let entry = self.entry_mut(at);
        let (before, is_old) = (std::mem::replace(&mut entry.weight, weight), entry.is_old);
        let queue = self.queue(is_old);
        queue.weight = queue.weight - before + weight;
        before
    }

    /// Takes what is wanted least of what is looked at. None: there is nothing.
    fn evict(&mut self) -> Option<Entry<K, V>> {
        let least = match self.least_of_young() {
            Some(young) => self.outlived_by(young).unwrap_or(young),
            None => self.least_of_old()?,
        };
        let mut gone = self.take(least);
        let seen = *gone.seen.get_mut();
        self.ghosts.put(gone.hash, seen, self.entries.len());
        Some(gone)
    }

    /// What waited for longest and was not asked for again. Those that were pass on, each once, so
    /// that these steps are no more than insertions. None: there are no more than there should be.
    fn least_of_young(&mut self) -> Option<u32> {
        let (average, enough) = (self.average(), self.weight() / YOUNG_PART);
        // What came last stays: nothing could be asked for again otherwise.
        while self.young.weight > enough && self.young.oldest != self.young.newest {
            let oldest = self.young.oldest;
            let entry = self.entry_mut(oldest);
            if 2 * average * u64::from(*entry.seen.get_mut()) <= entry.weight {
                return Some(oldest);
            }
            self.renew(oldest);
        }
        None
    }

    /// Now and then, what has lain in the long queue for all of a round without being asked for: it
    /// goes instead of `young`, of which less is known. What was wanted once would stay for ever
    /// otherwise where nothing else is wanted twice in a short time.
    fn outlived_by(&mut self, young: u32) -> Option<u32> {
        self.turn = (self.turn + 1) % TURN;
        let oldest = Some(self.old.oldest).filter(|oldest| *oldest != NOWHERE && self.turn == 0)?;
        let seen = self.entry_mut(oldest).seen.get_mut();
        if *seen == 0 {
            self.renew(young);
            return Some(oldest);
        }
        *seen -= 1;
        self.renew(oldest);
        None
    }

    fn least_of_old(&mut self) -> Option<u32> {
        let average = self.average();
        let mut at = match self.old.oldest {
            NOWHERE => self.young.oldest,
            oldest => oldest,
        };
        let mut least = None;
        for _ in 0..LOOKS {
            if at == NOWHERE {
                break;
            }
            let entry = self.entry_mut(at);
            let (seen, newer) = (*entry.seen.get_mut(), entry.newer);
            if least.is_none_or(|(less, _)| seen < less) {
                least = Some((seen, at));
            }
            if seen == 0 {
                break;
            }
            let loss = (entry.weight / average).clamp(1, MOST_SEEN.into());
            *entry.seen.get_mut() = seen.saturating_sub(loss as u8);
            self.renew(at);
            at = newer;
        }
        least.map(|(_, at)| at)
    }

    fn weight(&self) -> u64 {
        self.young.weight + self.old.weight
    }

    fn average(&self) -> u64 {
        (self.weight() / self.index.len().max(1) as u64).max(1)
    }

    /// To the end of the long queue.
    fn renew(&mut self, at: u32) {
        self.unlink(at);
        self.entry_mut(at).is_old = true;
        self.link(at);
    }

    fn link(&mut self, at: u32) {
        let (is_old, weight) = (self.entry(at).is_old, self.entry(at).weight);
        let queue = self.queue(is_old);
        queue.weight += weight;
        let older = std::mem::replace(&mut queue.newest, at);
        if older == NOWHERE {
            queue.oldest = at;
        } else {
            self.entry_mut(older).newer = at;
        }
        let entry = self.entry_mut(at);
        (entry.older, entry.newer) = (older, NOWHERE);
    }

    fn unlink(&mut self, at: u32) {
        let entry = self.entry(at);
        let (is_old, weight, newer, older) = (entry.is_old, entry.weight, entry.newer, entry.older);
        let queue = self.queue(is_old);
        queue.weight -= weight;
        if newer == NOWHERE {
            queue.newest = older;
        }
        if older == NOWHERE {
            queue.oldest = newer;
        }
        if newer != NOWHERE {
            self.entry_mut(newer).older = older;
        }
        if older != NOWHERE {
            self.entry_mut(older).newer = newer;
        }
    }

    fn queue(&mut self, is_old: bool) -> &mut Queue {
        match is_old {
            true => &mut self.old,
            false => &mut self.young,
        }
    }

    fn entry(&self, at: u32) -> &Entry<K, V> {
        known(&self.entries, at)
    }

    fn entry_mut(&mut self, at: u32) -> &mut Entry<K, V> {
        self.entries[at as usize].as_mut().expect(LINKED)
    }
}

const LINKED: &str = "what is linked and indexed is there";

fn known<K, V>(entries: &[Option<Entry<K, V>>], at: u32) -> &Entry<K, V> {
    entries[at as usize].as_ref().expect(LINKED)
}

impl<K, V> Default for Shard<K, V> {
    fn default() -> Shard<K, V> {
        Shard {
            index: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            young: Queue::default(),
            old: Queue::default(),
            ghosts: Ghosts::default(),
            turn: 0,
        }
    }
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            newest: NOWHERE,
            oldest: NOWHERE,
            weight: 0,
        }
    }
}

/// How often what went had been seen. Those that meet in one place push each other out.
#[derive(Default)]
struct Ghosts(Vec<Option<Ghost>>);

#[derive(Clone, Copy)]
struct Ghost {
    mark: u16,
    seen: u8,
}

impl Ghosts {
    fn put(&mut self, hash: u64, seen: u8, entries: usize) {
        let wanted = (entries / 2).next_power_of_two().max(LEAST_GHOSTS);
        if self.0.len() < wanted {
            // Those of a smaller shard are forgotten: it has doubled.
            self.0 = vec![None; wanted];
        }
        let (at, mark) = self.place(hash);
        self.0[at] = Some(Ghost { mark, seen });
    }

    fn take(&mut self, hash: u64) -> Option<u8> {
        if self.0.is_empty() {
            return None;
        }
        let (at, mark) = self.place(hash);
        let ghost = self.0[at].filter(|ghost| ghost.mark == mark)?;
        self.0[at] = None;
        Some(ghost.seen)
    }

    fn place(&self, hash: u64) -> (usize, u16) {
        (hash as usize & (self.0.len() - 1), (hash >> 48) as u16)
    }
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
