//! The reading side of a fill.

use super::{Fill, Opened, Phase, Progress, State, lock};
use crate::error;
use bytes::Bytes;
use std::sync::{Arc, MutexGuard};

/// It reads the head when that has come, then chunks as they arrive.
pub struct Follower<H> {
    fill: Arc<Fill<H>>,
    leads: bool,
    /// Number of the chunk to read next, and of the interim answer.
    next: usize,
    next_interim: usize,
}

impl<H> Follower<H> {
    pub(super) fn new(fill: Arc<Fill<H>>, leads: bool) -> Follower<H> {
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

    /// Whether what has come is held for the cache too; else by those who read it alone.
    pub fn is_kept(&self) -> bool {
        !lock(&self.fill.state).overflow
    }

    /// The next chunk; None at the end of a whole body.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, error::Kind> {
        loop {
            let fill = self.fill.clone();
            let mut news = std::pin::pin!(fill.news.notified());
            news.as_mut().enable();
            if let Some(chunk) = self.take_chunk() {
                return chunk.map(Some);
            }
            let end = lock(&self.fill.state).end;
            if let Some(end) = end {
                // A chunk may have come between the two looks.
                return match self.take_chunk() {
                    Some(chunk) => chunk.map(Some),
                    None => end.map(|()| None),
                };
            }
            news.await;
        }
    }

    /// None: it has yet to come. An error: it is gone, because others could wait no longer.
    fn take_chunk(&mut self) -> Option<Result<Bytes, error::Kind>> {
        let mut state = lock(&self.fill.state);
        let Some(at) = self.next.checked_sub(state.first) else {
            return Some(Err(error::Kind::Truncated));
        };
        let chunk = state.chunks.get(at)?.clone();
        state.readers[at] -= 1;
        state.readers[at + 1] += 1;
        self.next += 1;
        self.after_move(state);
        Some(Ok(chunk))
    }

    fn after_move(&self, mut state: MutexGuard<'_, State<H>>) {
        if state.overflow {
            self.fill.trim(&mut state);
            drop(state);
            self.fill.room.notify_one();
        }
    }
}

impl<H> Drop for Follower<H> {
    fn drop(&mut self) {
        let mut state = lock(&self.fill.state);
        // Who was left behind is counted no more.
        if let Some(at) = self.next.checked_sub(state.first) {
            state.readers[at] -= 1;
            self.after_move(state);
        }
    }
}
