//! `upstream: {blue: 90%, green: 10%}` of a route, and when a side of it is taken back.

use super::names::Names;
use super::refusal::Refusal;
use super::section::Section;
use super::units::{share, wait};
use super::upstreams::hash_key;
use super::values::count;
use crate::upstream::{RollbackSettings, SplitSettings, WHOLE};

/// None where the route names one upstream, or none.
pub fn read(s: &mut Section<'_>, upstreams: &Names<'_>) -> Option<SplitSettings> {
    let is_split = s.is_map("upstream");
    let sides = match is_split {
        true => sides(s, upstreams),
        false => Vec::new(),
    };
    let split = SplitSettings {
        sides,
        key: s.optional("split_key", hash_key),
        rollback: s.section("rollback", rollback),
    };
    for key in ["split_key", "rollback"]
        .into_iter()
        .filter(|key| !is_split && s.has(key))
    {
        s.error_at(
            s.key_span(key),
            key,
            "the route has no split; write upstream: {NAME: 90%, OTHER: 10%}, or remove the key",
        );
    }
    is_split.then_some(split)
}

/// Index of its first side.
pub fn first(split: &SplitSettings, upstreams: &Names<'_>) -> usize {
    let first = split.sides.first();
    first
        .and_then(|(name, _)| upstreams.find(name).ok())
        .unwrap_or_default()
}

/// Shares in hundredths of a percent.
fn sides(s: &mut Section<'_>, upstreams: &Names<'_>) -> Vec<(String, u32)> {
    let known = |name: &str| upstreams.find(name).map(|_| name.to_owned());
    let sides = s.pairs("upstream", known, hundredths);
    let total: u32 = sides.iter().map(|(_, share)| share).sum();
    if s.is_empty("upstream") {
        s.error("upstream", "nothing is in it; write an upstream's name");
    } else if total != WHOLE && sides.len() == s.names_of("upstream").len() {
        let percent = f64::from(total) / 100.0;
        s.error(
            "upstream",
            format!("the shares add up to {percent}%; they must be 100%"),
        );
    }
    sides
}

fn hundredths(text: &str) -> Result<u32, Refusal> {
    let exact = share(text)? * f64::from(WHOLE);
    match (exact - exact.round()).abs() < 1e-6 {
        true => Ok(exact.round() as u32),
        false => {
            let why = format!("`{text}` is too fine; write hundredths of a percent at most");
            Err(why.into())
        }
    }
}

fn rollback(s: &mut Section<'_>) -> Option<RollbackSettings> {
    let default = RollbackSettings::default();
    Some(RollbackSettings {
        errors: s.or("errors", default.errors, share),
        requests: s.or("requests", default.requests, count(1..=1_000_000)),
        interval: s.or("interval", default.interval, wait),
    })
}
