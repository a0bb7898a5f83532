//! One fetch for all who wait for the same object.
//!
//! The first request for a key leads: a task of its own fetches, so that the fill outlives the
//! client that caused it. Everybody, the leader's client too, follows: reads the head when it has
//! come, then chunks as they arrive. A fill ends in exactly one way, for all its followers.
//!
//! Chunks are kept from the first one on, so that a late follower gets the whole. A body that
//! outgrows the zone's bound, or finds no room beside those of other fills, can't be stored: then
//! nobody new may join, chunks go once all have read them, and the fetch waits for the slowest
//! follower; not for long where that holds up others.

mod follower;
mod leader;
mod room;

pub use follower::Follower;
pub use leader::Filling;

use super::growing::Growing;
use super::key::Key;
use super::object::Object;
use super::policy::Freshness;
use super::purge::{Names, Purges, Verdict};
use crate::error;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode};
use room::Room;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// How long others wait for a follower who reads nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// Bytes that a body too large to store may be ahead of its slowest reader.
const WINDOW: u64 = 1 << 20;

/// A body of known length from this size on is not kept in chunks: putting them together would
/// take its memory twice, and a worker's time.
const IN_ONE_BLOCK: u64 = 256 << 10;

/// The fills of a zone that run now.
pub struct Fills<H> {
    running: Arc<Running<H>>,
    /// How many ever began.
    begun: AtomicU64,
    /// Bytes of a body; what is larger is streamed and not stored.
    max_object: u64,
    room: Arc<Room>,
    purges: Arc<Purges>,
}

type Running<H> = Mutex<HashMap<Key, Arc<Fill<H>>>>;

pub struct Fill<H> {
    /// Higher than that of any that began before.
    number: u64,
    /// What the object is called as far as that is known before its answer has come, and when it
    /// was asked for. Who comes after a purge that may be of it does not join.
    names: Names,
    state: Mutex<State<H>>,
    /// A follower waits here for the head or for a chunk.
    news: Notify,
    /// The fetch waits here for its slowest follower.
    room: Notify,
    /// What all fills share; followers may need theirs long after the fetch has ended.
    memory: Arc<Room>,
}

struct State<H> {
    phase: Phase<H>,
    chunks: VecDeque<Bytes>,
    /// Where all chunks lie, if the body is large and its length known.
    block: Option<Growing>,
    /// Number of the first chunk kept.
    first: usize,
    /// How many followers read next the chunk `first + i`; one longer than `chunks`.
    readers: VecDeque<usize>,
    /// Bytes kept in `chunks`, and bytes that ever came.
    held: u64,
    total: u64,
    /// Bytes taken of the room for all.
    taken: u64,
    /// Too large to store.
    overflow: bool,
    /// Nobody else may join.
    closed: bool,
    /// Changed at the origin since it was asked for, or asked for again: not to be stored.
    outdated: bool,
    interim: Vec<Arc<Interim>>,
    end: Option<Result<(), error::Kind>>,
}

