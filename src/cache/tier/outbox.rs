//! What is on its way to Redis: purges first, then what writes made invalid, then objects.
//!
//! Every part has a bound. An object that finds no room is not stored, which costs a fetch later.
//! Purges and invalid objects must arrive: they wait for Redis to come back, and when they are too
//! many, one order to take back everything stands for all of them.

use super::note::{Change, Note, What};
use super::shelf::{Place, made_root};
use crate::cache::key::Key;
use crate::cache::object::Object;
use crate::observe::{RedisMetrics, TierMetrics};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Purges and changes that wait.
const MAX_WAITING: usize = 10_000;
/// Objects that wait, and bytes of their bodies.
const MAX_STORES: usize = 1024;
const MAX_STORE_BYTES: usize = 64 << 20;
/// Purges that were told and may have to be told again, should Redis lose them: how many, and for
/// how long.
const MAX_TOLD: usize = 1000;
const TOLD_FOR: Duration = Duration::from_secs(600);

pub struct Outbox {
    state: Mutex<State>,
    news: Notify,
    /// Number of the last purge that was told.
    told: watch::Sender<u64>,
    metrics: RedisMetrics,
}

#[derive(Default)]
struct State {
    /// Of what came last.
    number: u64,
    purges: VecDeque<(u64, Note)>,
    told: VecDeque<(Instant, Note)>,
    changes: VecDeque<(u64, Forget)>,
    /// How often each key is in `changes`.
    forgotten: HashMap<(Arc<str>, Key), usize>,
    stores: VecDeque<(u64, Store)>,
    bytes: usize,
}

/// An object that a write made invalid.
#[derive(Clone)]
pub struct Forget {
    pub zone: Arc<str>,
    pub root: Key,
    /// For the other edges, unless it was one of them that said so.
    pub tell: Option<Change>,
}

impl Forget {
    /// What is taken away: the object, and what was made of it.
    pub fn roots(&self) -> [Key; 2] {
        [self.root.clone(), made_root(&self.root)]
    }
}

/// An object to be stored.
#[derive(Clone)]
pub struct Store {
    pub zone: Arc<str>,
    pub place: Place,
    pub object: Arc<Object>,
    /// The longest that it is kept, in seconds.
    pub ttl: u64,
    pub metrics: TierMetrics,
}

/// With its number.
pub struct Next(pub u64, pub Item);

#[derive(Clone)]
pub enum Item {
    Purge(Note),
    Forget(Forget),
    Store(Store),
}

impl Outbox {
    pub fn new(metrics: RedisMetrics) -> Outbox {
        Outbox {
            state: Mutex::default(),
            news: Notify::new(),
            told: watch::Sender::new(0),
            metrics,
        }
    }

    /// Its number. None: there is no room; tell `everything`.
    pub fn purge(&self, note: Note) -> Option<u64> {
        let mut state = self.lock();
        if state.purges.len() >= MAX_WAITING {
            return None;
        }
        let number = state.add_purge(note);
        self.changed(state);
        Some(number)
    }

    /// In place of all that waited.
    pub fn everything(&self, edge: u64, time: u64) {
        let mut state = self.lock();
        state.purges.clear();
        state.changes.clear();
        state.forgotten.clear();
        let what = What::Everything;
        state.add_purge(Note { edge, time, what });
        self.changed(state);
    }

    /// False: there is no room; tell `everything`.
    pub fn forget(&self, forget: Forget) -> bool {
        let mut state = self.lock();
        if state.changes.len() >= MAX_WAITING {
            return false;
        }
        state.withdraw(&forget);
        for root in forget.roots() {
            let key = (forget.zone.clone(), root);
            *state.forgotten.entry(key).or_default() += 1;
        }
        let number = state.next_number();
        state.changes.push_back((number, forget));
        self.changed(state);
        true
    }

    pub fn store(&self, store: Store) {
        let mut state = self.lock();
        let bytes = store.object.body.len();
        if state.stores.len() >= MAX_STORES || state.bytes + bytes > MAX_STORE_BYTES {
            store.metrics.dropped.inc();
            return;
        }
        state.bytes += bytes;
        let number = state.next_number();
        state.stores.push_back((number, store));
        self.changed(state);
    }

