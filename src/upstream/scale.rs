//! How many processes a supervised pool should have: more while each has too much to do, fewer
//! while each has little. Decided one process at a time, from what was measured and the clock.

use super::Time;
use super::settings::{Measure, ScaleRule, ScaleSettings};

/// What all processes of a pool carry together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Carried {
    pub requests_per_second: f64,
    pub in_flight: f64,
    /// Waiting for the upstream's concurrency.
    pub queue: f64,
    pub websockets: f64,
    /// Cores in use.
    pub cpu: f64,
}

/// Since when a pool's load has been beyond its thresholds.
#[derive(Debug, Default)]
pub struct Scale {
    above: Option<Time>,
    below: Option<Time>,
}

impl Scale {
    /// How many processes there should be, of `size` that there are. A threshold must have been
    /// passed in every look for its whole delay; each change begins the delays anew.
    pub fn look(
        &mut self,
        carried: &Carried,
        size: u16,
        settings: &ScaleSettings,
        now: Time,
    ) -> u16 {
        let each = |rule: &ScaleRule, size: u16| carried.of(rule.measure) / f64::from(size.max(1));
        let above = each(&settings.up, size) > settings.up.threshold;
        // With one process less, the others must not be too loaded at once.
        let fewer = size.saturating_sub(1);
        let enough = each(&settings.up, fewer) <= settings.up.threshold;
        let below = each(&settings.down, size) < settings.down.threshold && enough;
        let grow = lasts(
            &mut self.above,
            above && size < settings.max,
            &settings.up,
            now,
        );
        let shrink = lasts(
            &mut self.below,
            below && size > settings.min,
            &settings.down,
            now,
        );
        let wanted = match (grow, shrink) {
            (true, _) => size + 1,
            (false, true) => fewer,
            _ => size.clamp(settings.min, settings.max),
        };
        if wanted != size {
            *self = Scale::default();
        }
        wanted
    }
}

impl Carried {
    fn of(&self, measure: Measure) -> f64 {
        match measure {
            Measure::RequestsPerSecond => self.requests_per_second,
            Measure::InFlight => self.in_flight,
            Measure::Queue => self.queue,
            Measure::WebSockets => self.websockets,
            Measure::Cpu => self.cpu,
        }
    }
}

fn lasts(since: &mut Option<Time>, holds: bool, rule: &ScaleRule, now: Time) -> bool {
    *since = match holds {
        true => since.or(Some(now)),
        false => None,
    };
    since.is_some_and(|since| now.since(since) >= rule.delay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn settings() -> ScaleSettings {
        let rule = |threshold, minutes: u64| ScaleRule {
            measure: Measure::RequestsPerSecond,
            threshold,
            delay: Duration::from_secs(minutes * 60),
        };
        ScaleSettings {
            min: 1,
            max: 4,
            up: rule(1000.0, 2),
            down: rule(300.0, 10),
        }
    }

    /// Sizes after each minute of this load, in requests per second.
    fn hour(scale: &mut Scale, size: &mut u16, from: u64, loads: &[f64]) -> Vec<u16> {
        let look = |(minute, load): (u64, &f64)| {
            let carried = Carried {
                requests_per_second: *load,
                ..Carried::default()
            };
            let now = Time::from_millis((from + minute) * 60_000);
            *size = scale.look(&carried, *size, &settings(), now);
            *size
        };
        (0..).zip(loads).map(look).collect()
    }

    #[test]
    fn load_that_lasts_brings_one_process_after_the_other() {
        let (mut scale, mut size) = (Scale::default(), 1);
        let sizes = hour(&mut scale, &mut size, 0, &[3500.0; 12]);
        assert_eq!(sizes, [1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4]);
    }

    #[test]
    fn a_peak_brings_nothing() {
        let (mut scale, mut size) = (Scale::default(), 1);
        let sizes = hour(
            &mut scale,
            &mut size,
            0,
            &[3500.0, 3500.0, 900.0, 3500.0, 3500.0],
        );
        assert_eq!(sizes, [1; 5]);
    }

    #[test]
    fn without_load_they_leave_down_to_the_least() {
        let (mut scale, mut size) = (Scale::default(), 3);
        let sizes = hour(&mut scale, &mut size, 0, &[0.0; 40]);
        assert_eq!((sizes[9], sizes[10], sizes[21], sizes[39]), (3, 2, 1, 1));
    }

    #[test]
    fn nobody_leaves_whose_work_would_be_too_much_for_the_others() {
        let narrow = ScaleSettings {
            down: ScaleRule {
                threshold: 900.0,
                ..settings().down
            },
            ..settings()
        };
        let mut scale = Scale::default();
        let carried = Carried {
            requests_per_second: 1600.0,
            ..Carried::default()
        };
        for minute in 0..60 {
            let now = Time::from_millis(minute * 60_000);
            assert_eq!(
                scale.look(&carried, 2, &narrow, now),
                2,
                "800 each, 1600 for one"
            );
        }
    }

    #[test]
    fn a_size_out_of_bounds_is_brought_within_them() {
        let mut scale = Scale::default();
        let none = Carried::default();
        assert_eq!(scale.look(&none, 9, &settings(), Time::default()), 4);
        assert_eq!(scale.look(&none, 0, &settings(), Time::default()), 1);
    }
}
