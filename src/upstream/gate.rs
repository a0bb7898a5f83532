//! How many requests an upstream gets at once, and who waits for how long.
//!
//! Those that wait are let in in the order in which they came; one that leaves gives up its place.
//! A limit that a reload lowers holds for new requests at once and for running ones as they end.

use super::settings::ConcurrencySettings;
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub struct Gate {
    /// None lets everybody in.
    settings: ArcSwapOption<ConcurrencySettings>,
    places: Semaphore,
    /// Places that were taken back while they were in use: they end with their requests.
    owed: AtomicUsize,
    running: AtomicUsize,
    waiting: AtomicUsize,
}

/// A request that was let in; leaves when dropped.
pub struct Turn(Arc<Gate>);

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    QueueFull,
    WaitedTooLong,
}

impl Gate {
    pub fn new() -> Arc<Gate> {
        Arc::new(Gate {
            settings: ArcSwapOption::empty(),
            places: Semaphore::new(0),
            owed: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        })
    }

    /// The limit in force from here on. Called by one thread at a time.
    pub fn limit(&self, settings: Option<ConcurrencySettings>) {
        let most = |s: &Option<Arc<ConcurrencySettings>>| s.as_ref().map_or(0, |s| s.max);
        let settings = settings.map(Arc::new);
        let (before, after) = (most(&self.settings.load_full()), most(&settings));
        if after > before {
            (before..after).for_each(|_| self.give());
        } else {
            let fewer = before - after;
            let in_use = fewer - self.places.forget_permits(fewer);
            self.owed.fetch_add(in_use, Relaxed);
        }
        self.settings.store(settings);
    }

    /// None: there is no limit.
    pub async fn enter(self: &Arc<Gate>) -> Result<Option<Turn>, Busy> {
        let limits = self
            .settings
            .load()
            .as_ref()
            .map(|s| (s.queue, s.queue_timeout));
        let Some((queue, longest)) = limits else {
            return Ok(None);
        };
        if let Ok(place) = self.places.try_acquire() {
            place.forget();
            return Ok(Some(self.turn()));
        }
        let _waiting = Waiting::begin(&self.waiting, queue).ok_or(Busy::QueueFull)?;
        match timeout(longest, self.places.acquire()).await {
            Ok(Ok(place)) => {
                place.forget();
                Ok(Some(self.turn()))
            }
            // Nobody closes the semaphore.
            Ok(Err(_)) | Err(_) => Err(Busy::WaitedTooLong),
        }
    }

    pub fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    fn turn(self: &Arc<Gate>) -> Turn {
        self.running.fetch_add(1, Relaxed);
        Turn(self.clone())
    }

    /// One place more, unless one is owed.
    fn give(&self) {
        let pay = |owed: usize| owed.checked_sub(1);
        if self.owed.fetch_update(Relaxed, Relaxed, pay).is_err() {
            self.places.add_permits(1);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
        self.0.give();
    }
}

/// Counts as waiting, however that ends.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize, most: usize) -> Option<Waiting<'a>> {
        let one_more = |n: usize| (n < most).then_some(n + 1);
        let begun = count.fetch_update(Relaxed, Relaxed, one_more);
        begun.is_ok().then(|| Waiting(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    fn gate(max: usize, queue: usize) -> Arc<Gate> {
        let gate = Gate::new();
        gate.limit(Some(limit(max, queue)));
        gate
    }

    fn limit(max: usize, queue: usize) -> ConcurrencySettings {
        ConcurrencySettings {
            max,
            queue,
            queue_timeout: Duration::from_secs(10),
        }
    }

    async fn enter(gate: &Arc<Gate>) -> Turn {
        gate.enter().await.expect("let in").expect("limited")
    }

    /// Whether it is still waiting.
    fn waits<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(future.poll(&mut context), Poll::Pending)
    }

    #[tokio::test]
    async fn without_a_limit_everybody_is_let_in() {
        let gate = Gate::new();
        assert!(gate.enter().await.expect("let in").is_none());
    }

    #[tokio::test]
    async fn those_that_wait_are_let_in_in_order() {
        let gate = gate(1, 2);
        let running = enter(&gate).await;
        let (mut second, mut third) = (pin!(gate.enter()), pin!(gate.enter()));
        assert!(waits(second.as_mut()) && waits(third.as_mut()));
        assert_eq!((gate.running(), gate.waiting()), (1, 2));
        assert_eq!(gate.enter().await.err(), Some(Busy::QueueFull));
        drop(running);
        assert!(waits(third.as_mut()), "the second is first");
        let second = second.await.expect("let in");
        drop(second);
        assert!(third.await.is_ok());
        assert_eq!((gate.running(), gate.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn who_leaves_gives_up_its_place() {
        let gate = gate(1, 1);
        let running = enter(&gate).await;
        {
            let mut left = pin!(gate.enter());
            assert!(waits(left.as_mut()));
        }
        let mut next = pin!(gate.enter());
        assert!(waits(next.as_mut()), "there is room in the queue again");
        drop(running);
        assert!(next.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_timeout() {
        let gate = gate(1, 1);
        let _running = enter(&gate).await;
        assert_eq!(gate.enter().await.err(), Some(Busy::WaitedTooLong));
        assert_eq!(gate.waiting(), 0);
    }

    #[tokio::test]
    async fn a_limit_changes_under_those_that_run() {
        let gate = gate(3, 1);
        let mut running = vec![enter(&gate).await, enter(&gate).await, enter(&gate).await];
        gate.limit(Some(limit(1, 1)));
        running.truncate(1);
        let mut next = pin!(gate.enter());
        assert!(waits(next.as_mut()), "one runs, and one is all");
        gate.limit(Some(limit(2, 1)));
        assert!(!waits(next.as_mut()));
        gate.limit(None);
        assert!(gate.enter().await.expect("let in").is_none());
    }
}
