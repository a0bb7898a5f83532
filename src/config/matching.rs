//! A route's `match`: all that is set must hold.

use super::closest::did_you_mean;
use super::section::Section;
use super::values::{header_text, no_slash, percent_encoded, request_field, some_text};
use crate::route::Match;
use http::Method;
use std::net::{IpAddr, Ipv6Addr};

const METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
    Method::CONNECT,
];

/// From the route's section. A route that lost its `match` must not take every request.
pub fn read(s: &mut Section<'_>) -> Match {
    s.at_least_one("match", "{path: /*} for every request");
    s.settings("match", |s| Match {
        hosts: s.one_or_list("host", host),
        path: s.or("path", "/*".to_owned(), pattern),
        methods: s.list("methods", method),
        headers: s.pairs("header", request_field, header_text),
        claims: s.pairs("claim", some_text, some_text),
    })
}

/// `shop.example`, `*.shop.example`, or an IP address; in lower case.
fn host(text: &str) -> Result<String, String> {
    let host = text.to_ascii_lowercase();
    if host == "*" {
        return Err("`*` is every host; remove `host` for that".to_owned());
    }
    if let Some((_, rest)) = host.split_once("://") {
        return Err(format!("`{text}` is a URL; write only the host: {rest}"));
    }
    if host.parse::<IpAddr>().is_ok() {
        return Ok(host);
    }
    let in_brackets = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    if let Some((ip, _)) = in_brackets.filter(|(ip, _)| ip.parse::<Ipv6Addr>().is_ok()) {
        return Err(format!(
            "`{text}` is an address as URLs have it; hosts match on every port, so write \"{ip}\""
        ));
    }
    if let Some((name, _)) = host.split_once(':') {
        return Err(format!(
            "`{text}` has a port; hosts match on every port, so write {name}"
        ));
    }
    let name = host.strip_prefix("*.").unwrap_or(&host);
    match name.split('.').all(is_label) && name.len() <= 253 {
        true => Ok(host),
        false => Err(format!(
            "`{text}` is not a host; write it like shop.example or \"*.shop.example\""
        )),
    }
}

/// A part of a name between two dots. RFC 1123 §2.1, and `_` because it is in use.
pub fn is_label(label: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=63).contains(&label.len())
        && label.chars().all(is_part)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// `/exact`, `/prefix/*` or `/*`.
fn pattern(text: &str) -> Result<String, String> {
    if text.starts_with('*') {
        return Err(format!(
            "`{text}` matches from the end, but paths match from their beginning; write one like /photos/*"
        ));
    }
    if let Some((before, _)) = text.split_once('{') {
        return Err(format!(
            "`{text}` has a placeholder, which paths don't have; write {before}*"
        ));
    }
    path(text)?;
    match text.split_once('*') {
        Some((before, "")) if before.ends_with('/') => {
            normal(before, "*").map(|()| text.to_owned())
        }
        None => normal(text, "").map(|()| text.to_owned()),
        Some((before, "")) => Err(format!(
            "in `{text}`, `*` must stand for whole segments; write {before}/*"
        )),
        Some((before, _)) => {
            let before = before.trim_end_matches(|c| c != '/');
            Err(format!(
                "`{text}` has a `*` before its end; write {before}*"
            ))
        }
    }
}

/// Requests are matched by their paths' normal form, whatever they wrote. `end` comes behind `text`.
fn normal(text: &str, end: &str) -> Result<(), String> {
    match crate::path::normal(text.as_bytes()).as_deref() {
        Some(normal) if normal == text => Ok(()),
        Some(normal) => Err(format!(
            "`{text}{end}` would match nothing, because a request's path is looked up in its normal form; write {normal}{end}"
        )),
        None => Err(format!(
            "`{text}{end}` leads above the root or has a zero byte; write a path below /"
        )),
    }
}

/// As a request has it: percent-encoded, without query.
pub fn path(text: &str) -> Result<(), String> {
    if text.starts_with('^') {
        return Err(format!(
            "`{text}` is a regular expression; write a whole path, or a beginning like /api/*"
        ));
    }
    if !text.starts_with('/') {
        return Err(no_slash(text));
    }
    if let Some((before, _)) = text.split_once(['?', '#']) {
        return Err(format!("`{text}` is more than a path; write {before}"));
    }
    percent_encoded(text)
}

/// One that RFC 9110 §9 or RFC 5789 defines.
pub fn method(text: &str) -> Result<Method, String> {
    let known = || METHODS.iter().map(Method::as_str);
    let found = METHODS.iter().find(|method| method.as_str() == text);
    found.cloned().ok_or_else(|| {
        let advice = did_you_mean(text, known(), || {
            format!(
                "; write {}",
                super::units::one_of(&known().collect::<Vec<_>>())
            )
        });
        format!("`{text}` is not a method{advice}")
    })
}
