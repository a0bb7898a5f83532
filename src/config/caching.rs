//! A route's `cache`: the zone it keeps answers in, and how it does.

use super::names::Names;
use super::refusal::Refusal;
use super::section::Section;
use super::units::{duration, share};
use super::values::{cookie_name, network, request_field, switch};
use crate::cache::{KeySettings, QueryNames, QuerySettings, RouteCacheSettings};

pub fn read(s: &mut Section<'_>, zones: &Names<'_>) -> Option<RouteCacheSettings> {
    let names: Vec<&str> = zones.iter().map(|(name, _)| name).collect();
    let example = names.first().copied().unwrap_or("NAME");
    let zone = s.required("in", example, |name| {
        zones.find(name).map(|_| name.to_owned())
    });
    let ttl = s.optional("ttl", duration);
    let negative_ttl = s.optional("negative_ttl", duration);
    let stale_while_revalidate = s.optional("stale_while_revalidate", duration);
    let stale_if_error = s.optional("stale_if_error", duration);
    let key = s.settings("key", key);
    let refresh_ahead = s.optional("refresh_ahead", part_of_a_lifetime);
    let x_cache = s.or("x_cache", false, switch);
    let purge_from = s.list("purge_from", network);
    Some(RouteCacheSettings {
        zone: zone?,
        ttl,
        negative_ttl,
        stale_while_revalidate,
        stale_if_error,
        key,
        refresh_ahead,
        x_cache,
        purge_from,
    })
}

fn key(s: &mut Section<'_>) -> KeySettings {
    KeySettings {
        scheme: s.or("scheme", true, switch),
        query: s.settings("query", query),
        headers: s.list("headers", request_field),
        cookies: s.list("cookies", cookie_name),
    }
}

fn query(s: &mut Section<'_>) -> QuerySettings {
    let (ignore, keep) = (s.list("ignore", parameter), s.list("keep", parameter));
    if s.has("ignore") && s.has("keep") {
        let message = "`ignore` is there too, and either says it all; remove one of them";
        s.error_at(s.key_span("keep"), "keep", message);
    }
    QuerySettings {
        names: match (s.has("keep"), ignore.is_empty()) {
            // Nothing kept is a query that does not count at all.
            (true, _) => QueryNames::Only(keep),
            (false, false) => QueryNames::Except(ignore),
            (false, true) => QueryNames::All,
        },
        sort: s.or("sort", false, switch),
    }
}

/// All of it would be a fetch for every few hits.
fn part_of_a_lifetime(text: &str) -> Result<f64, Refusal> {
    match share(text)? {
        share if (0.01..=0.5).contains(&share) => Ok(share),
        _ => Err(format!("`{text}` is out of range; write 1% to 50%").into()),
    }
}

/// A name, or a prefix with `*` at its end.
fn parameter(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('*').unwrap_or(text);
    let is_name = !name.contains(['*', '&', '=', '?', '#', ' ']);
    match is_name && !text.is_empty() {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is not a query parameter; write its name, or a beginning and `*`, like utm_*"
        )),
    }
}
