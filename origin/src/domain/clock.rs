//! Moments. The rules take them as arguments; only handlers and jobs look at the clock.

use serde::{Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
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

    /// As people and programs write moments, to the second: 2026-05-31T18:00:00Z, or another offset. RFC 3339.
    pub fn read(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(Self(moment.unix_timestamp() * 1000))
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

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.iso().serialize(serializer)
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
        for text in ["2026-06-01T00:00:01Z", "2026-06-01T02:00:01.5+02:00"] {
            assert_eq!(Moment::read(text), Some(Moment(1_780_272_001_000)));
        }
        assert_eq!(Moment::read("2026-06-01"), None);
    }
}
