//! How the limits of a route stand for a request, and the fields that say so:
//! draft-ietf-httpapi-ratelimit-headers.

use super::settings::{MOST_LIMITS, Quota};
use std::time::Duration;

/// Of each limit that says so, once all have spoken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standings {
    list: [Standing; MOST_LIMITS],
    count: usize,
    /// Which limit refused the request, or would have.
    stopped_by: Option<Stop>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// The limit's place among those of the route.
    pub limit: u8,
    pub tier: u32,
    /// Whole units.
    pub remaining: u32,
    /// Whole seconds until there is more; rounded up.
    pub more_in: u32,
    /// There is not enough for this request.
    pub refuses: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    pub limit: usize,
    /// The request went on nevertheless.
    pub dry: bool,
}

impl Standings {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &Standing> {
        self.list[..self.count].iter()
    }

    pub fn stopped_by(&self) -> Option<Stop> {
        self.stopped_by
    }

    pub(super) fn push(&mut self, standing: Standing) {
        self.list[self.count] = standing;
        self.count += 1;
    }

    /// One that refuses counts for more than one that would.
    pub(super) fn stop(&mut self, stop: Stop) {
        if self.stopped_by.is_none_or(|other| other.dry) {
            self.stopped_by = Some(stop);
        }
    }
}

impl Standing {
    /// Of a bucket that is full after this time. `wait`: what a refused request was told.
    pub fn of(quota: &Quota, full_in: Duration, wait: Option<Duration>) -> Standing {
        let (interval, burst) = (quota.interval().as_nanos(), u128::from(quota.burst));
        let missing = full_in.as_nanos().div_ceil(interval).min(burst);
        // Until one unit less is missing.
        let next = full_in.as_nanos() - missing.saturating_sub(1) * interval;
        let next = wait.map_or(next, |wait| wait.as_nanos());
        Standing {
            remaining: (burst - missing) as u32,
            more_in: u32::try_from(next.div_ceil(1_000_000_000)).unwrap_or(u32::MAX),
            refuses: wait.is_some(),
            ..Standing::default()
        }
    }

    /// An item of RateLimit.
    pub fn write(&self, name: &str, out: &mut Vec<u8>) {
        let mut number = itoa::Buffer::new();
        out.push(b'"');
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\";r=");
        out.extend_from_slice(number.format(self.remaining).as_bytes());
        out.extend_from_slice(b";t=");
        out.extend_from_slice(number.format(self.more_in).as_bytes());
    }
}

/// An item of RateLimit-Policy. A burst that is not the rate's count is a parameter of our own.
pub fn policy(name: &str, quota: &Quota) -> String {
    let (count, seconds) = (quota.rate.count, quota.rate.per.as_secs());
    let policy = format!("\"{name}\";q={count};w={seconds}");
    match quota.burst == count {
        true => policy,
        false => format!("{policy};lakh-burst={}", quota.burst),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Rate;
    use proptest::prelude::*;

    fn quota(count: u32, seconds: u64, burst: u32) -> Quota {
        let per = Duration::from_secs(seconds);
        let rate = Rate { count, per };
        Quota { rate, burst }
    }

    #[test]
    fn the_fields_are_as_the_draft_says() {
        let quota = quota(100, 60, 100);
        assert_eq!(policy("per_address", &quota), r#""per_address";q=100;w=60"#);
        let other = Quota { burst: 5, ..quota };
        assert_eq!(policy("a", &other), r#""a";q=100;w=60;lakh-burst=5"#);

        let mut out = Vec::new();
        Standing::of(&quota, Duration::from_millis(600), None).write("per_address", &mut out);
        assert_eq!(out, br#""per_address";r=99;t=1"#);
    }

    proptest! {
        /// With what remains, and not with more; and when that changes.
        #[test]
        fn a_standing_is_what_the_bucket_holds(
            count in 1u32..1000,
            seconds in 1u64..100_000,
            burst in 1u32..1000,
            full_in in 0.0..1.0f64,
        ) {
            let quota = quota(count, seconds, burst);
            let (interval, refill) = (quota.interval().as_nanos(), quota.refill().as_nanos());
            let full_in = (refill as f64 * full_in) as u128;
            let at = |time: u128| Standing::of(&quota, Duration::from_nanos(time as u64), None);
            let standing = at(full_in);
            let remaining = u128::from(standing.remaining);
            prop_assert!(full_in + remaining * interval <= refill);
            prop_assert!(full_in + (remaining + 1) * interval > refill);
            let later = u128::from(standing.more_in) * 1_000_000_000;
            if full_in > 0 {
                prop_assert!(at(full_in.saturating_sub(later)).remaining > standing.remaining);
            }
        }
    }
}
