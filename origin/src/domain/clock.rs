//! Moments. The rules take them as arguments; only handlers and jobs look at the clock.

use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, UtcDateTime};

/// Milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    pub fn now() -> Self {
        let since = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        Self(i64::try_from(since).expect("the clock is within 292 million years of 1970"))
    }

    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// ISO 8601, to the second; such texts sort as their moments do.
    pub fn iso(self) -> String {
        let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        self.utc()
            .format(format)
            .expect("a moment has all its parts")
    }

    pub fn day(self) -> Date {
        self.utc().date()
    }

    fn utc(self) -> UtcDateTime {
        UtcDateTime::UNIX_EPOCH.saturating_add(Duration::milliseconds(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc_to_the_second() {
        assert_eq!(Moment(0).iso(), "1970-01-01T00:00:00Z");
        assert_eq!(Moment(1_780_272_001_999).iso(), "2026-06-01T00:00:01Z");
        assert_eq!(Moment(-1).seconds(), -1);
    }
}
