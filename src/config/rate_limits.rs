//! `rate_limits`: whose requests are counted, and how many may come.

use super::section::Section;
use super::units::rate;
use super::values::{choice, count, header_name, switch};
use crate::guard::{LimitKey, RateLimitSettings};

pub fn read(name: &str, s: &mut Section<'_>) -> Option<RateLimitSettings> {
    s.unsupported(&["tiers"]);
    s.unsupported_but("store", &["local"]);
    s.unsupported_but("on_store_error", &["local"]);
    let key = s.required("key", "client_address", key);
    let rate = s.required("rate", "100/min", rate);
    let burst = s.optional("burst", count(1..=u32::MAX));
    let dry_run = s.or("dry_run", false, switch);
    let max_keys = s.or("max_keys", 1_000_000, count(1..=100_000_000));
    Some(RateLimitSettings {
        name: name.to_owned(),
        key: key?,
        rate: rate?,
        burst: burst.unwrap_or(rate?.count),
        dry_run,
        max_keys,
    })
}

fn key(text: &str) -> Result<LimitKey, String> {
    match text.split_once(':') {
        Some(("header", name)) => Ok(LimitKey::Header(header_name(name)?)),
        Some(("cookie" | "claim", _)) => Err(format!(
            "`{text}` is not supported by this version of Lakh; \
             write client_address, header:NAME or route"
        )),
        _ => {
            let word = choice(&[("client_address", 0), ("header:NAME", 1), ("route", 2)])(text)?;
            match word {
                0 => Ok(LimitKey::ClientAddress),
                2 => Ok(LimitKey::Route),
                _ => {
                    Err("NAME stands for a header's name; write it, like header:x-device-id".into())
                }
            }
        }
    }
}
