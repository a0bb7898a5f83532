//! When a stored answer may be used: §4.

use super::directives::{CacheControl, Directives};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, PRAGMA};

/// How long a stored object may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// When the answer arrived.
    pub stored_at: u64,
    /// Its age by then, §4.2.3.
    pub initial_age: u64,
    pub lifetime: u64,
    pub stale_while_revalidate: u64,
    pub stale_if_error: u64,
    /// Use it only after asking the origin: `no-cache`.
    pub always_revalidate: bool,
}

impl Freshness {
    /// §4.2.3, in whole seconds.
    pub fn age(&self, now: u64) -> u64 {
        self.initial_age + now.saturating_sub(self.stored_at)
    }

    /// Of what arrives `now`, and is not kept.
    pub fn none(now: u64) -> Freshness {
        Freshness {
            stored_at: now,
            initial_age: 0,
            lifetime: 0,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            always_revalidate: true,
        }
    }

    /// Stale from `now` on, and no more than that.
    pub fn expired(&self, now: u64) -> Freshness {
        Freshness {
            lifetime: self.lifetime.min(self.age(now)),
            ..*self
        }
    }

    /// Whether it may be used at `now` in place of a failure. RFC 5861 §4.
    pub fn hides_errors(&self, now: u64) -> bool {
        let stale_by = u64::try_from(-self.ttl(now)).unwrap_or(0);
        !self.always_revalidate && stale_by < self.stale_if_error
    }

    /// Whether it may be used at `now` as it is, or in place of a failure.
    pub fn is_of_use(&self, now: u64) -> bool {
        !self.always_revalidate && self.ttl(now) > 0 || self.hides_errors(now)
    }

    /// Whether it is fresh, but only for the last `share` of its lifetime, rounded up to a second.
    pub fn ends_soon(&self, share: f64, now: u64) -> bool {
        let ttl = self.ttl(now);
        ttl > 0 && ttl as f64 <= (self.lifetime as f64 * share).ceil()
    }

    /// Remaining freshness at `now`, in whole seconds; negative when stale. §4.2.
    pub fn ttl(&self, now: u64) -> i64 {
        self.lifetime as i64 - self.age(now) as i64
    }
}

/// What may be done with a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Fresh,
    /// Answer with it, and refresh it behind the answer.
    StaleWhileRevalidate,
    /// Ask the origin first; when that fails, it may still be used if `stale_if_error`.
    Revalidate {
        stale_if_error: bool,
    },
}

/// Cache-Control, or where there is none Pragma, §5.4.
fn asked_by(request: &HeaderMap) -> CacheControl {
    if request.contains_key(CACHE_CONTROL) {
        return CacheControl::parse(request);
    }
    CacheControl {
        no_cache: pragma_no_cache(request),
        ..CacheControl::default()
    }
}

/// §4.2 and §5.2.1: freshness, bounded by what the request itself asks for.
pub fn usable(freshness: &Freshness, request: &HeaderMap, now: u64) -> Use {
    let (age, ttl) = (freshness.age(now), freshness.ttl(now));
    let stale_by = u64::try_from(-ttl).unwrap_or(0);
    let revalidate = Use::Revalidate {
        stale_if_error: freshness.hides_errors(now),
    };
    if freshness.always_revalidate {
        return revalidate;
    }
    let asked = asked_by(request);
    // §5.2.1.1: whoever bounds the age wants nothing stale, unless saying so.
    let wants_fresh = asked.max_age.is_some() && asked.max_stale.is_none();
    let refused = asked.no_cache
        || (wants_fresh && ttl <= 0)
        || asked.max_age.is_some_and(|max| age > max)
        || asked.min_fresh.is_some_and(|min| ttl < min as i64);
    if refused {
        return revalidate;
    }
    if ttl > 0 {
        return Use::Fresh;
    }
    if stale_by < freshness.stale_while_revalidate {
        return Use::StaleWhileRevalidate;
    }
    revalidate
}

/// §5.4: only where there is no Cache-Control.
fn pragma_no_cache(request: &HeaderMap) -> bool {
    request.get(PRAGMA).is_some_and(|v| {
        Directives::new(v.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case(b"no-cache"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{fields, kept};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_object_goes_from_fresh_to_stale_to_gone() {
        let (object, none) = (kept(10, 5, 20), HeaderMap::new());
        assert_eq!(usable(&object, &none, 1009), Use::Fresh);
        assert_eq!(usable(&object, &none, 1010), Use::StaleWhileRevalidate);
        assert_eq!(
            usable(&object, &none, 1015),
            Use::Revalidate {
                stale_if_error: true
            }
        );
        assert_eq!(
            usable(&object, &none, 1030),
            Use::Revalidate {
                stale_if_error: false
            }
        );
    }

    #[test]
    fn the_end_is_soon_in_the_last_share_only() {
        let soon = |lifetime, now| kept(lifetime, 0, 0).ends_soon(0.1, now);
        assert!(!soon(100, 1089) && soon(100, 1090) && soon(100, 1099) && !soon(100, 1100));
        assert!(!soon(3, 1001) && soon(3, 1002) && !soon(3, 1003));
        assert!(!soon(0, 1000));
    }

    #[test]
    fn a_request_may_ask_for_more() {
        let object = kept(10, 0, 0);
        let ask = |value: &str, now| usable(&object, &fields(&[("cache-control", value)]), now);
        let revalidate = Use::Revalidate {
            stale_if_error: false,
        };
        assert_eq!(ask("no-cache", 1000), revalidate);
        assert_eq!(ask("max-age=3", 1003), Use::Fresh);
        assert_eq!(ask("max-age=3", 1004), revalidate);
        assert_eq!(ask("min-fresh=5", 1005), Use::Fresh);
        assert_eq!(ask("min-fresh=5", 1006), revalidate);
        assert_eq!(
            usable(&object, &fields(&[("pragma", "no-cache")]), 1000),
            revalidate
        );
    }

    #[test]
    fn whoever_bounds_the_age_gets_nothing_stale() {
        let object = kept(10, 5, 0);
        let ask = |value: &str| usable(&object, &fields(&[("cache-control", value)]), 1012);
        let stale_if_error = false;
        assert_eq!(ask("max-age=20"), Use::Revalidate { stale_if_error });
        assert_eq!(ask("max-age=20, max-stale=5"), Use::StaleWhileRevalidate);
        assert_eq!(ask("max-stale=5"), Use::StaleWhileRevalidate);
    }

    proptest! {
        /// Whatever the numbers, a fresh answer is never older than its lifetime.
        #[test]
        fn fresh_means_younger_than_the_lifetime(
            life in 0u64..100, age in 0u64..100, swr in 0u64..50, sie in 0u64..50, later in 0u64..300,
        ) {
            let object = Freshness { initial_age: age, ..kept(life, swr, sie) };
            let now = 1000 + later;
            match usable(&object, &HeaderMap::new(), now) {
                Use::Fresh => prop_assert!(object.age(now) < life),
                Use::StaleWhileRevalidate => {
                    prop_assert!(object.age(now) >= life && object.age(now) < life + swr)
                }
                Use::Revalidate { stale_if_error } => {
                    prop_assert!(object.age(now) >= life + swr);
                    prop_assert_eq!(stale_if_error, object.age(now) < life + sie);
                }
            }
        }
    }
}
