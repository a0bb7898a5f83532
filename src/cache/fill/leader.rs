//! The fetching side of a fill.

use super::{
    Fill, IN_ONE_BLOCK, Interim, MAX_INTERIM, Opening, Outcome, PATIENCE, Phase, Running, WINDOW,
    lock,
};
use crate::cache::growing::Growing;
use crate::cache::key::Key;
use crate::cache::purge::Names;
use crate::error;
use bytes::Bytes;
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// Dropped before its end (a panic, a shutdown), it fails the fill, so that
/// nobody waits for ever.
pub struct Filling<H> {
    pub(super) fill: Arc<Fill<H>>,
    pub(super) running: Arc<Running<H>>,
    pub(super) key: Key,
    /// Bytes of a body; what is larger is streamed and not stored.
    pub(super) max_object: u64,
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
            self.fill.reserve(&mut state, length);
            let is_large = (IN_ONE_BLOCK..=self.max_object).contains(&length);
            let in_one = is_large && !state.overflow;
            state.block = in_one.then(|| Growing::new(length as usize));
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
            let total = state.total;
            if !state.overflow && total > self.max_object {
                self.fill.overflow(&mut state);
            }
            self.fill.reserve(&mut state, total);
        }
        self.fill.news.notify_waiters();
        self.wait_for_room().await
    }

    async fn wait_for_room(&self) -> bool {
        let mut deadline = Instant::now() + PATIENCE;
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
            if timeout_at(deadline, room).await.is_err() {
                deadline += PATIENCE;
                let mut state = lock(&self.fill.state);
                if self.fill.leave_behind(&mut state) {
                    tracing::debug!("a client read too slowly for the others, and was left behind");
                }
            }
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
