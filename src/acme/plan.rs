//! When a certificate is ordered. Pure: the clock is an argument, and so is chance.

use super::book::Attempt;
use std::time::Duration;

/// After the first failure. Let's Encrypt takes five failures an hour for a name.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 3600);
/// No authority is waited for longer, whatever it says.
const LONGEST_TOLD: Duration = Duration::from_secs(7 * 86_400);
/// From a success to the next order for the same names, in seconds: an authority whose certificates end at
/// once is not asked without end.
pub const REST: i64 = 3600;

/// From when to when a certificate holds, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    pub not_before: i64,
    pub not_after: i64,
}

impl Term {
    /// After two thirds of its time; earlier by up to a twentieth, so that those that were issued together
    /// are not renewed together. `chance`: 0 to 1, the same for the same certificate.
    pub fn renewal(self, chance: f64) -> i64 {
        let time = self.not_after.saturating_sub(self.not_before).max(0);
        let earlier = (time as f64 / 20.0 * chance) as i64;
        self.not_before + (time as f64 / 3.0 * 2.0) as i64 - earlier
    }

    /// Within what the authority suggests (RFC 9773 §4.2), but with a tenth of its time left at least: an order
    /// may fail.
    pub fn suggested(self, (start, end): (i64, i64), chance: f64) -> i64 {
        let time = self.not_after.saturating_sub(self.not_before).max(0);
        let within = (end.saturating_sub(start).max(0) as f64 * chance) as i64;
        start.saturating_add(within).min(self.not_after - time / 10)
    }
}

/// Until it is tried again after so many failures in a row: at least as long as the authority says.
pub fn pause(failures: u32, told: Option<Duration>, chance: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let pause = FIRST_PAUSE * 2u32.pow(doublings);
    let pause = pause.min(LONGEST_PAUSE).mul_f64(1.0 + chance / 4.0);
    pause.max(told.unwrap_or_default().min(LONGEST_TOLD))
}

/// When to order, in Unix seconds. `renewal`: of the certificate there is, if it is for the names that are
/// wanted.
pub fn next_order(renewal: Option<i64>, last: &Attempt) -> i64 {
    match renewal {
        Some(renewal) => renewal.max(last.rest_until),
        // For other names it is no repetition. But edges that want different ones are not to take turns at it.
        None if last.failures == 0 => {
            let issued = last.rest_until - REST;
            (issued + FIRST_PAUSE.as_secs() as i64).max(0)
        }
        None => last.rest_until,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 86_400;

    #[test]
    fn ninety_days_are_renewed_a_month_before_their_end() {
        let term = Term {
            not_before: 1000 * DAY,
            not_after: 1090 * DAY,
        };
        assert_eq!(term.renewal(0.0), 1060 * DAY);
        assert_eq!(term.renewal(1.0), 1060 * DAY - 9 * DAY / 2);
    }

    #[test]
    fn what_failed_is_tried_less_and_less_often() {
        let minutes = |failures| pause(failures, None, 0.0).as_secs() / 60;
        let pauses: Vec<u64> = (1..=8).map(minutes).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 360]);
        assert_eq!(minutes(u32::MAX), 360);
        let an_hour = Duration::from_secs(3600);
        assert_eq!(pause(1, Some(an_hour), 1.0), an_hour);
        assert_eq!(pause(1, Some(Duration::MAX), 0.0), LONGEST_TOLD);
    }

    #[test]
    fn what_is_missing_is_ordered_at_once_but_not_again_and_again() {
        let attempt = |failures, rest_until| Attempt {
            failures,
            rest_until,
            why: None,
        };
        assert_eq!(next_order(None, &Attempt::default()), 0);
        assert_eq!(next_order(None, &attempt(1, 500)), 500);
        let issued = 10_000;
        let others = next_order(None, &attempt(0, issued + REST));
        assert_eq!(others, issued + 300, "other names");
        assert_eq!(next_order(Some(400), &attempt(0, 500)), 500);
        assert_eq!(next_order(Some(600), &attempt(3, 500)), 600);
    }

    proptest! {
        #[test]
        fn a_suggestion_is_followed_as_far_as_it_leaves_time(
            not_before in 0..4_000_000_000i64,
            time in 0..40_000_000_000i64,
            start: i64,
            length in 0..4_000_000_000i64,
            chance in 0.0..1.0f64,
        ) {
            let term = Term { not_before, not_after: not_before + time };
            let span = (start, start.saturating_add(length));
            let renewal = term.suggested(span, chance);
            let latest = term.not_after - time / 10;
            prop_assert!(renewal <= latest);
            prop_assert!((span.0..=span.1).contains(&renewal) || renewal == latest && start > latest);
        }

        #[test]
        fn a_renewal_is_within_the_certificates_time(
            not_before in 0..4_000_000_000i64,
            time in 0..40_000_000_000i64,
            chance in 0.0..1.0f64,
        ) {
            let term = Term { not_before, not_after: not_before + time };
            let renewal = term.renewal(chance);
            prop_assert!(renewal >= not_before + time / 2 && renewal <= not_before + time * 2 / 3 + 1);
        }

        #[test]
        fn nobody_is_asked_twice_within_minutes(failures in 1..u32::MAX, chance in 0.0..1.0f64) {
            prop_assert!(pause(failures, None, chance) >= FIRST_PAUSE);
            prop_assert!(pause(failures, None, chance) <= LONGEST_PAUSE * 5 / 4);
        }
    }
}
