//! Rate limits that never refuse, and claims that nobody has.

use super::super::Config;
use super::super::diagnostic::Report;
use super::super::routes::Places;
use crate::guard::RateLimitSettings;
use crate::upstream::{Balance, HashKey};

pub fn warn_of_looser_limits(config: &Config, places: &Places, report: &Report) {
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

/// Claims come with proof alone, and a route without `auth` asks for none.
pub fn warn_of_claims_nobody_has(config: &Config, places: &Places, report: &Report) {
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
