//! Days, as people write them and as databases compare them: 2026-05-31.

use serde::{Serialize, Serializer};
use time::{Date, macros::format_description};

/// From the first day to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Days {
    pub first: Date,
    pub last: Date,
}

pub fn day(text: &str) -> Option<Date> {
    let date = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
    // Text of this length sorts and compares as the day does; signs and long years would not.
    (text.len() == 10).then_some(date)
}

pub fn written(day: Date) -> String {
    format!(
        "{:04}-{:02}-{:02}",
        day.year(),
        u8::from(day.month()),
        day.day()
    )
}

pub fn serialize_day<S: Serializer>(day: &Date, serializer: S) -> Result<S::Ok, S::Error> {
    written(*day).serialize(serializer)
}

impl Days {
    pub fn count(self) -> i64 {
        i64::from(self.last.to_julian_day()) - i64::from(self.first.to_julian_day()) + 1
    }

    pub fn each(self) -> impl Iterator<Item = Date> {
        (self.first.to_julian_day()..=self.last.to_julian_day())
            .map(|day| Date::from_julian_day(day).expect("it lies between two that exist"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_survive_the_round_trip_and_leap_years() {
        let days = Days {
            first: day("2028-02-28").expect("a day"),
            last: day("2028-03-01").expect("a day"),
        };
        let written: Vec<_> = days.each().map(written).collect();
        assert_eq!(written, ["2028-02-28", "2028-02-29", "2028-03-01"]);
        assert_eq!(days.count(), 3);
        for text in ["2026-02-29", "26-02-01", "+2026-02-01", "2026-2-1", ""] {
            assert_eq!(day(text), None, "{text:?}");
        }
    }
}
