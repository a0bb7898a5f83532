//! What is on its way to the disk. It has a bound: an object that finds no room is not written,
//! which costs a fetch later.

use super::{Open, address};
use crate::cache::object::Object;
use crate::cache::purge::{Purges, Verdict};
use crate::cache::tier::record::{self, Record};
use crate::cache::tier::shelf::{Place, hanging, kept_for, unix_now, varies};
use crate::observe::DiskMetrics;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

/// Objects that wait, and bytes of their bodies.
const MAX_OBJECTS: usize = 4096;
const MAX_BYTES: usize = 64 << 20;
/// What the engine rounds every record up to.
const PAGE: u64 = 4 << 10;

pub struct Outgoing {
    state: Mutex<State>,
    news: Notify,
    metrics: DiskMetrics,
}

#[derive(Default)]
struct State {
    /// The first stays until it is written.
    waiting: VecDeque<Item>,
    bytes: usize,
}

enum Item {
    Object(Place, Arc<Object>),
    Flush(Option<oneshot::Sender<()>>),
}

impl Outgoing {
    pub fn new(metrics: DiskMetrics) -> Outgoing {
        Outgoing {
            state: Mutex::default(),
            news: Notify::new(),
            metrics,
        }
    }

    pub fn add(&self, place: Place, object: Arc<Object>) {
        let mut state = self.lock();
        let bytes = state.bytes + object.body.len();
        if state.waiting.len() >= MAX_OBJECTS || bytes > MAX_BYTES {
            drop(state);
            return self.metrics.tier.dropped.inc();
        }
        state.bytes = bytes;
        state.waiting.push_back(Item::Object(place, object));
        self.changed(state);
    }

    /// Tells `done` when all so far is written.
    pub fn flush(&self, done: oneshot::Sender<()>) {
        let mut state = self.lock();
        state.waiting.push_back(Item::Flush(Some(done)));
        self.changed(state);
    }

    pub fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    async fn next(&self) -> Next {
        loop {
            let next = self.lock().next();
            match next {
                Some(next) => return next,
                None => self.news.notified().await,
            }
        }
    }

    /// With what `next` gave.
    fn done(&self) {
        let mut state = self.lock();
        if let Some(Item::Object(_, object)) = state.waiting.pop_front() {
            state.bytes -= object.body.len();
        }
        self.changed(state);
    }

    fn changed(&self, state: MutexGuard<'_, State>) {
        self.metrics.waiting_bytes.set(state.bytes as i64);
        drop(state);
        self.news.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

enum Next {
    Object(Place, Arc<Object>),
    Flush(Option<oneshot::Sender<()>>),
}

impl State {
    fn next(&mut self) -> Option<Next> {
        Some(match self.waiting.front_mut()? {
            Item::Object(place, object) => Next::Object(place.clone(), object.clone()),
            Item::Flush(done) => Next::Flush(done.take()),
        })
    }
}

/// Writes what is in `outgoing`, in order.
pub struct Writer {
    pub purges: Arc<Purges>,
    pub outgoing: Arc<Outgoing>,
    /// Bytes of the largest record, and of what the engine may be given at a time.
    pub max_record: u64,
    pub max_object: u64,
}

impl Writer {
    pub async fn run(self, open: Open) {
        let mut given = 0;
        loop {
            match self.outgoing.next().await {
                Next::Object(place, object) => {
                    let written = self.write(&open, &place, &object, &mut given).await;
                    let tier = &self.outgoing.metrics.tier;
                    match written {
                        true => tier.writes.inc(),
                        false => tier.dropped.inc(),
                    }
                }
                Next::Flush(done) => {
                    open.engine.settle().await;
                    given = 0;
                    // Who asked may have gone.
                    let _ = done.map(|done| done.send(()));
                }
            }
            self.outgoing.done();
        }
    }

    /// False: there was no point in it, or it is too large.
    async fn write(&self, open: &Open, place: &Place, object: &Object, given: &mut u64) -> bool {
        let names = &object.names;
        let Some(mark) = open.journal.mark(names.asked_at()) else {
            return false;
        };
        if kept_for(&object.freshness, unix_now()) == 0
            || self.purges.verdict(names) != Verdict::Kept
        {
            return false;
        }
        let root = &place.root;
        let key = match &place.below {
            None => root.clone(),
            Some((names, below)) => {
                let (varies, is_new) = varies(self.known(open, place).await, names);
                if is_new {
                    let record = record::encode_varies(root, &varies);
                    self.give(open, address(root), record.into(), given).await;
                }
                hanging(below, varies.generation)
            }
        };
        let record = record::encode_object(&key, object, mark);
        if record.len() as u64 > self.max_record {
            return false;
        }
        self.give(open, address(&key), record.into(), given).await;
        true
    }

    async fn known(&self, open: &Open, place: &Place) -> Option<Record> {
        let bytes = open.engine.get(address(&place.root)).await.ok()??;
        record::decode(&bytes, &place.root, self.max_object, |_| None)
    }

    /// The engine drops silently what it has no room for, so it is never given more.
    async fn give(&self, open: &Open, address: u128, record: Bytes, given: &mut u64) {
        let size = (record.len() as u64 + PAGE).next_multiple_of(PAGE);
        if *given + size > self.max_record {
            open.engine.settle().await;
            *given = 0;
        }
        *given += size;
        open.engine.put(address, record);
    }
}
