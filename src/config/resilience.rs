//! What an upstream does when a server fails: ejection, circuit breaker, retries, concurrency.

use super::closest::did_you_mean;
use super::refusal::{Refusal, Wanted};
use super::section::Section;
use super::units::{share, wait};
use super::values::{count, switch};
use crate::upstream::{
    BackoffSettings, Bounds, BreakerSettings, ConcurrencySettings, EjectionSettings, RetryOn,
    RetrySettings,
};

pub fn ejection(s: &mut Section<'_>) -> Option<EjectionSettings> {
    let default = EjectionSettings::default();
    let failures = default.consecutive_failures;
    Some(EjectionSettings {
        consecutive_failures: s.or("consecutive_failures", failures, count(1..=1000)),
        interval: s.or("interval", default.interval, wait),
        lasts: s.or("for", default.lasts, wait),
        max_ejected: s.or("max_ejected", default.max_ejected, share),
    })
}

pub fn circuit_breaker(s: &mut Section<'_>) -> Option<BreakerSettings> {
    let default = BreakerSettings::default();
    Some(BreakerSettings {
        failures: s.or("failures", default.failures, count(1..=1000)),
        open_for: s.or("open_for", default.open_for, wait),
    })
}

pub fn retry(s: &mut Section<'_>) -> RetrySettings {
    let default = RetrySettings::default();
    RetrySettings {
        // In all, the first attempt included.
        attempts: s.or("attempts", default.attempts, count(1..=10)),
        on: s.list_or("on", default.on, retry_on),
        budget: s.or("budget", default.budget, share),
        backoff: s.settings("backoff", backoff),
        per_try: s.optional("per_try", wait),
    }
}

pub fn concurrency(s: &mut Section<'_>) -> Option<ConcurrencySettings> {
    let default = ConcurrencySettings::default();
    let max = s.or("max", default.max, count(1..=1_000_000));
    let min = s.or("min", max.min(10), count(1..=1_000_000));
    let adaptive = s.or("adaptive", false, switch);
    if s.has("min") && !adaptive {
        s.error(
            "min",
            "`min` bounds what `adaptive: true` finds out; set that, or remove `min`",
        );
    } else if min > max {
        s.error("min", "`min` is larger than `max`");
    }
    Some(ConcurrencySettings {
        max,
        adaptive: adaptive.then_some(Bounds { min, max }),
        queue: s.or("queue", default.queue, count(0..=1_000_000)),
        queue_timeout: s.or("queue_timeout", default.queue_timeout, wait),
    })
}

fn retry_on(text: &str) -> Result<RetryOn, Refusal> {
    let known = ["connect", "timeout", "broken"];
    let why = match text {
        "connect" => return Ok(RetryOn::Connect),
        "timeout" => return Ok(RetryOn::Timeout),
        "broken" => return Ok(RetryOn::Broken),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => match count(500..=599)(text) {
            Ok(status) => return Ok(RetryOn::Status(status)),
            Err(_) => {
                format!("`{text}` is no status of a failed server; write one from 500 to 599")
            }
        },
        _ => {
            let advice = did_you_mean(text, known, || {
                "; write connect, timeout, broken or a status like 503".to_owned()
            });
            format!("`{text}` is not known{advice}")
        }
    };
    let statuses = Wanted::Number {
        least: 500,
        most: 599,
    };
    let words = known.map(|word| Wanted::Word(word.to_owned()));
    Err(Refusal::new(why, words.into_iter().chain([statuses])))
}

fn backoff(s: &mut Section<'_>) -> BackoffSettings {
    let default = BackoffSettings::default();
    let backoff = BackoffSettings {
        base: s.or("base", default.base, wait),
        max: s.or("max", default.max, wait),
    };
    if backoff.base > backoff.max {
        let longest = backoff.max;
        let problem = format!("it is longer than max, {longest:?}; write that or less");
        s.error("base", problem);
    }
    backoff
}
