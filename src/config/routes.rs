//! `routes`: what is matched, and what is done with it.

use super::answers;
use super::caching;
use super::diagnostic::{Report, Span};
use super::edits;
use super::matching;
use super::names::{Names, check_name};
use super::refusal::Refusal;
use super::section::Section;
use super::splits;
use super::units::{size, size_between, wait};
use super::values::{choice, count, network, some_text, switch};
use super::{Config, RouteSettings};
use crate::guard::{MOST_LIMITS, SecurityHeaders};
use crate::route::{Match, NewPath, Rewrite};
use crate::upstream::{Priority, Protocol, UpstreamSettings};
use http::Method;

/// What a route may point at.
pub struct Targets<'a> {
    pub upstreams: Names<'a>,
    pub rate_limits: Names<'a>,
    pub caches: Names<'a>,
    pub auths: Names<'a>,
}

/// The routes read so far: name and place, in the order written.
pub type Places = Vec<(String, Span)>;

pub fn read(
    s: &mut Section<'_>,
    targets: &Targets<'_>,
    security_headers: SecurityHeaders,
    places: &mut Places,
) -> Option<RouteSettings> {
    let name = s
        .required("name", "everything", check_name)
        .unwrap_or_default();
    check_name_is_free(s, &name, places);
    places.push((name.clone(), s.span()));
    let split = splits::read(s, &targets.upstreams);
    let matches = matching::read(s);
    let grpc_web = s.or("grpc_web", false, switch);
    let route = RouteSettings {
        name,
        upstream: match &split {
            Some(split) => splits::first(split, &targets.upstreams),
            None => upstream(s, targets).unwrap_or_default(),
        },
        split,
        rewrite: s.settings("rewrite", |s| rewrite(s, &matches.path)),
        matches,
        request_headers: s.settings("request_headers", edits::read),
        response_headers: s.settings("response_headers", edits::read),
        rate_limits: rate_limits(s, targets),
        auth: s.optional("auth", |name| targets.auths.find(name)),
        require: s.pairs("require", some_text, some_text),
        allow: s.list("allow", network),
        deny: s.list("deny", network),
        timeout: s.optional("timeout", wait),
        cors: s.section("cors", |s| answers::cors(s, grpc_web)),
        security_headers: s.or(
            "security_headers",
            security_headers,
            answers::security_headers,
        ),
        maintenance: answers::maintenance(s),
        header_size: s.optional("header_size", head_part),
        url_length: s.optional("url_length", head_part),
        body_size: s.optional("body_size", size),
        priority: s.or("priority", Priority::Normal, choice(PRIORITIES)),
        concurrency: s.optional("concurrency", count(1..=10_000_000)),
        websockets: s.optional("websockets", count(1..=10_000_000)),
        cache: s.section("cache", |s| caching::read(s, &targets.caches)),
        images: s.or("images", false, switch),
        compress: s.or("compress", true, switch),
        grpc_web,
    };
    s.misplaced(&["host", "path", "methods", "header"], "match");
    check_together(s, &route);
    Some(route)
}

const PRIORITIES: &[(&str, Priority)] = &[
    ("low", Priority::Low),
    ("normal", Priority::Normal),
    ("high", Priority::High),
];

fn check_name_is_free(s: &Section<'_>, name: &str, places: &Places) {
    if let Some((_, first)) = places
        .iter()
        .find(|(taken, _)| taken == name && !name.is_empty())
    {
        let place = s.place(*first);
        let message = format!("`{name}` is the route on {place} already; write another name");
        s.error("name", message);
    }
}

fn upstream(s: &mut Section<'_>, targets: &Targets<'_>) -> Option<usize> {
    let names: Vec<&str> = targets.upstreams.iter().map(|(name, _)| name).collect();
    let example = names.first().copied().unwrap_or("NAME");
    s.required("upstream", example, |name| targets.upstreams.find(name))
}

/// A limit named twice would take two tokens for each request.
fn rate_limits(s: &mut Section<'_>, targets: &Targets<'_>) -> Vec<usize> {
    let seen = std::cell::RefCell::new(Vec::new());
    let limits = s.list("rate_limits", |name| {
        let index = targets.rate_limits.find(name)?;
        if seen.borrow().contains(&index) {
            return Err(format!("`{name}` is in the list already; remove one"));
        }
        seen.borrow_mut().push(index);
        Ok(index)
    });
    if limits.len() > MOST_LIMITS {
        let message = format!("there are {}; write {MOST_LIMITS} at most", limits.len());
        s.error("rate_limits", message);
    }
    limits
}

