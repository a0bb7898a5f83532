//! How long a write of an answer may take: as long as its connection takes something.
//!
//! An answer on a slow connection waits behind the others there, however steadily its client reads.

use super::Terms;
use crate::listen::pace::Pace;
use pingora::{Error, ErrorType, Result};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;
use tokio::time::timeout;

/// What a connection has had room for, of whichever answer.
#[derive(Clone, Default)]
pub struct Moved(Arc<Counts>);

#[derive(Default)]
struct Counts {
    bytes: AtomicU64,
    /// Answers that wait for room.
    waiting: AtomicU64,
}

impl Moved {
    pub fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn so_far(&self) -> u64 {
        self.0.bytes.load(Relaxed)
    }

    fn waiting(&self) -> u64 {
        self.0.waiting.load(Relaxed)
    }

    fn wait(&self) -> Waiting<'_> {
        self.0.waiting.fetch_add(1, Relaxed);
        Waiting(self)
    }
}

/// Counts as waiting until dropped.
struct Waiting<'a>(&'a Moved);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Relaxed);
    }
}

/// The writes of one answer.
pub struct Writing {
    /// None: any time.
    pub limit: Option<Duration>,
    /// At which its connection has to take something for each answer that waits.
    pace: Pace,
    moved: Moved,
}

impl Writing {
    pub fn on(terms: &Terms) -> Writing {
        Writing {
            limit: Some(terms.write),
            pace: Pace::at_least(terms.min_rate),
            moved: terms.moved.clone(),
        }
    }

    /// One of them.
    pub async fn of<T>(&self, write: impl Future<Output = Result<T>>) -> Result<T> {
        let mut write = pin!(write);
        // Most are done at once, and a clock costs as much as they do.
        if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await {
            return done;
        }
        let limit = self.limit.unwrap_or(Duration::MAX);
        let _waiting = self.moved.wait();
        loop {
            let before = self.moved.so_far();
            if let Ok(done) = timeout(limit, write.as_mut()).await {
                return done;
            }
            let least = self.pace.least(limit).saturating_mul(self.moved.waiting());
            if self.moved.so_far() - before < least {
                return Err(Error::explain(ErrorType::WriteTimedout, "an answer").into_down());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::{Instant, sleep};

    const LIMIT: Duration = Duration::from_secs(30);
    const LEAST: u64 = 240;

    fn writing(moved: &Moved) -> Writing {
        Writing {
            limit: Some(LIMIT),
            pace: Pace::at_least(LEAST),
            moved: moved.clone(),
        }
    }

    /// So many bytes every three seconds, a hundred times.
    async fn others(moved: &Moved, bytes: u64) {
        for _ in 0..100 {
            sleep(Duration::from_secs(3)).await;
            moved.add(bytes as usize);
        }
        pending().await
    }

    async fn is_given_up(writing: Writing) -> Duration {
        let begun = Instant::now();
        let late = writing.of(pending::<Result<()>>()).await;
        let late = late.expect_err("it has no end");
        assert_eq!(*late.etype(), ErrorType::WriteTimedout);
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn it_lasts_as_long_as_its_connection_moves() {
        let moved = Moved::default();
        let took = tokio::select! {
            took = is_given_up(writing(&moved)) => took,
            () = others(&moved, 2 * 3 * LEAST) => unreachable!("they have no end"),
        };
        assert!(took > 9 * LIMIT && took < 12 * LIMIT, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_moves_is_for_all_who_wait() {
        let moved = Moved::default();
        let both = async {
            let (first, second) = (writing(&moved), writing(&moved));
            tokio::join!(is_given_up(first), is_given_up(second)).0
        };
        let took = tokio::select! {
            took = both => took,
            () = others(&moved, 3 * LEAST * 3 / 2) => unreachable!("they have no end"),
        };
        assert!(took < 2 * LIMIT, "{took:?}");
    }
}
