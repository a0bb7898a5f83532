//! The circuit breaker: after failures in a row a server gets nothing for a while, then one request.

use crate::upstream::Time;
use crate::upstream::settings::BreakerSettings;

/// Closed lets requests through, open none, half-open one whose outcome decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    Closed,
    Open {
        until: Time,
    },
    /// The one request is on its way.
    HalfOpen,
}

impl Breaker {
    /// For people and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Breaker::Closed => "closed",
            Breaker::Open { .. } => "open",
            Breaker::HalfOpen => "half_open",
        }
    }

    /// When it lets one request through.
    pub fn until(self) -> Option<Time> {
        match self {
            Breaker::Open { until } => Some(until),
            _ => None,
        }
    }

    /// Another failure in a row, the `failures`th. True when it opened.
    pub fn failed(&mut self, failures: u32, rules: &BreakerSettings, now: Time) -> bool {
        let opens = match self {
            Breaker::Closed => failures >= rules.failures,
            Breaker::HalfOpen => true,
            // A request that was sent before it opened says nothing new.
            Breaker::Open { .. } => false,
        };
        if opens {
            let until = now + rules.open_for;
            *self = Breaker::Open { until };
        }
        opens
    }

    /// True when it closed.
    pub fn succeeded(&mut self) -> bool {
        let closes = *self == Breaker::HalfOpen;
        if closes {
            *self = Breaker::Closed;
        }
        closes
    }

    /// Takes the one trial that is due; false when there is none.
    pub fn try_once(&mut self, now: Time) -> bool {
        let due = matches!(*self, Breaker::Open { until } if now >= until);
        if due {
            *self = Breaker::HalfOpen;
        }
        due
    }

    /// The trial ended without an outcome: another may decide.
    pub fn abandon(&mut self, now: Time) {
        if *self == Breaker::HalfOpen {
            *self = Breaker::Open { until: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const RULES: BreakerSettings = BreakerSettings {
        failures: 3,
        open_for: Duration::from_secs(60),
    };

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn it_opens_at_its_limit_and_lets_one_through_when_time_is_up() {
        let mut breaker = Breaker::Closed;
        assert!(!breaker.failed(2, &RULES, at(0)));
        assert!(breaker.failed(3, &RULES, at(0)));
        assert!(
            !breaker.failed(4, &RULES, at(50)),
            "one that was on its way"
        );
        assert!(!breaker.try_once(at(59)));
        assert!(breaker.try_once(at(60)));
        assert!(!breaker.try_once(at(60)), "one only");
    }

    #[test]
    fn the_one_request_decides() {
        let half_open = || {
            let mut breaker = Breaker::Open { until: at(60) };
            assert!(breaker.try_once(at(60)));
            breaker
        };
        let (mut good, mut bad, mut lost) = (half_open(), half_open(), half_open());
        assert!(good.succeeded() && good == Breaker::Closed);
        assert!(bad.failed(1, &RULES, at(61)));
        assert_eq!(bad, Breaker::Open { until: at(121) });
        lost.abandon(at(61));
        assert!(lost.try_once(at(61)), "another decides");
    }

    #[test]
    fn a_success_that_was_on_its_way_closes_nothing() {
        let mut breaker = Breaker::Open { until: at(60) };
        assert!(!breaker.succeeded());
        assert_eq!(breaker, Breaker::Open { until: at(60) });
    }
}
