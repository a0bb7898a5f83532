//! What is valid and yet hardly meant: routes that never match, limits that never refuse, and names
//! that nothing uses.

mod limits;
mod servers;

use super::diagnostic::Report;
use super::names::Names;
use super::routes::{Places, Targets};
use super::{Config, RouteSettings};
use crate::route::Match;

/// `places` are in the order of the routes.
pub fn review(config: &Config, targets: &Targets<'_>, places: &Places, report: &Report) {
    warn_of_shadowed_routes(&config.routes, places, report);
    limits::warn_of_looser_limits(config, places, report);
    warn_of_useless_sizes(config, places, report);
    limits::warn_of_claims_nobody_has(config, places, report);
    servers::warn_of_what_needs_others(config, &targets.upstreams, report);
    for (route, (name, span)) in config.routes.iter().zip(places) {
        for what in hardly_meant(route) {
            report.warn(*span, format!("routes.{name}: {what}"));
        }
    }
    let routes = &config.routes;
    warn_of_unused(&targets.upstreams, report, |index, name| {
        let splits = |route: &RouteSettings| {
            let sides = route.split.iter().flat_map(|split| &split.sides);
            sides.map(|(side, _)| side).any(|side| side == name)
        };
        let mut routes = routes.iter();
        routes.any(|route| route.upstream == index || splits(route))
    });
    warn_of_unused(&targets.rate_limits, report, |index, _| {
        routes
            .iter()
            .any(|route| route.rate_limits.contains(&index))
    });
    warn_of_unused(&targets.auths, report, |index, _| {
        routes.iter().any(|route| route.auth == Some(index))
    });
    warn_of_unused(&targets.caches, report, |_, name| {
        let mut caches = routes.iter().filter_map(|route| route.cache.as_ref());
        caches.any(|cache| cache.zone == name)
    });
}

fn warn_of_useless_sizes(config: &Config, places: &Places, report: &Report) {
    let most = config.limits.header_size;
    for (route, (name, span)) in config.routes.iter().zip(places) {
        for (key, size) in [
            ("header_size", route.header_size),
            ("url_length", route.url_length),
        ] {
            if size.is_some_and(|size| size >= most) {
                let message = format!(
                    "routes.{name}.{key}: it does nothing, because limits.header_size is no more"
                );
                report.warn(*span, message);
            }
        }
    }
}

/// What one route alone says.
fn hardly_meant(route: &RouteSettings) -> Vec<String> {
    let mut found = Vec::new();
    if route.auth.is_some() && route.cache.is_some() {
        found.push("it has auth and cache: what a server says to those who have proven who they are is stored only where it says `public` or `s-maxage`, and given to all whom auth lets in then; without that remove cache".to_owned());
    }
    if route.images && route.cache.is_none() {
        found.push("images does nothing without a cache, where what is made is kept; write cache: {in: NAME}".to_owned());
    }
    for allowed in &route.allow {
        if let Some(denied) = route.deny.iter().find(|denied| denied.contains(allowed)) {
            found.push(format!(
                "allow: {allowed} lets nobody in, because deny: {denied} goes before it"
            ));
        }
    }
    found
}

fn warn_of_unused(names: &Names<'_>, report: &Report, is_used: impl Fn(usize, &str) -> bool) {
    for (index, (name, span)) in names.iter().enumerate() {
        if !is_used(index, name) {
            report.warn(span, format!("{}.{name}: no route uses it", names.key));
        }
    }
}

fn warn_of_shadowed_routes(routes: &[RouteSettings], places: &Places, report: &Report) {
    for (index, (route, (name, span))) in routes.iter().zip(places).enumerate() {
        let mut earlier = routes[..index].iter().zip(places);
        let shadow = earlier.find(|(earlier, _)| shadows(&earlier.matches, &route.matches));
        if let Some((_, (shadow, shadow_span))) = shadow {
            let place = report.place_from(*span, *shadow_span);
            report.warn(
                *span,
                format!("routes.{name}: it never matches, because routes.{shadow} on {place} takes all of its requests"),
            );
        }
    }
}

/// True if `earlier` stands in the same places of the router with the same number of conditions,
/// and admits all that `later` admits; the order written decides then.
fn shadows(earlier: &Match, later: &Match) -> bool {
    let same_hosts = match later.hosts.is_empty() {
        true => earlier.hosts.is_empty(),
        false => later.hosts.iter().all(|host| earlier.hosts.contains(host)),
    };
    let same_methods = match later.methods.is_empty() {
        true => earlier.methods.is_empty(),
        false => {
            let mut methods = later.methods.iter();
            methods.all(|method| earlier.methods.contains(method))
        }
    };
    let same_headers = earlier.headers.len() == later.headers.len()
        && later
            .headers
            .iter()
            .all(|field| earlier.headers.contains(field));
    let same_claims = earlier.claims.len() == later.claims.len()
        && later
            .claims
            .iter()
            .all(|claim| earlier.claims.contains(claim));
    same_hosts && same_methods && same_headers && same_claims && earlier.path == later.path
}
