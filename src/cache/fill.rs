//! One fetch for all who wait for the same object.
//!
//! The first request for a key leads: a task of its own fetches, so that the fill outlives the
//! client that caused it. Everybody, the leader's client too, follows: reads the head when it has
//! come, then chunks as they arrive. A fill ends in exactly one way, for all its followers.
//!
//! Chunks are kept from the first one on, so that a late follower gets the whole. A body that
//! outgrows the zone's bound can't be stored: then nobody new may join, chunks go once all have
//! read them, and the fetch waits for the slowest follower.

use super::growing::Growing;
use super::key::Key;
use super::policy::Freshness;
use super::purge::{Names, Purges, Verdict};
use super::store::Object;
use crate::error;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

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
    pub fn new(max_object: u64, purges: Arc<Purges>) -> Fills<H> {
        Fills {
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
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let names = names(self.purges.now()).filled_by(number);
        let fill = Arc::new(Fill::new(number, names));
        // Of two answers under way, the one asked for first must not end up in the other's place.
        if let Some(older) = running.insert(key.clone(), fill.clone()) {
            older.outdate();
        }
        let filling = Filling {
            fill: fill.clone(),
            running: self.running.clone(),
            key: key.clone(),
            max_object: self.max_object,
        };
        Joined::Leads(filling, Follower::new(fill, true))
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
    fn new(number: u64, names: Names) -> Fill<H> {
        let state = State {
            phase: Phase::Waiting,
            chunks: VecDeque::new(),
            block: None,
            first: 0,
            readers: VecDeque::from([0]),
            held: 0,
            total: 0,
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
        }
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

/// The fetching side. Dropped before its end (a panic, a shutdown), it fails the fill, so that
/// nobody waits for ever.
pub struct Filling<H> {
    fill: Arc<Fill<H>>,
    running: Arc<Running<H>>,
    key: Key,
    max_object: u64,
}

impl<H> Filling<H> {
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What the object is called, but for its tags.
    pub fn names(&self) -> &Names {
        &self.fill.names
    }

    /// Whether it must not be stored: asked for before it changed, or before another fill's.
    pub fn is_outdated(&self) -> bool {
        lock(&self.fill.state).outdated
    }

    /// Whether anybody waits for it.
    pub fn is_awaited(&self) -> bool {
        lock(&self.fill.state).followers() > 0
    }

    /// For all who wait.
    pub fn interim(&self, interim: Interim) {
        let mut state = lock(&self.fill.state);
        if state.interim.len() < MAX_INTERIM {
            state.interim.push(Arc::new(interim));
        }
        drop(state);
        self.fill.news.notify_waiters();
    }

    pub fn open(&self, opening: Opening<H>) {
        if let Opening::Head(head) = &opening {
            self.be_known_as(&head.key);
        }
        // Who asks from here on asks after the answer came, and either finds it stored or may not
        // have it.
        let mut state = lock(&self.fill.state);
        state.closed = !matches!(&opening, Opening::Head(head) if head.shared);
        if let Opening::Head(head) = &opening {
            let length = head.length.unwrap_or(0);
            let is_large = (IN_ONE_BLOCK..=self.max_object).contains(&length);
            state.block = is_large.then(|| Growing::new(length as usize));
        }
        state.phase = match opening {
            Opening::Head(head) => Phase::Open(head),
            Opening::Object(object) => Phase::Ready(object),
            Opening::Recalled(object, tier) => Phase::Recalled(object, tier),
            Opening::Private(answer) => Phase::Private(answer),
            Opening::Own(object) => Phase::Own(object),
            Opening::Failed(kind) => Phase::Failed(kind),
        };
        drop(state);
        self.fill.news.notify_waiters();
    }

    /// Where the answer varies, those who ask for the same variant find the fill by that key. Of
    /// two, the one asked for first must not end up in the other's place.
    fn be_known_as(&self, key: &Key) {
        let mut running = lock(&self.running);
        match running.get(key) {
            Some(other) if other.number > self.fill.number => return self.fill.outdate(),
            Some(other) if !Arc::ptr_eq(other, &self.fill) => other.outdate(),
            _ => {}
        }
        // Unless it has lost its own place: then it is for those who have joined already.
        if running
            .get(&self.key)
            .is_some_and(|f| Arc::ptr_eq(f, &self.fill))
        {
            running.insert(key.clone(), self.fill.clone());
        }
    }

    /// Adds a chunk; false when nobody needs the rest: too large to store, and all have left.
    pub async fn push(&self, chunk: Bytes) -> bool {
        {
            let mut state = lock(&self.fill.state);
            state.push(chunk);
            if !state.overflow && state.total > self.max_object {
                (state.overflow, state.closed) = (true, true);
                state.trim();
            }
        }
        self.fill.news.notify_waiters();
        self.wait_for_room().await
    }

    async fn wait_for_room(&self) -> bool {
        loop {
            let room = self.fill.room.notified();
            {
                let state = lock(&self.fill.state);
                if !state.overflow {
                    return true;
                }
                if state.followers() == 0 {
                    return false;
                }
                if state.held <= WINDOW {
                    return true;
                }
            }
            room.await;
        }
    }

    /// The body is whole with `last`, which may be empty. What can be stored is stored by `store`
    /// before any follower has all of it, and before anybody new can lead.
    pub fn finish(self, mut last: Bytes, store: impl FnOnce(Outcome)) {
        let outcome = {
            let mut state = lock(&self.fill.state);
            last = state.in_block(last);
            let too_large = state.overflow || state.total + last.len() as u64 > self.max_object;
            if too_large || state.outdated {
                Outcome::NotKept
            } else {
                Outcome::Body(state.body(&last))
            }
        };
        store(outcome);
        let mut state = lock(&self.fill.state);
        if !last.is_empty() {
            state.keep(last);
        }
        state.end = Some(Ok(()));
        drop(state);
        self.fill.news.notify_waiters();
    }

    /// Broken off: every follower's transfer breaks too.
    pub fn fail(self, kind: error::Kind) {
        lock(&self.fill.state).end = Some(Err(kind));
    }

    /// Ends it unnoticed, unless somebody waits for it: then it has to go on.
    pub fn abandon(&self) -> bool {
        let mut running = lock(&self.running);
        let is_awaited = self.is_awaited();
        if !is_awaited
            && running
                .get(&self.key)
                .is_some_and(|f| Arc::ptr_eq(f, &self.fill))
        {
            running.remove(&self.key);
        }
        !is_awaited
    }

    /// Makes room for the next.
    fn leave(&self) {
        let variant = match &lock(&self.fill.state).phase {
            Phase::Open(head) => Some(head.clone()),
            _ => None,
        };
        let mut running = lock(&self.running);
        for key in variant.iter().map(|head| &head.key).chain([&self.key]) {
            if running.get(key).is_some_and(|f| Arc::ptr_eq(f, &self.fill)) {
                running.remove(key);
            }
        }
    }
}

impl<H> Drop for Filling<H> {
    fn drop(&mut self) {
        self.leave();
        let mut state = lock(&self.fill.state);
        if matches!(state.phase, Phase::Waiting) {
            state.phase = Phase::Failed(error::Kind::Truncated);
        }
        state.end.get_or_insert(Err(error::Kind::Truncated));
        drop(state);
        self.fill.news.notify_waiters();
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

    /// Drops what all have read; only once the body can't be stored.
    fn trim(&mut self) {
        while self.readers.len() > 1 && self.readers[0] == 0 {
            self.readers.pop_front();
            let chunk = self
                .chunks
                .pop_front()
                .expect("readers is one longer than chunks");
            self.held -= chunk.len() as u64;
            self.first += 1;
        }
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

/// The reading side.
pub struct Follower<H> {
    fill: Arc<Fill<H>>,
    leads: bool,
    /// Number of the chunk to read next, and of the interim answer.
    next: usize,
    next_interim: usize,
}

impl<H> Follower<H> {
    fn new(fill: Arc<Fill<H>>, leads: bool) -> Follower<H> {
        let mut state = lock(&fill.state);
        let next = state.first;
        state.readers[0] += 1;
        drop(state);
        Follower {
            fill,
            leads,
            next,
            next_interim: 0,
        }
    }

    /// Whether this is the client that caused the fill.
    pub fn leads(&self) -> bool {
        self.leads
    }

    /// Waits for the fill's beginning.
    pub async fn opened(&mut self) -> Opened<H> {
        loop {
            if let Progress::Opened(opened) = self.progress().await {
                return opened;
            }
        }
    }

    /// Waits for the fill's beginning, or an interim answer before it.
    pub async fn progress(&mut self) -> Progress<H> {
        loop {
            let fill = self.fill.clone();
            let mut news = std::pin::pin!(fill.news.notified());
            // Registered before looking, so that no news is missed between the two.
            news.as_mut().enable();
            if let Some(progress) = self.look() {
                return progress;
            }
            news.await;
        }
    }

    fn look(&mut self) -> Option<Progress<H>> {
        let mut state = lock(&self.fill.state);
        if let Some(interim) = state.interim.get(self.next_interim) {
            self.next_interim += 1;
            return Some(Progress::Interim(interim.clone()));
        }
        let opened = match &mut state.phase {
            Phase::Waiting => return None,
            Phase::Open(head) => Opened::Head(head.clone()),
            Phase::Ready(object) => Opened::Object(object.clone()),
            Phase::Recalled(object, tier) => Opened::Recalled(object.clone(), tier),
            Phase::Private(answer) if self.leads => {
                answer.take().map_or(Opened::NotShared, Opened::Mine)
            }
            Phase::Own(object) if self.leads => Opened::Object(object.clone()),
            Phase::Private(_) | Phase::Own(_) => Opened::NotShared,
            Phase::Failed(kind) => Opened::Failed(*kind),
        };
        Some(Progress::Opened(opened))
    }

    /// The next chunk; None at the end of a whole body.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, error::Kind> {
        loop {
            let fill = self.fill.clone();
            let mut news = std::pin::pin!(fill.news.notified());
            news.as_mut().enable();
            if let Some(chunk) = self.take_chunk() {
                return Ok(Some(chunk));
            }
            let end = lock(&self.fill.state).end;
            if let Some(end) = end {
                // A chunk may have come between the two looks.
                return match self.take_chunk() {
                    Some(chunk) => Ok(Some(chunk)),
                    None => end.map(|()| None),
                };
            }
            news.await;
        }
    }

    fn take_chunk(&mut self) -> Option<Bytes> {
        let mut state = lock(&self.fill.state);
        let at = self.next - state.first;
        let chunk = state.chunks.get(at)?.clone();
        state.readers[at] -= 1;
        state.readers[at + 1] += 1;
        self.next += 1;
        self.after_move(state);
        Some(chunk)
    }

    fn after_move(&self, mut state: MutexGuard<'_, State<H>>) {
        if state.overflow {
            state.trim();
            drop(state);
            self.fill.room.notify_one();
        }
    }
}

impl<H> Drop for Follower<H> {
    fn drop(&mut self) {
        let mut state = lock(&self.fill.state);
        let at = self.next - state.first;
        state.readers[at] -= 1;
        self.after_move(state);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no code panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::{KeyRules, Scheme, Url};
    use crate::cache::purge::{Force, Name, SURROGATE_KEY};
    use http::HeaderValue;

    fn key() -> Key {
        KeyRules::default().key("app", Scheme::Http, &Url::new("h", b"/"), &HeaderMap::new())
    }

    fn names(since: u64) -> Names {
        let address = KeyRules::default().address(&Url::new("h", b"/"));
        Names::new("h", b"/", &address, since)
    }

    fn head() -> Head {
        Head {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            freshness: Freshness {
                stored_at: 0,
                initial_age: 0,
                lifetime: 1,
                stale_while_revalidate: 0,
                stale_if_error: 0,
                always_revalidate: false,
            },
            names: Names::default(),
            shared: true,
            key: key(),
            vary: vec![],
            length: None,
        }
    }

    fn lead(fills: &Fills<u32>) -> (Filling<u32>, Follower<u32>) {
        match fills.join(&key(), |_| true, names) {
            Joined::Leads(filling, follower) => (filling, follower),
            Joined::Follows(_) => panic!("somebody leads already"),
        }
    }

    fn follow(fills: &Fills<u32>) -> Follower<u32> {
        match fills.join(&key(), |_| true, names) {
            Joined::Follows(follower) => follower,
            Joined::Leads(..) => panic!("nobody leads"),
        }
    }

    async fn read(follower: &mut Follower<u32>) -> Result<Vec<u8>, error::Kind> {
        let mut body = Vec::new();
        while let Some(chunk) = follower.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    #[tokio::test]
    async fn who_asks_after_an_answer_for_those_before_leads_anew() {
        let fills = Fills::new(1 << 20, Arc::default());
        let (filling, mut first) = lead(&fills);
        let shared = false;
        filling.open(Opening::Head(Arc::new(Head { shared, ..head() })));
        let (later, _follower) = lead(&fills);
        filling.finish("old".into(), |_| {});
        assert_eq!(read(&mut first).await, Ok(b"old".to_vec()));
        drop(later);
        lead(&fills);
    }

    #[tokio::test]
    async fn who_wants_it_anew_joins_only_while_nothing_has_come() {
        let fills = Fills::new(1 << 20, Arc::default());
        let (filling, _follower) = lead(&fills);
        assert!(matches!(
            fills.join(&key(), |_| false, names),
            Joined::Follows(_)
        ));
        filling.open(Opening::Head(Arc::new(head())));
        assert!(matches!(
            fills.join(&key(), |_| true, names),
            Joined::Follows(_)
        ));
        assert!(matches!(
            fills.join(&key(), |_| false, names),
            Joined::Leads(..)
        ));
    }

    #[tokio::test]
    async fn what_changes_while_it_is_fetched_is_not_stored() {
        let fills = Fills::new(1 << 20, Arc::default());
        let (filling, mut follower) = lead(&fills);
        filling.open(Opening::Head(Arc::new(head())));
        fills.invalidate(&key());
        let (_newer, _) = lead(&fills);
        filling.finish("old".into(), |outcome| {
            assert!(matches!(outcome, Outcome::NotKept));
        });
        assert_eq!(read(&mut follower).await, Ok(b"old".to_vec()));
        assert!(matches!(
            fills.join(&key(), |_| true, names),
            Joined::Follows(_)
        ));
    }

    #[tokio::test]
    async fn who_comes_after_a_purge_of_it_does_not_join_and_the_old_is_not_stored() {
        let purges = Arc::<Purges>::default();
        let fills = Fills::new(1 << 20, purges.clone());
        let (filling, _follower) = lead(&fills);
        purges.purge(Name::host("other"), Force::Hard);
        follow(&fills);
        let tagged = HeaderMap::from_iter([(SURROGATE_KEY, HeaderValue::from_static("mine"))]);
        let names = names(0).tagged(&tagged);
        filling.open(Opening::Head(Arc::new(Head { names, ..head() })));
        purges.purge(Name::tag(b"another"), Force::Hard);
        follow(&fills);
        purges.purge(Name::tag(b"mine"), Force::Soft);
        let (newer, _) = lead(&fills);
        assert_eq!(newer.names().asked_at(), 3);
        filling.finish("old".into(), |outcome| {
            assert!(matches!(outcome, Outcome::NotKept));
        });
    }

    #[tokio::test]
    async fn before_its_tags_are_known_any_purged_tag_may_be_its_own() {
        let purges = Arc::<Purges>::default();
        let fills = Fills::new(1 << 20, purges.clone());
        let (_filling, _follower) = lead(&fills);
        purges.purge(Name::tag(b"t"), Force::Hard);
        lead(&fills);
    }

    #[tokio::test]
    async fn what_one_that_wants_it_anew_replaces_is_not_stored() {
        let fills = Fills::new(1 << 20, Arc::default());
        let (filling, _follower) = lead(&fills);
        filling.open(Opening::Head(Arc::new(head())));
        assert!(!filling.is_outdated());
        assert!(matches!(
            fills.join(&key(), |_| false, names),
            Joined::Leads(..)
        ));
        assert!(filling.is_outdated());
    }

    #[tokio::test]
    async fn only_what_nobody_waits_for_can_be_abandoned() {
        let fills = Fills::new(1 << 20, Arc::default());
        let (filling, follower) = lead(&fills);
        assert!(!filling.abandon());
        assert!(matches!(
            fills.join(&key(), |_| true, names),
            Joined::Follows(_)
        ));
        drop(follower);
        assert!(filling.abandon());
        lead(&fills);
    }

    #[tokio::test]
    async fn interim_answers_come_first_and_to_all() {
        let fills = Fills::new(1 << 20, Arc::default());
        let (filling, mut first) = lead(&fills);
        let mut second = follow(&fills);
        let early = |status| Interim {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
        };
        filling.interim(early(102));
        filling.interim(early(103));
        filling.open(Opening::Head(Arc::new(head())));
        for follower in [&mut first, &mut second] {
            for status in [102, 103] {
                let Progress::Interim(interim) = follower.progress().await else {
                    panic!("{status} first")
                };
                assert_eq!(interim.status.as_u16(), status);
            }
            assert!(matches!(follower.opened().await, Opened::Head(_)));
        }
    }

    #[tokio::test]
    async fn who_has_the_whole_finds_it_stored() {
        let fills = Fills::new(1 << 20, Arc::default());
        let (filling, mut follower) = lead(&fills);
        filling.open(Opening::Head(Arc::new(head())));
        let stored = std::sync::atomic::AtomicBool::new(false);
        let fetch = async {
            filling.push("one".into()).await;
            filling.finish("last".into(), |_| {
                stored.store(true, std::sync::atomic::Ordering::Relaxed)
            });
        };
        let client = async {
            assert_eq!(follower.chunk().await, Ok(Some("one".into())));
            assert_eq!(follower.chunk().await, Ok(Some("last".into())));
            assert!(stored.load(std::sync::atomic::Ordering::Relaxed));
        };
        tokio::join!(client, fetch);
    }

    #[tokio::test]
    async fn all_read_the_same_whenever_they_come() {
        let fills = Fills::new(1 << 20, Arc::default());
        let (filling, mut first) = lead(&fills);
        filling.open(Opening::Head(Arc::new(head())));
        assert!(matches!(first.opened().await, Opened::Head(_)));
        assert!(filling.push("one ".into()).await);
        assert_eq!(
            first.chunk().await,
            Ok(Some("one ".into())),
            "before the end has come"
        );
        let mut late = follow(&fills);
        let mut stored = None;
        filling.finish("two".into(), |outcome| {
            if let Outcome::Body(body) = outcome {
                stored = Some(body);
            }
        });
        assert_eq!(stored.as_deref(), Some(&b"one two"[..]));
        assert_eq!(read(&mut first).await, Ok(b"two".to_vec()));
        assert_eq!(read(&mut late).await, Ok(b"one two".to_vec()));
        lead(&fills);
    }

    #[tokio::test]
    async fn a_large_body_is_whole_whatever_length_was_told() {
        let body: Vec<u8> = (0..600_000u32).map(|n| (n % 251) as u8).collect();
        for told in [body.len(), body.len() - 1, body.len() + 1, 300_000] {
            for (size, last) in [(7_000, 0), (7_000, 400), (70_000, 70_000)] {
                let fills = Fills::new(1 << 20, Arc::default());
                let (filling, mut follower) = lead(&fills);
                let length = Some(told as u64);
                filling.open(Opening::Head(Arc::new(Head { length, ..head() })));
                let (first, last) = body.split_at(body.len() - last);
                for chunk in first.chunks(size) {
                    filling.push(Bytes::copy_from_slice(chunk)).await;
                }
                filling.finish(Bytes::copy_from_slice(last), |outcome| match outcome {
                    Outcome::Body(stored) => assert!(stored == body),
                    Outcome::NotKept => panic!("it is small enough"),
                });
                assert!(read(&mut follower).await == Ok(body.clone()));
            }
        }
    }

    #[tokio::test]
    async fn a_broken_fill_breaks_all_and_frees_the_key() {
        let fills = Fills::new(1 << 20, Arc::default());
        let (filling, mut first) = lead(&fills);
        let mut second = follow(&fills);
        filling.open(Opening::Head(Arc::new(head())));
        filling.push("half".into()).await;
        filling.fail(error::Kind::Truncated);
        assert_eq!(read(&mut first).await, Err(error::Kind::Truncated));
        assert_eq!(read(&mut second).await, Err(error::Kind::Truncated));
        lead(&fills);
    }

    #[tokio::test]
    async fn a_task_that_dies_fails_its_followers() {
        let fills = Fills::new(1 << 20, Arc::default());
        let (filling, mut first) = lead(&fills);
        drop(filling);
        assert!(matches!(
            first.opened().await,
            Opened::Failed(error::Kind::Truncated)
        ));
    }

    #[tokio::test]
    async fn a_private_answer_is_the_leaders_alone() {
        let fills = Fills::new(1 << 20, Arc::default());
        let (filling, mut first) = lead(&fills);
        let mut other = follow(&fills);
        filling.open(Opening::Private(Some(7)));
        drop(filling);
        assert!(matches!(other.opened().await, Opened::NotShared));
        assert!(matches!(first.opened().await, Opened::Mine(7)));
    }

    #[tokio::test]
    async fn what_was_confirmed_for_one_alone_is_the_leaders() {
        let fills = Fills::<u32>::new(1 << 20, Arc::default());
        let (filling, mut first) = lead(&fills);
        let mut other = follow(&fills);
        let Head {
            status,
            headers,
            freshness,
            names,
            ..
        } = head();
        let body = Bytes::new();
        filling.open(Opening::Own(Arc::new(Object::new(
            status, headers, body, freshness, names,
        ))));
        assert!(matches!(other.opened().await, Opened::NotShared));
        assert!(matches!(first.opened().await, Opened::Object(_)));
    }

    #[tokio::test]
    async fn a_slow_answer_does_not_take_the_place_of_one_asked_for_later() {
        let fills = Fills::<u32>::new(1 << 20, Arc::default());
        let (older, _first) = lead(&fills);
        let shared = false;
        older.open(Opening::Head(Arc::new(Head { shared, ..head() })));
        let (newer, _second) = lead(&fills);
        assert!(older.is_outdated() && !newer.is_outdated());
    }

    #[tokio::test]
    async fn a_write_outdates_fills_of_variants_too() {
        let fills = Fills::<u32>::new(1 << 20, Arc::default());
        let variant = key().variant(1, &[http::header::ACCEPT_LANGUAGE], &HeaderMap::new());
        let filling = fills.lead(&variant, names).expect("nobody leads");
        fills.invalidate(&key());
        assert!(filling.is_outdated());
    }

    #[tokio::test]
    async fn too_large_a_body_streams_within_a_window() {
        let fills = Fills::new(1 << 20, Arc::default());
        let (filling, mut first) = lead(&fills);
        let chunk = Bytes::from(vec![1; 1 << 19]);
        filling.open(Opening::Head(Arc::new(head())));
        let feed = async {
            for _ in 0..40 {
                assert!(filling.push(chunk.clone()).await);
                assert!(lock(&filling.fill.state).held <= WINDOW + (1 << 19));
            }
            let mut too_large = false;
            filling.finish(Bytes::new(), |outcome| {
                too_large = matches!(outcome, Outcome::NotKept)
            });
            too_large
        };
        let (too_large, body) = tokio::join!(feed, read(&mut first));
        assert!(too_large);
        assert_eq!(body.map(|b| b.len()), Ok(40 << 19));
    }

    #[tokio::test]
    async fn nobody_joins_a_body_that_lost_its_beginning_and_nobody_left_ends_it() {
        let fills = Fills::new(1, Arc::default());
        let (filling, first) = lead(&fills);
        filling.open(Opening::Head(Arc::new(head())));
        assert!(filling.push("too large".into()).await);
        let (_, _other) = lead(&fills);
        drop(first);
        assert!(!filling.push("x".into()).await);
    }
}
