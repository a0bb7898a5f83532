//! How many requests an upstream gets at once, and who waits for how long.
//!
//! Those that wait are let in in the order in which they came; one that leaves gives up its place.
//! A limit that a reload lowers holds for new requests at once and for running ones as they end.

use super::gradient::Gradient;
use super::settings::{ConcurrencySettings, Priority};
use arc_swap::ArcSwapOption;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// What requests of low priority leave free of the places: one in so many.
const LEFT_BY_LOW: usize = 5;

pub struct Gate {
    /// None lets everybody in.
    settings: ArcSwapOption<ConcurrencySettings>,
    places: Semaphore,
    /// Places in all.
    size: AtomicUsize,
    /// Places that were taken back while they were in use: they end with their requests.
    owed: AtomicUsize,
    running: AtomicUsize,
    waiting: AtomicUsize,
    /// Set where the number of places is found out. Held by whoever changes it.
    gradient: Mutex<Option<Gradient>>,
    made: Instant,
}

/// A request that was let in; leaves when dropped.
pub struct Turn {
    gate: Arc<Gate>,
    since: Instant,
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    QueueFull,
    WaitedTooLong,
    /// The places that are left are for requests of higher priority.
    Shed,
}

impl Gate {
    pub fn new() -> Arc<Gate> {
        Arc::new(Gate {
            settings: ArcSwapOption::empty(),
            places: Semaphore::new(0),
            size: AtomicUsize::new(0),
            owed: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            gradient: Mutex::new(None),
            made: Instant::now(),
        })
    }

    /// The limit in force from here on. What was found out stays while its bounds do.
    pub fn limit(&self, settings: Option<ConcurrencySettings>) {
        let mut gradient = self.gradient();
        let bounds = settings.as_ref().and_then(|s| s.adaptive);
        if gradient.as_ref().map(Gradient::bounds) != bounds {
            *gradient = bounds.map(Gradient::new);
        }
        let max = settings.as_ref().map_or(0, |s| s.max);
        self.resize(gradient.as_ref().map_or(max, Gradient::limit));
        self.settings.store(settings.map(Arc::new));
    }

    /// Called with `gradient` locked.
    fn resize(&self, after: usize) {
        let before = self.size.swap(after, Relaxed);
        if after > before {
            (before..after).for_each(|_| self.give());
        } else {
            let fewer = before - after;
            let in_use = fewer - self.places.forget_permits(fewer);
            self.owed.fetch_add(in_use, Relaxed);
        }
    }

    /// None: there is no limit.
    pub async fn enter(self: &Arc<Gate>, priority: Priority) -> Result<Option<Turn>, Busy> {
        let limits = self
            .settings
            .load()
            .as_ref()
            .map(|s| (s.queue, s.queue_timeout));
        let Some((queue, longest)) = limits else {
            return Ok(None);
        };
        let size = self.size();
        if priority == Priority::Low && self.running() >= size - size / LEFT_BY_LOW {
            return Err(Busy::Shed);
        }
        if let Ok(place) = self.places.try_acquire() {
            place.forget();
            return Ok(Some(self.turn()));
        }
        let queue = match priority {
            Priority::Low => return Err(Busy::Shed),
            Priority::Normal => queue,
            Priority::High => queue + queue / 2,
        };
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

    /// How many may run at once; 0 where that is not limited.
    pub fn size(&self) -> usize {
        self.size.load(Relaxed)
    }

    pub fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    fn turn(self: &Arc<Gate>) -> Turn {
        self.running.fetch_add(1, Relaxed);
        Turn {
            gate: self.clone(),
            since: Instant::now(),
        }
    }

    fn gradient(&self) -> MutexGuard<'_, Option<Gradient>> {
        self.gradient
            .lock()
            .expect("no code panics while it holds this lock")
    }

    /// One place more, unless one is owed.
    fn give(&self) {
        let pay = |owed: usize| owed.checked_sub(1);
        if self.owed.fetch_update(Relaxed, Relaxed, pay).is_err() {
            self.places.add_permits(1);
        }
    }
}

impl Turn {
    /// The answer begins, or took too long: what the limit is found out by. Who finds another at it
    /// leaves it to them.
    pub fn answered(&self) {
        let (gate, now) = (&self.gate, Instant::now());
        let Ok(mut gradient) = gate.gradient.try_lock() else {
            return;
        };
        let Some(gradient) = &mut *gradient else {
            return;
        };
        let latency = now.duration_since(self.since);
        if gradient.answered(latency, gate.running(), now.duration_since(gate.made)) {
            gate.resize(gradient.limit());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.gate.running.fetch_sub(1, Relaxed);
        self.gate.give();
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
    use super::super::gradient::Bounds;
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
            adaptive: None,
        }
    }