/// Within what `limits.header_size` may be at most.
fn head_part(text: &str) -> Result<usize, Refusal> {
    size_between(64, 1023 << 10)(text).map(|bytes| bytes as usize)
}

/// Of a route with this `match.path`.
fn rewrite(s: &mut Section<'_>, matched: &str) -> Rewrite {
    let strip_prefix = s.optional("strip_prefix", prefix);
    let behind = match strip_prefix {
        Some(_) => Some("/"),
        None => matched.strip_suffix('*'),
    };
    let path = s.optional("path", |text| new_path(text, behind));
    Rewrite { strip_prefix, path }
}

/// A `*` at its end stands for what is `behind` that.
fn new_path(text: &str, behind: Option<&str>) -> Result<NewPath, String> {
    let (start, has_rest) = match text.strip_suffix('*') {
        Some(start) => (start, true),
        None => (text, false),
    };
    matching::path(start)?;
    if start.contains('*') {
        return Err(format!(
            "`{text}` has a `*` before its end; write it last, like /files/*"
        ));
    }
    let behind = match (has_rest, behind) {
        (false, _) => None,
        (true, Some(behind)) => Some(behind.to_owned()),
        (true, None) => {
            return Err(format!(
                "the `*` of `{text}` stands for nothing: match.path has none; write {start}"
            ));
        }
    };
    let start = start.to_owned();
    Ok(NewPath { start, behind })
}

fn prefix(text: &str) -> Result<String, String> {
    if text.contains('*') {
        return Err(format!(
            "`{text}` has a `*` in it; write only what is taken away, like /v1"
        ));
    }
    matching::path(text)?;
    match text.strip_suffix('/') {
        Some("") => Err("`/` takes nothing away; write a prefix like /v1".to_owned()),
        Some(prefix) => Err(format!("`{text}` ends with `/`; write {prefix}")),
        None => Ok(text.to_owned()),
    }
}

fn check_together(s: &Section<'_>, route: &RouteSettings) {
    let Match { path, methods, .. } = &route.matches;
    let serves = |method: &Method| methods.is_empty() || methods.contains(method);
    if route.images && !serves(&Method::GET) {
        s.error(
            "images",
            "pictures are asked for with GET; add GET to match.methods, or remove `images`",
        );
    }
    if route.cache.is_some() && !serves(&Method::GET) && !serves(&Method::HEAD) {
        s.warn(
            s.key_span("cache"),
            "cache does nothing: only GET and HEAD are cached, and match.methods has neither",
        );
    }
    if !route.matches.claims.is_empty() && !s.has("auth") {
        s.error(
            "match",
            "nothing proves a claim here; write auth: NAME beside match",
        );
    }
    if !route.require.is_empty() && !s.has("auth") {
        s.error_at(
            s.key_span("require"),
            "require",
            "nothing proves a claim here; write auth: NAME beside it",
        );
    }
    if let Some(prefix) = &route.rewrite.strip_prefix
        && !may_begin_with(path, prefix)
    {
        let message = format!(
            "rewrite.strip_prefix does nothing: no path that {path} matches begins with {prefix}"
        );
        s.warn(s.key_span("rewrite"), &message);
    }
}

/// gRPC needs trailers, which only HTTP/2 has. `places` are in the order of the routes.
pub fn check_bridges(config: &Config, places: &Places, report: &Report) {
    let bridged = config.routes.iter().zip(places);
    for (route, (name, span)) in bridged.filter(|(route, _)| route.grpc_web) {
        let named = &config.upstreams[route.upstream].name;
        let split = route.split.iter().flat_map(|split| &split.sides);
        let its = |upstream: &&UpstreamSettings| {
            upstream.name == *named || split.clone().any(|(side, _)| *side == upstream.name)
        };
        let spoken_to_in = |upstream: &&UpstreamSettings| upstream.transport.protocol;
        let mut upstreams = config.upstreams.iter().filter(its);
        if let Some(old) = upstreams.find(|upstream| spoken_to_in(upstream) == Protocol::Http1) {
            let old = &old.name;
            report.error(*span, format!("routes.{name}.grpc_web: upstream {old} is spoken to in HTTP/1.1, which carries no gRPC; write protocol: h2c there, or http2 beside its tls"));
        }
    }
}

fn may_begin_with(pattern: &str, prefix: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => start.starts_with(prefix) || prefix.starts_with(start),
        None => pattern.starts_with(prefix),
    }
}
