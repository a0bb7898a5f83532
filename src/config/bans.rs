//! `bans`: who is kept out for a while, because they kept doing what is refused.

use super::section::Section;
use super::units::seconds;
use super::values::{choice, count, network};
use crate::guard::{BanRule, BanSettings, Networks, Offence};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

pub fn read(s: &mut Section<'_>) -> BanSettings {
    let exempt = Networks::new(&s.list("exempt", network));
    let rules: Vec<BanRule> = s.items("rules", rule);
    for (n, rule) in rules.iter().enumerate() {
        if rules[..n].iter().any(|other| other.offence == rule.offence) {
            let of = rule.offence.label();
            s.error(
                "rules",
                format!("two rules are of `{of}`; an offence has one rule"),
            );
        }
    }
    BanSettings { rules, exempt }
}

fn rule(s: &mut Section<'_>) -> Option<BanRule> {
    let offences = Offence::ALL.map(|offence| (offence.label(), offence));
    let offence = s.required("of", "rate_limited", choice(&offences));
    let count = s.or("count", 50, count(1..=1_000_000));
    let within = s.or("within", Duration::from_secs(60), seconds);
    let length = s.or("length", HOUR / 6, seconds);
    let ceiling = s.or("ceiling", (24 * HOUR).max(length), seconds);
    if ceiling < length {
        s.error(
            "ceiling",
            "`ceiling` is the longest ban, so it can't be shorter than `length`",
        );
    }
    Some(BanRule {
        offence: offence?,
        count,
        within,
        length,
        ceiling,
    })
}
