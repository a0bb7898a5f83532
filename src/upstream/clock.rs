//! The time as decisions see it: handed to them, never asked for by them.

use std::ops::Add;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Milliseconds since the process began to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// Later than any other.
    pub const NEVER: Time = Time(u64::MAX);

    pub fn now() -> Time {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        Time::from_millis(START.elapsed().as_millis() as u64)
    }

    pub const fn from_millis(millis: u64) -> Time {
        Time(millis)
    }

    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// Nothing when `earlier` is later.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, wait: Duration) -> Time {
        Time(self.0.saturating_add(wait.as_millis() as u64))
    }
}
