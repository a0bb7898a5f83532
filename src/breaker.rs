//! When to stop asking a store that doesn't answer. Pure: the clock is passed in.

use std::time::{Duration, Instant};

/// A store gave no answer, or not a right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down;

/// Failures in a row that open it.
const FAILURES: u32 = 5;
/// How long it stays open, and how far apart probes are.
const PAUSE: Duration = Duration::from_secs(1);

/// Closed it lets all through; open nothing; half-open one probe per `PAUSE`, whose success closes
/// it.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    /// Set while it is open.
    next_probe: Option<Instant>,
}

impl Breaker {
    /// Whether to try now. Who is let through reports `succeeded` or `failed`.
    pub fn admits(&mut self, now: Instant) -> bool {
        match &mut self.next_probe {
            None => true,
            Some(at) if now < *at => false,
            Some(at) => {
                // Should this probe never report, the next one comes all the same.
                *at = now + PAUSE;
                true
            }
        }
    }

    pub fn succeeded(&mut self) {
        *self = Breaker::default();
    }

    pub fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES {
            self.next_probe = Some(now + PAUSE);
        }
    }

    pub fn is_open(&self) -> bool {
        self.next_probe.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        (0..FAILURES).for_each(|_| breaker.failed(now));
        breaker
    }

    #[test]
    fn a_probe_that_succeeds_closes_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(breaker.is_open() && !breaker.admits(now));
        assert!(breaker.admits(now + PAUSE));
        assert!(!breaker.admits(now + PAUSE), "one at a time");
        breaker.succeeded();
        assert!(!breaker.is_open() && breaker.admits(now + PAUSE));
    }

    #[test]
    fn failures_count_in_a_row_only() {
        let (now, mut breaker) = (Instant::now(), Breaker::default());
        for _ in 0..10 {
            (1..FAILURES).for_each(|_| breaker.failed(now));
            breaker.succeeded();
        }
        assert!(!breaker.is_open());
    }

    proptest! {
        /// Against a store that never answers, whatever the times at which it is asked.
        #[test]
        fn a_dead_store_is_asked_a_few_times_a_second(steps in prop::collection::vec(0u64..400, 1..200)) {
            let start = Instant::now();
            let (mut now, mut asked) = (start, 0);
            let mut breaker = Breaker::default();
            for step in steps {
                now += Duration::from_millis(step);
                if breaker.admits(now) {
                    breaker.failed(now);
                    asked += 1;
                }
            }
            prop_assert!(asked <= u64::from(FAILURES) + (now - start).as_secs());
        }
    }
}