    async fn enter(gate: &Arc<Gate>) -> Turn {
        gate.enter(Priority::Normal)
            .await
            .expect("let in")
            .expect("limited")
    }

    /// Whether it is still waiting.
    fn waits<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(future.poll(&mut context), Poll::Pending)
    }

    #[tokio::test]
    async fn without_a_limit_everybody_is_let_in() {
        let gate = Gate::new();
        assert!(
            gate.enter(Priority::Normal)
                .await
                .expect("let in")
                .is_none()
        );
    }

    #[tokio::test]
    async fn those_that_wait_are_let_in_in_order() {
        let gate = gate(1, 2);
        let running = enter(&gate).await;
        let (mut second, mut third) = (
            pin!(gate.enter(Priority::Normal)),
            pin!(gate.enter(Priority::Normal)),
        );
        assert!(waits(second.as_mut()) && waits(third.as_mut()));
        assert_eq!((gate.running(), gate.waiting()), (1, 2));
        assert_eq!(
            gate.enter(Priority::Normal).await.err(),
            Some(Busy::QueueFull)
        );
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
            let mut left = pin!(gate.enter(Priority::Normal));
            assert!(waits(left.as_mut()));
        }
        let mut next = pin!(gate.enter(Priority::Normal));
        assert!(waits(next.as_mut()), "there is room in the queue again");
        drop(running);
        assert!(next.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_longer_than_the_timeout() {
        let gate = gate(1, 1);
        let _running = enter(&gate).await;
        assert_eq!(
            gate.enter(Priority::Normal).await.err(),
            Some(Busy::WaitedTooLong)
        );
        assert_eq!(gate.waiting(), 0);
    }

    #[tokio::test]
    async fn a_limit_changes_under_those_that_run() {
        let gate = gate(3, 1);
        let mut running = vec![enter(&gate).await, enter(&gate).await, enter(&gate).await];
        gate.limit(Some(limit(1, 1)));
        running.truncate(1);
        let mut next = pin!(gate.enter(Priority::Normal));
        assert!(waits(next.as_mut()), "one runs, and one is all");
        gate.limit(Some(limit(2, 1)));
        assert!(!waits(next.as_mut()));
        gate.limit(None);
        assert!(
            gate.enter(Priority::Normal)
                .await
                .expect("let in")
                .is_none()
        );
    }

    #[tokio::test]
    async fn low_priority_leaves_places_and_high_priority_waits_longer() {
        let gate = gate(10, 2);
        let mut running = Vec::new();
        for _ in 0..8 {
            running.push(gate.enter(Priority::Low).await.expect("a place"));
        }
        assert_eq!(gate.enter(Priority::Low).await.err(), Some(Busy::Shed));
        running.push(gate.enter(Priority::Normal).await.expect("a place"));
        running.push(gate.enter(Priority::High).await.expect("a place"));
        let (mut a, mut b) = (
            pin!(gate.enter(Priority::Normal)),
            pin!(gate.enter(Priority::Normal)),
        );
        assert!(waits(a.as_mut()) && waits(b.as_mut()));
        assert_eq!(
            gate.enter(Priority::Normal).await.err(),
            Some(Busy::QueueFull)
        );
        let mut high = pin!(gate.enter(Priority::High));
        assert!(waits(high.as_mut()));
        assert_eq!(
            gate.enter(Priority::High).await.err(),
            Some(Busy::QueueFull)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_adaptive_limit_moves_and_places_with_it() {
        let bounds = Bounds { min: 2, max: 50 };
        let adaptive = |queue| ConcurrencySettings {
            adaptive: Some(bounds),
            ..limit(50, queue)
        };
        let gate = Gate::new();
        gate.limit(Some(adaptive(5)));
        assert_eq!(gate.size(), Gradient::new(bounds).limit());
        gate.gradient().replace(Gradient::at(bounds, 30.0));
        gate.resize(30);
        gate.limit(Some(adaptive(6)));
        assert_eq!(gate.size(), 30, "it stays over a reload");
        gate.limit(Some(limit(7, 5)));
        assert_eq!(gate.size(), 7);
    }
}
