//! `scale` of a supervised pool: how many processes, by what each carries.

use super::section::Section;
use super::units::{share, wait};
use super::values::count;
use crate::upstream::{Measure, ScaleRule, ScaleSettings};
use std::time::Duration;

const MEASURES: [(&str, Measure); 5] = [
    ("requests_per_second", Measure::RequestsPerSecond),
    ("in_flight", Measure::InFlight),
    ("queue", Measure::Queue),
    ("websockets", Measure::WebSockets),
    ("cpu", Measure::Cpu),
];

pub fn read(s: &mut Section<'_>) -> Option<ScaleSettings> {
    let min = s.required("min", "1", count(1..=256));
    let max = s.required("max", "4", count(1..=256));
    for key in ["up", "down"] {
        if !s.has(key) {
            let problem = format!("has no `{key}`; write {key}: {{in_flight: 50, delay: 2m}}");
            s.error_here(&problem);
        }
    }
    let up = s.section("up", |s| rule(s, Duration::from_secs(120)));
    let down = s.section("down", |s| rule(s, Duration::from_secs(600)));
    let (min, max) = min.zip(max)?;
    if min > max {
        s.error("max", format!("it is less than min; write {min} or more"));
    }
    let (up, down) = up.zip(down)?;
    if up.measure == down.measure && down.threshold > up.threshold {
        s.error_at(
            s.key_span("down"),
            "down",
            "its threshold is above the one of `up`; write a smaller one",
        );
    }
    Some(ScaleSettings { min, max, up, down })
}

/// One measure with its threshold, and how long it must last.
fn rule(s: &mut Section<'_>, delay: Duration) -> Option<ScaleRule> {
    let delay = s.or("delay", delay, wait);
    let written = MEASURES.iter().filter(|(key, _)| s.has(key)).count();
    let mut rules = Vec::new();
    for (key, measure) in MEASURES {
        let threshold = match measure {
            Measure::Cpu => s.optional(key, share),
            _ => s.optional(key, count(0..=1_000_000u32)).map(f64::from),
        };
        rules.extend(threshold.map(|threshold| ScaleRule {
            measure,
            threshold,
            delay,
        }));
    }
    if written != 1 {
        s.error_here(
            "needs one of requests_per_second, in_flight, queue, websockets and cpu, of each process",
        );
    }
    rules.pop()
}
