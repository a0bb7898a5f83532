//! What is valid and yet hardly meant: routes that never match, limits that never refuse, and names
//! that nothing uses.

use super::diagnostic::Report;
use super::names::Names;
use super::routes::{Places, Targets};
use super::{Config, RouteSettings};
use crate::guard::RateLimitSettings;
use crate::route::Match;
use crate::upstream::{Balance, HashKey};

/// `places` are in the order of the routes.
pub fn review(config: &Config, targets: &Targets<'_>, places: &Places, report: &Report) {
    warn_of_shadowed_routes(&config.routes, places, report);
    warn_of_looser_limits(config, places, report);
    warn_of_useless_sizes(config, places, report);
    warn_of_claims_nobody_has(config, places, report);
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

/// Claims come with proof alone, and a route without `auth` asks for none.
fn warn_of_claims_nobody_has(config: &Config, places: &Places, report: &Report) {
    let routes = config.routes.iter().zip(places);
    for (route, (name, span)) in routes.filter(|(route, _)| route.auth.is_none()) {
        let limits = route.rate_limits.iter().map(|n| &config.rate_limits[*n]);
        let limits = limits.filter(|limit| limit.asks_claims());
        let hash = match &config.upstreams[route.upstream].balance {
            Balance::Hash(HashKey::Claim(_)) => Some(&config.upstreams[route.upstream].name),
            _ => None,
        };
        let split = route.split.as_ref().and_then(|split| split.key.as_ref());
        let by_claim = limits
            .map(|limit| format!("rate_limits.{}", limit.name))
            .chain(hash.map(|upstream| format!("upstreams.{upstream}.hash_key")))
            .chain(matches!(split, Some(HashKey::Claim(_))).then(|| "split_key".to_owned()));
        for what in by_claim {
            let message = format!(
                "routes.{name}: {what} goes by a claim, which nobody has here; write auth: NAME"
            );
            report.warn(*span, message);
        }
    }
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
            let line = shadow_span.line;
            report.warn(
                *span,
                format!("routes.{name}: it never matches, because routes.{shadow} on line {line} takes all of its requests"),
            );
        }
    }
}

fn warn_of_looser_limits(config: &Config, places: &Places, report: &Report) {
    for (route, (name, span)) in config.routes.iter().zip(places) {
        let limits: Vec<_> = route
            .rate_limits
            .iter()
            .map(|n| &config.rate_limits[*n])
            .collect();
        for (n, wide) in limits.iter().enumerate() {
            let others = limits.iter().enumerate().filter(|(other, _)| *other != n);
            // Of two that are the same, the second.
            let mut tighter = others
                .filter(|(other, l)| holds_more(wide, l) && (*other < n || !holds_more(l, wide)));
            if let Some((_, narrow)) = tighter.next() {
                let (wide, narrow) = (&wide.name, &narrow.name);
                report.warn(
                    *span,
                    format!("routes.{name}: rate_limits.{wide} never refuses here, because rate_limits.{narrow} has the same key and allows no more"),
                );
            }
        }
    }
}

/// True if whatever `narrow` admits, `wide` admits too.
fn holds_more(wide: &RateLimitSettings, narrow: &RateLimitSettings) -> bool {
    let same_askers = wide.key == narrow.key && wide.cost == narrow.cost;
    let whole = wide.tiers.is_empty() && narrow.tiers.is_empty() && !narrow.dry_run;
    // Of the fleet's requests one edge sees some only.
    let sees_all = narrow.is_shared() || !wide.is_shared();
    let interval = |limit: &RateLimitSettings| limit.quota.interval();
    let no_more = interval(wide) <= interval(narrow) && wide.quota.burst >= narrow.quota.burst;
    same_askers && whole && sees_all && no_more
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
