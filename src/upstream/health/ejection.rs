//! Passive health: a server that fails requests in a row is put out, longer each time.

use crate::upstream::Time;
use crate::upstream::settings::EjectionSettings;
use std::time::Duration;

/// The longest ejection, as a multiple of the first.
const LONGEST: u32 = 10;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ejection {
    until: Option<Time>,
    /// Ejections that are not yet forgotten.
    times: u32,
    /// When the last one ended.
    ended: Time,
}

impl Ejection {
    pub fn until(&self) -> Option<Time> {
        self.until
    }

    /// Puts the server out. Each ejection is longer than the one before it, by the first one's
    /// length; as long a time in good standing makes one of them forgotten.
    pub fn begin(&mut self, rules: &EjectionSettings, now: Time) -> Time {
        let well = now.since(self.ended).as_millis();
        let forgotten = well / rules.lasts.as_millis().max(1);
        self.times = self.times.saturating_sub(forgotten as u32);
        self.times = (self.times + 1).min(LONGEST);
        let until = now + rules.lasts * self.times;
        self.until = Some(until);
        until
    }

    /// True when it was out and its time is up.
    pub fn end(&mut self, now: Time) -> bool {
        let over = self.until.is_some_and(|until| now >= until);
        if over {
            self.until = None;
            self.ended = now;
        }
        over
    }
}

/// How many servers of a pool may be out at once.
pub fn most_ejected(servers: usize, share: f64) -> usize {
    // A half of 3 is 1; the hair above keeps 0.29 × 100 at 29.
    (servers as f64 * share + 1e-9) as usize
}

impl EjectionSettings {
    /// Whether it would ever put out one of so many.
    pub fn ejects_of(&self, servers: usize) -> bool {
        most_ejected(servers, self.max_ejected) > 0
    }
}

/// Failures in a row. A gap longer than `interval` begins a new row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    count: u32,
    last: Time,
}

impl Row {
    pub fn failed(&mut self, interval: Option<Duration>, now: Time) -> u32 {
        let broken_off = interval.is_some_and(|interval| now.since(self.last) > interval);
        self.count = if broken_off { 1 } else { self.count + 1 };
        self.last = now;
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> EjectionSettings {
        EjectionSettings {
            lasts: Duration::from_secs(30),
            ..EjectionSettings::default()
        }
    }

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn each_time_is_longer_until_it_has_been_well_for_long() {
        let mut ejection = Ejection::default();
        assert_eq!(ejection.begin(&rules(), at(0)), at(30));
        assert!(!ejection.end(at(29)));
        assert!(ejection.end(at(30)) && !ejection.end(at(31)));
        assert_eq!(ejection.begin(&rules(), at(40)), at(40 + 60));
        assert!(ejection.end(at(100)));
        assert_eq!(ejection.begin(&rules(), at(101)), at(101 + 90));
        assert!(ejection.end(at(191)));
        // An hour later all is forgotten.
        assert_eq!(ejection.begin(&rules(), at(4000)), at(4030));
    }

    #[test]
    fn there_is_a_longest() {
        let (mut ejection, mut now) = (Ejection::default(), at(0));
        for _ in 0..50 {
            now = ejection.begin(&rules(), now);
            assert!(ejection.end(now));
        }
        assert_eq!(ejection.begin(&rules(), now).since(now).as_secs(), 300);
    }

    #[test]
    fn a_share_of_a_pool_is_rounded_down() {
        assert_eq!(
            [0, 1, 2, 3, 4].map(|n| most_ejected(n, 0.5)),
            [0, 0, 1, 1, 2]
        );
        assert_eq!(most_ejected(100, 0.29), 29);
        assert_eq!(most_ejected(3, 1.0), 3);
    }

    #[test]
    fn a_row_breaks_off_after_a_gap() {
        let (mut row, interval) = (Row::default(), Some(Duration::from_secs(10)));
        assert_eq!([0, 10, 20].map(|s| row.failed(interval, at(s))), [1, 2, 3]);
        assert_eq!(row.failed(interval, at(31)), 1);
        assert_eq!(
            row.failed(None, at(99)),
            2,
            "without an interval, none is too long"
        );
    }
}