enum Phase<H> {
    Waiting,
    Open(Arc<Head>),
    Ready(Arc<Object>),
    Recalled(Arc<Object>, &'static str),
    /// Not for sharing: only the leader's own client may have it.
    Private(Option<H>),
    Own(Arc<Object>),
    Failed(error::Kind),
}

/// The head of an answer that is being stored while it is streamed.
#[derive(Debug)]
pub struct Head {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub freshness: Freshness,
    pub names: Names,
    /// Whether requests that come from now on may have it too.
    pub shared: bool,
    /// Where it will be stored: with Vary, another key than the one asked for.
    pub key: Key,
    pub vary: Vec<HeaderName>,
    /// Bytes of the body, if they are known.
    pub length: Option<u64>,
}

/// An answer before the answer: 103 Early Hints and the like.
#[derive(Debug)]
pub struct Interim {
    pub status: StatusCode,
    pub headers: HeaderMap,
}

/// More of them are not passed on.
const MAX_INTERIM: usize = 16;

/// How a fill begins, as each follower sees it.
pub enum Opened<H> {
    /// Read on with `chunk`.
    Head(Arc<Head>),
    /// Stored already: revalidated, or stored by another in the meantime.
    Object(Arc<Object>),
    /// Out of a slower tier, which is named.
    Recalled(Arc<Object>, &'static str),
    /// The live answer, which nobody else may see.
    Mine(H),
    /// It was for the leader alone: ask the origin yourself.
    NotShared,
    Failed(error::Kind),
}

/// What comes next of a fill that has not begun for its follower.
pub enum Progress<H> {
    Interim(Arc<Interim>),
    Opened(Opened<H>),
}

/// What a leader's task reports first.
pub enum Opening<H> {
    Head(Arc<Head>),
    Object(Arc<Object>),
    /// Out of a slower tier, which is named.
    Recalled(Arc<Object>, &'static str),
    /// With the live answer, for the leader's client.
    Private(Option<H>),
    /// What was stored, brought up to date by an answer for the leader's client alone.
    Own(Arc<Object>),
    Failed(error::Kind),
}

/// How a body ended.
pub enum Outcome {
    /// Whole, and small enough to store.
    Body(Bytes),
    /// Whole, but it went past the bound, or was made invalid meanwhile.
    NotKept,
}

pub enum Joined<H> {
    /// Spawn the fetch with this, and follow.
    Leads(Filling<H>, Follower<H>),
    Follows(Follower<H>),
}

impl<H> Fills<H> {
    /// `memory`: bytes for the bodies of all that run.
    pub fn new(max_object: u64, memory: u64, purges: Arc<Purges>) -> Fills<H> {
        Fills {
            room: Arc::new(Room::new(memory)),
            running: Arc::new(Mutex::new(HashMap::new())),
            begun: AtomicU64::new(1),
            max_object,
            purges,
        }
    }

    /// `will_do`: whether an answer that has come already does. `names`: what the object is called,
    /// asked for at the time given.
    pub fn join(
        &self,
        key: &Key,
        will_do: impl FnOnce(&Head) -> bool,
        names: impl FnOnce(u64) -> Names,
    ) -> Joined<H> {
        let mut running = lock(&self.running);
        if let Some(fill) = running.get(key)
            && fill.takes(will_do)
            && fill.is_untouched(&self.purges)
        {
            return Joined::Follows(Follower::new(fill.clone(), false));
        }
        let fill = self.begin(names);
        // Of two answers under way, the one asked for first must not end up in the other's place.
        if let Some(older) = running.insert(key.clone(), fill.clone()) {
            older.outdate();
        }
        Joined::Leads(self.filling(key, &fill), Follower::new(fill, true))
    }

    /// Leads one that nobody joins: for what is surely not to be shared.
    pub fn alone(&self, key: &Key, names: impl FnOnce(u64) -> Names) -> (Filling<H>, Follower<H>) {
        let fill = self.begin(names);
        (self.filling(key, &fill), Follower::new(fill, true))
    }

    fn begin(&self, names: impl FnOnce(u64) -> Names) -> Arc<Fill<H>> {
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let names = names(self.purges.now()).filled_by(number);
        Arc::new(Fill::new(number, names, self.room.clone()))
    }

    fn filling(&self, key: &Key, fill: &Arc<Fill<H>>) -> Filling<H> {
        Filling {
            fill: fill.clone(),
            running: self.running.clone(),
            key: key.clone(),
            max_object: self.max_object,
        }
    }

    /// What is being fetched for `key` was asked for before it changed: nobody else may join, and
    /// it is not stored. Nor are its variants, whose keys begin with its own; so may those of other
    /// objects, which then are fetched once more than needed. Whether there was one.
    pub fn invalidate(&self, key: &Key) -> bool {
        let mut any = false;
        lock(&self.running).retain(|of, fill| {
            let meant = of.as_bytes().starts_with(key.as_bytes());
            if meant {
                fill.outdate();
            }
            any |= meant;
            !meant
        });
        any
    }

    /// Leads, or None when the object is being filled already: for refreshing behind an answer.
    pub fn lead(&self, key: &Key, names: impl FnOnce(u64) -> Names) -> Option<Filling<H>> {
        match self.join(key, |_| true, names) {
            Joined::Leads(filling, _) => Some(filling),
            Joined::Follows(_) => None,
        }
    }
}

impl<H> Fill<H> {
    fn new(number: u64, names: Names, memory: Arc<Room>) -> Fill<H> {
        let state = State {
            phase: Phase::Waiting,
            chunks: VecDeque::new(),
            block: None,
            first: 0,
            readers: VecDeque::from([0]),
            held: 0,
            total: 0,
            taken: 0,
            overflow: false,
            closed: false,
            outdated: false,
            interim: Vec::new(),
            end: None,
        };
        Fill {
            number,
            names,
            state: Mutex::new(state),
            news: Notify::new(),
            room: Notify::new(),
            memory,
        }
    }