    /// Whether what Redis holds under this root is invalid, and Redis doesn't know yet.
    pub fn is_forgotten(&self, zone: &Arc<str>, key: &Key) -> bool {
        let state = self.lock();
        !state.forgotten.is_empty() && state.forgotten.contains_key(&(zone.clone(), key.clone()))
    }

    /// Waits until the purge of this number is told, and all before it; whether it was in time.
    pub async fn is_told(&self, number: u64, patience: Duration) -> bool {
        let mut told = self.told.subscribe();
        let wait = told.wait_for(|told| *told >= number);
        tokio::time::timeout(patience, wait)
            .await
            .is_ok_and(|r| r.is_ok())
    }

    /// The most urgent, which stays until it is `done`.
    pub async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.lock().first() {
                return next;
            }
            self.news.notified().await;
        }
    }

    /// What `next` gave has arrived; an object also when it could not be stored. It may have been
    /// taken away meanwhile.
    pub fn done(&self, Next(number, item): &Next) {
        let mut state = self.lock();
        match item {
            Item::Purge(note) => {
                pop(&mut state.purges, *number);
                state.keep_told(*note, Instant::now());
                self.told.send_modify(|told| *told = (*told).max(*number));
            }
            Item::Forget(_) => state.end_forget(*number),
            Item::Store(_) => {
                if let Some(store) = pop(&mut state.stores, *number) {
                    state.bytes -= store.object.body.len();
                }
            }
        }
        self.changed(state);
    }

    /// Redis lost what it was told: it is told again. The times of all purges that now wait.
    pub fn again(&self) -> Vec<u64> {
        let mut state = self.lock();
        state.drop_old(Instant::now());
        for (_, note) in std::mem::take(&mut state.told) {
            state.add_purge(note);
        }
        let times = state.purges.iter().map(|(_, note)| note.time).collect();
        self.changed(state);
        times
    }

    fn changed(&self, state: MutexGuard<'_, State>) {
        let waiting = state.purges.len() + state.changes.len();
        self.metrics.waiting.set(waiting as i64);
        drop(state);
        self.news.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

impl State {
    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn add_purge(&mut self, note: Note) -> u64 {
        let number = self.next_number();
        self.purges.push_back((number, note));
        number
    }

    fn first(&self) -> Option<Next> {
        if let Some((number, note)) = self.purges.front() {
            return Some(Next(*number, Item::Purge(*note)));
        }
        if let Some((number, forget)) = self.changes.front() {
            return Some(Next(*number, Item::Forget(forget.clone())));
        }
        let (number, store) = self.stores.front()?;
        Some(Next(*number, Item::Store(store.clone())))
    }

    /// Takes back objects that would be stored after they were forgotten.
    fn withdraw(&mut self, forget: &Forget) {
        let roots = forget.roots();
        let is_it = |s: &Store| s.zone == forget.zone && roots.contains(&s.place.root);
        self.stores.retain(|(_, s)| !is_it(s));
        self.bytes = self.stores.iter().map(|(_, s)| s.object.body.len()).sum();
    }

    fn end_forget(&mut self, number: u64) {
        let Some(forget) = pop(&mut self.changes, number) else {
            return;
        };
        for root in forget.roots() {
            let key = (forget.zone.clone(), root);
            if let Some(count) = self.forgotten.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.forgotten.remove(&key);
                }
            }
        }
    }

    fn keep_told(&mut self, note: Note, now: Instant) {
        self.told.push_back((now, note));
        if self.told.len() > MAX_TOLD {
            self.told.pop_front();
        }
        self.drop_old(now);
    }

    fn drop_old(&mut self, now: Instant) {
        let is_old = |(at, _): &(Instant, Note)| now.duration_since(*at) > TOLD_FOR;
        while self.told.front().is_some_and(is_old) {
            self.told.pop_front();
        }
    }
}

fn pop<T>(queue: &mut VecDeque<(u64, T)>, number: u64) -> Option<T> {
    match queue.front() {
        Some((first, _)) if *first == number => queue.pop_front().map(|(_, item)| item),
        _ => None,
    }
}
