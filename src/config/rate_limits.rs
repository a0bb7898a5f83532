//! `rate_limits`: whose requests are counted, and how many may come.

use super::matching::method;
use super::section::Section;
use super::units::{duration_text, rate};
use super::values::{any_text, choice, cookie_name, count, header_name, switch};
use crate::guard::{
    Condition, Costs, KeyPart, LONGEST_REFILL, OnStoreError, Quota, RateLimitSettings,
    StoreSettings, TierSettings,
};
use std::cell::RefCell;

pub fn read(name: &str, s: &mut Section<'_>) -> Option<RateLimitSettings> {
    s.at_least_one("key", "client_address");
    let key = key(s);
    let quota = quota(s);
    let tiers = s.items("tiers", tier);
    let cost = cost(s);
    let settings = RateLimitSettings {
        name: name.to_owned(),
        key,
        tiers,
        cost,
        fields: s.or("fields", true, switch),
        dry_run: s.or("dry_run", false, switch),
        max_keys: s.or("max_keys", 1_000_000, count(1..=100_000_000)),
        store: store(s),
        // Last: who returns without having asked for the others makes them unknown.
        quota: quota?,
    };
    check_cost(s, &settings);
    Some(settings)
}

/// A part named twice tells nothing more.
fn key(s: &mut Section<'_>) -> Vec<KeyPart> {
    let seen = RefCell::new(Vec::new());
    s.one_or_list("key", |text| {
        let part = key_part(text)?;
        if seen.borrow().contains(&part) {
            return Err(format!("`{text}` is in the list already; remove one"));
        }
        seen.borrow_mut().push(part.clone());
        Ok(part)
    })
}

fn key_part(text: &str) -> Result<KeyPart, String> {
    if let Some(part) = named_part(text)? {
        return Ok(part);
    }
    let words = [
        ("client_address", Some(KeyPart::ClientAddress)),
        ("header:NAME", None),
        ("cookie:NAME", None),
        ("claim:NAME", None),
        ("route", Some(KeyPart::Route)),
    ];
    let places: Vec<_> = words
        .iter()
        .enumerate()
        .map(|(n, (w, _))| (*w, n))
        .collect();
    match &words[choice(&places)(text)?] {
        (_, Some(part)) => Ok(part.clone()),
        (word, None) => {
            let kind = word.trim_end_matches(":NAME");
            let example = match kind {
                "header" => "header:x-device-id",
                "cookie" => "cookie:session",
                _ => "claim:sub",
            };
            Err(format!(
                "NAME stands for a {kind}'s name; write it, like {example}"
            ))
        }
    }
}

/// `header:x-plan`, `cookie:session`, `claim:class`. None: nothing of the kind.
fn named_part(text: &str) -> Result<Option<KeyPart>, String> {
    Ok(match text.split_once(':') {
        Some((_, "NAME")) => None,
        Some(("header", name)) => Some(KeyPart::Header(header_name(name)?)),
        Some(("cookie", name)) => Some(KeyPart::Cookie(cookie_name(name)?)),
        Some(("claim", name)) => Some(KeyPart::Claim(claim_name(name)?)),
        _ => None,
    })
}

fn claim_name(name: &str) -> Result<String, String> {
    match name.trim() {
        "" => Err("the claim has no name; write one, like claim:sub".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// `rate` and `burst`, of a limit or of a tier.
fn quota(s: &mut Section<'_>) -> Option<Quota> {
    let rate = s.required("rate", "100/min", rate);
    let burst = s.optional("burst", count(1..=u32::MAX));
    let rate = rate?;
    let burst = burst.unwrap_or(rate.count);
    let quota = Quota { rate, burst };
    if quota.refill() > LONGEST_REFILL {
        let most = LONGEST_REFILL.as_nanos() / quota.interval().as_nanos();
        let longest = duration_text(LONGEST_REFILL);
        let message = format!(
            "at this rate, `{burst}` take longer than {longest} to come back; write {most} or less"
        );
        s.error("burst", message);
    }
    Some(quota)
}

fn tier(s: &mut Section<'_>) -> Option<TierSettings> {
    s.at_least_one("when", "{header:x-plan: gold}");
    let when = s.pairs("when", condition_part, any_text);
    let when = when.into_iter().map(|(of, is)| Condition { of, is });
    let when = when.collect();
    let quota = quota(s);
    Some(TierSettings {
        when,
        quota: quota?,
    })
}

fn condition_part(text: &str) -> Result<KeyPart, String> {
    named_part(text)?.ok_or_else(|| {
        format!("`{text}` is nothing to go by; write claim:NAME, header:NAME or cookie:NAME")
    })
}

/// `{POST: 5, default: 1}`; `default` is for all other methods.
fn cost(s: &mut Section<'_>) -> Costs {
    let of = |text: &str| match text {
        "default" => Ok(None),
        _ => method(text).map(Some),
    };
    let mut costs = Costs::default();
    for (of, cost) in s.pairs("cost", of, count(0..=u32::MAX)) {
        match of {
            Some(method) => costs.by_method.push((method, cost)),
            None => costs.default = cost,
        }
    }
    costs
}

/// What costs more than a full bucket holds could never be had.
fn check_cost(s: &Section<'_>, settings: &RateLimitSettings) {
    let most = settings.cost.most();
    let tiers = settings.tiers.iter().map(|tier| tier.quota.burst);
    let least = tiers.fold(settings.quota.burst, u32::min);
    if most > least {
        let message = format!(
            "`{most}` is more than a burst of {least}, so such a request would always be refused; write {least} or less, or a larger burst"
        );
        s.error("cost", message);
    }
}

fn store(s: &mut Section<'_>) -> StoreSettings {
    let words = [
        ("local", OnStoreError::Local),
        ("allow", OnStoreError::Allow),
        ("refuse", OnStoreError::Refuse),
    ];
    let is_shared = s.or("store", false, choice(&[("local", false), ("redis", true)]));
    let on_error = s.optional("on_store_error", choice(&words));
    if on_error.is_some_and(|word| word != OnStoreError::Local) && !is_shared {
        let message =
            "it does nothing for a store that can't fail; write store: redis, or remove it";
        s.error("on_store_error", message);
    }
    match is_shared {
        true => StoreSettings::Redis(on_error.unwrap_or(OnStoreError::Local)),
        false => StoreSettings::Local,
    }
}
