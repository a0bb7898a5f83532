//! How fast a body comes: pure.
//!
//! A timeout between two reads stops who sends nothing. Who sends a byte every second holds a
//! connection, and a place at a server, for as long as it likes; so a body must also come at a rate.
//! Only the time that was waited for the client counts: a server that is slow to take a body is not
//! its client's fault.

use std::time::Duration;
use tokio::time::Instant;

/// So long a body may be waited for, in all, before its rate counts.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Pace {
    /// Bytes per second; 0: any.
    least: u64,
    came: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
}

impl Pace {
    pub fn at_least(bytes_per_second: u64) -> Pace {
        Pace {
            least: bytes_per_second,
            ..Pace::default()
        }
    }

    /// Bytes that must move within `time`; one at least.
    pub fn least(&self, time: Duration) -> u64 {
        ((self.least as f64 * time.as_secs_f64()) as u64).max(1)
    }

    /// Nothing has come yet. `now` is asked once a wait.
    pub fn waits(&mut self, now: impl FnOnce() -> Instant) {
        self.waiting_since.get_or_insert_with(now);
    }

    pub fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// Whether the body comes fast enough, with these bytes.
    pub fn came(&mut self, bytes: usize, now: impl FnOnce() -> Instant) -> bool {
        self.came = self.came.saturating_add(bytes as u64);
        let Some(since) = self.waiting_since.take() else {
            return true;
        };
        self.waited += now().saturating_duration_since(since);
        let counted = self.waited.saturating_sub(GRACE).as_secs_f64();
        self.came as f64 >= self.least as f64 * counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every `wait` these many `bytes` come; how long until that is too slow.
    fn given_up(least: u64, wait: Duration, bytes: usize) -> Option<Duration> {
        let (start, mut pace) = (Instant::now(), Pace::at_least(least));
        let mut now = start;
        for _ in 0..1000 {
            pace.waits(|| now);
            now += wait;
            if !pace.came(bytes, || now) {
                return Some(now - start);
            }
        }
        None
    }

    #[test]
    fn who_dribbles_is_given_up_soon() {
        let second = Duration::from_secs(1);
        assert_eq!(given_up(240, second, 1), Some(6 * second));
        assert_eq!(given_up(240, second, 120), Some(10 * second + second));
        assert_eq!(given_up(240, second, 240), None);
        assert_eq!(given_up(0, second, 0), None);
    }

    proptest! {
        #[test]
        fn who_keeps_the_rate_is_never_given_up(least in 1..10_000u64, ms in 1..30_000u64, more in 0..100u64) {
            let bytes = (least * ms).div_ceil(1000) + more;
            prop_assert_eq!(given_up(least, Duration::from_millis(ms), bytes as usize), None);
        }

        /// A body that comes as soon as it is asked for may be asked for as slowly as one likes.
        #[test]
        fn what_was_not_waited_for_is_not_counted(least in 1..10_000u64, bytes in 0..10usize) {
            let mut pace = Pace::at_least(least);
            for _ in 0..100 {
                prop_assert!(pace.came(bytes, || unreachable!("there was no wait")));
            }
        }
    }
}
