//! What a connection's frames may cost that ask for nothing. Pure.

use std::time::Instant;

/// What a frame costs that asks for nothing.
pub const IDLE: u64 = 64;
/// And one that takes little to read, and may come with each that is sent: WINDOW_UPDATE, RST_STREAM.
pub const LIGHT: u64 = 1;
/// What may come at once: two idle frames for each stream that a connection may have, and no browser comes near that.
const MOST: f64 = (200 * IDLE) as f64;
/// What a second pays for.
const A_SECOND: f64 = (100 * IDLE) as f64;
/// Bytes sent to the client that pay for a light frame: a DATA frame that brings one byte has ten. A thousand pay for
/// an idle one: there are clients that measure their way to the edge by a PING for as good as each frame that they get.
const BYTES: f64 = 16.0;

pub struct Budget {
    since: Instant,
    /// Since then.
    spent: f64,
    /// Bytes that pay.
    pub written: u64,
}

impl Budget {
    pub fn new(now: Instant) -> Budget {
        Budget {
            since: now,
            spent: 0.0,
            written: 0,
        }
    }

    /// False: there is not enough. The clock is not asked while there is anyhow.
    pub fn spend(&mut self, cost: u64, now: impl FnOnce() -> Instant) -> bool {
        self.spent += cost as f64;
        if self.spent <= MOST {
            return true;
        }
        let now = now();
        let waited = now.duration_since(self.since).as_secs_f64() * A_SECOND;
        let spent = self.spent - waited - self.written as f64 / BYTES;
        *self = Budget {
            spent: spent.max(0.0),
            ..Budget::new(now)
        };
        spent <= MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        /// Never more than what is there at once and what time and bytes have paid for.
        #[test]
        fn a_budget_is_kept(
            steps in proptest::collection::vec((0u64..100_000, 0u64..3000, 0u64..2_000_000), 1..40),
        ) {
            let begun = Instant::now();
            let (mut budget, mut now) = (Budget::new(begun), begun);
            let (mut spent, mut written) = (0.0, 0);
            for (cost, millis, bytes) in steps {
                now += Duration::from_millis(millis);
                written += bytes;
                budget.written += bytes;
                spent += cost as f64;
                let waited = now.duration_since(begun).as_secs_f64();
                let paid = waited * A_SECOND + written as f64 / BYTES;
                let has_room = budget.spend(cost, || now);
                prop_assert!(!has_room || spent <= MOST + paid + 1e-6);
                if !has_room {
                    break;
                }
            }
        }
    }

    #[test]
    fn who_asks_at_a_calm_pace_may_go_on_for_ever() {
        let begun = Instant::now();
        let mut budget = Budget::new(begun);
        for tick in 0..100_000 {
            let now = begun + Duration::from_millis(10 * tick);
            assert!(budget.spend(IDLE, || now), "at {tick}");
        }
    }

    /// Two windows are widened for each frame that brings one byte.
    #[test]
    fn who_is_sent_little_at_a_time_may_say_so_each_time() {
        let begun = Instant::now();
        let mut budget = Budget::new(begun);
        for tick in 0..100_000 {
            let now = begun + Duration::from_micros(500 * tick);
            budget.written += 10;
            assert!(budget.spend(2 * LIGHT, || now), "at {tick}");
        }
    }
}