    /// Takes room for as many bytes of body, or finds that it can't be kept.
    fn reserve(&self, state: &mut State<H>, bytes: u64) {
        let more = bytes.saturating_sub(state.taken);
        if state.overflow || more == 0 {
            return;
        }
        match self.memory.take(more) {
            true => state.taken += more,
            false => self.overflow(state),
        }
    }

    /// From here on a window is kept, and nobody new may join.
    fn overflow(&self, state: &mut State<H>) {
        (state.overflow, state.closed) = (true, true);
        self.trim(state);
    }

    /// Drops what all have read; only once the body can't be stored.
    fn trim(&self, state: &mut State<H>) {
        while state.readers.len() > 1 && state.readers[0] == 0 {
            state.drop_first();
        }
        self.give_back(state);
    }

    /// Drops what is more than a window old if somebody waits for more, and with it those who have
    /// yet to read it. Whether there were any.
    fn leave_behind(&self, state: &mut State<H>) -> bool {
        let before = state.followers();
        let is_awaited = state.readers.back().is_some_and(|n| *n > 0);
        while is_awaited && state.held > WINDOW {
            state.drop_first();
        }
        self.give_back(state);
        state.followers() < before
    }

    /// What is held no more; a body that can be stored holds all of it to the end.
    fn give_back(&self, state: &mut State<H>) {
        let unused = state.taken.saturating_sub(state.held);
        state.taken -= unused;
        self.memory.give_back(unused);
    }

    /// Whether another may join; `will_do`: whether an answer that has come does for it.
    fn takes(&self, will_do: impl FnOnce(&Head) -> bool) -> bool {
        let state = lock(&self.state);
        match &state.phase {
            _ if state.closed => false,
            Phase::Open(head) => will_do(head),
            _ => true,
        }
    }

    /// Whether surely no purge since it began is of its object.
    fn is_untouched(&self, purges: &Purges) -> bool {
        match &lock(&self.state).phase {
            Phase::Waiting => purges.spare(&self.names),
            Phase::Open(head) => purges.verdict(&head.names) == Verdict::Kept,
            // Such a one is closed.
            _ => false,
        }
    }

    fn outdate(&self) {
        lock(&self.state).outdated = true;
    }
}

impl<H> Drop for Fill<H> {
    fn drop(&mut self) {
        self.memory.give_back(lock(&self.state).taken);
    }
}

impl<H> State<H> {
    fn push(&mut self, chunk: Bytes) {
        let chunk = self.in_block(chunk);
        self.keep(chunk);
    }

    fn keep(&mut self, chunk: Bytes) {
        self.held += chunk.len() as u64;
        self.total += chunk.len() as u64;
        self.chunks.push_back(chunk);
        self.readers.push_back(0);
    }

    /// Once one does not fit, because the length was not what was told, they are kept by themselves.
    fn in_block(&mut self, chunk: Bytes) -> Bytes {
        let Some(block) = &mut self.block else {
            return chunk;
        };
        block.push(&chunk).unwrap_or_else(|| {
            self.block = None;
            chunk
        })
    }

    fn drop_first(&mut self) {
        self.readers.pop_front();
        let chunk = self.chunks.pop_front();
        let chunk = chunk.expect("readers is one longer than chunks");
        self.held -= chunk.len() as u64;
        self.first += 1;
    }

    fn followers(&self) -> usize {
        self.readers.iter().sum()
    }

    fn body(&self, last: &Bytes) -> Bytes {
        if let Some(block) = &self.block {
            return block.whole();
        }
        // Copied even if it is one: a chunk is part of the larger block that it was read into.
        let mut body = BytesMut::with_capacity(self.held as usize + last.len());
        for chunk in self.chunks.iter().chain([last]) {
            body.extend_from_slice(chunk);
        }
        body.freeze()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no code panics while it holds this lock")
}

#[cfg(test)]
mod tests;
