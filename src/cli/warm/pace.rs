//! When the next request may go.

use crate::guard::Rate;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Spaces requests evenly; what was missed is not made up for.
pub struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    pub fn new(rate: Rate) -> Pace {
        Pace {
            interval: rate.per / rate.count,
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits for its turn.
    pub fn wait(&self) {
        let turn = self.turn(Instant::now());
        while let Some(left) = turn.checked_duration_since(Instant::now()) {
            if left.is_zero() {
                break;
            }
            std::thread::park_timeout(left);
        }
    }

    /// The time of the next request, for one that is ready at `now`.
    fn turn(&self, now: Instant) -> Instant {
        let mut next = self
            .next
            .lock()
            .expect("no code panics while it holds this lock");
        let turn = now.max(*next);
        *next = turn + self.interval;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spaced_and_never_come_in_a_burst() {
        let per = Duration::from_secs(1);
        let pace = Pace::new(Rate { count: 50, per });
        let start = Instant::now() + per;
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(pace.turn(at(0)), at(0));
        assert_eq!(pace.turn(at(0)), at(20));
        assert_eq!(pace.turn(at(30)), at(40));
        assert_eq!(pace.turn(at(500)), at(500));
        assert_eq!(pace.turn(at(500)), at(520));
    }
}
