//! Which route a request takes. Knows no policy: it finds a `T`.
//!
//! Most specific first: exact host, then the longest wildcard host, then any host; within a host
//! the exact path, then the longest prefix; within a path the most conditions, then the order
//! written. A look-up costs one hash per host form and one per `/` of the path, however many
//! routes there are.

mod rewrite;
mod settings;

pub use rewrite::{NewPath, Rewrite};
pub use settings::Match;

use http::{HeaderMap, Method};
use std::collections::HashMap;

pub struct Router<T> {
    exact: HashMap<Box<str>, Paths<T>>,
    /// Keyed by what follows `*.`.
    wildcard: HashMap<Box<str>, Paths<T>>,
    any: Paths<T>,
}

struct Paths<T> {
    exact: HashMap<Box<str>, Vec<Candidate<T>>>,
    /// Keyed by the prefix up to and with its last `/`.
    prefix: HashMap<Box<str>, Vec<Candidate<T>>>,
}

struct Candidate<T> {
    methods: Vec<Method>,
    headers: Vec<(http::HeaderName, String)>,
    claims: Vec<(String, String)>,
    target: T,
}

/// Whether whoever asks has proven these claims, by the rules of this target.
pub type Proves<'a, T> = &'a dyn Fn(&T, &[(String, String)]) -> bool;

/// What of a request decides its route.
pub struct Asked<'a> {
    /// As the client sent it; port and case don't matter.
    pub host: &'a str,
    /// In its normal form (`crate::path`).
    pub path: &'a str,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}

impl<T: Clone> Router<T> {
    /// `routes` in the order written.
    pub fn new(routes: impl IntoIterator<Item = (Match, T)>) -> Router<T> {
        let mut router = Router {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            any: Paths::new(),
        };
        for (matches, target) in routes {
            if matches.hosts.is_empty() {
                router.any.add(&matches, target.clone());
            }
            for host in &matches.hosts {
                router.paths_of(host).add(&matches, target.clone());
            }
        }
        router.for_each_path(|candidates| {
            // Stable: equal conditions keep the order written.
            candidates.sort_by_key(|c| std::cmp::Reverse(c.conditions()));
        });
        router
    }

    /// `proves` is asked for routes alone that match by claims.
    pub fn find(&self, asked: &Asked<'_>, proves: Proves<'_, T>) -> Option<&T> {
        if self.exact.is_empty() && self.wildcard.is_empty() {
            return self.any.find(asked, proves);
        }
        let host = normal_host(asked.host);
        self.find_exact_host(&host, asked, proves)
            .or_else(|| self.find_wildcard_host(&host, asked, proves))
            .or_else(|| self.any.find(asked, proves))
    }

    fn find_exact_host(&self, host: &str, asked: &Asked<'_>, proves: Proves<'_, T>) -> Option<&T> {
        self.exact.get(host)?.find(asked, proves)
    }

    /// The longest suffix wins, so labels are cut from the left one by one.
    fn find_wildcard_host(
        &self,
        host: &str,
        asked: &Asked<'_>,
        proves: Proves<'_, T>,
    ) -> Option<&T> {
        if self.wildcard.is_empty() {
            return None;
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(found) = self
                .wildcard
                .get(suffix)
                .and_then(|paths| paths.find(asked, proves))
            {
                return Some(found);
            }
            rest = suffix;
        }
        None
    }

    fn paths_of(&mut self, host: &str) -> &mut Paths<T> {
        let (table, name) = match host.strip_prefix("*.") {
            Some(suffix) => (&mut self.wildcard, suffix),
            None => (&mut self.exact, host),
        };
        table
            .entry(name.to_ascii_lowercase().into())
            .or_insert_with(Paths::new)
    }

    fn for_each_path(&mut self, sort: impl Fn(&mut Vec<Candidate<T>>)) {
        let hosts = self.exact.values_mut().chain(self.wildcard.values_mut());
        for paths in hosts.chain(std::iter::once(&mut self.any)) {
            paths
                .exact
                .values_mut()
                .chain(paths.prefix.values_mut())
                .for_each(&sort);
        }
    }
}

impl<T> Paths<T> {
    fn new() -> Paths<T> {
        Paths {
            exact: HashMap::new(),
            prefix: HashMap::new(),
        }
    }

    fn add(&mut self, matches: &Match, target: T) {
        let candidate = Candidate {
            methods: matches.methods.clone(),
            headers: matches.headers.clone(),
            claims: matches.claims.clone(),
            target,
        };
        let (table, path) = match matches.path.strip_suffix('*') {
            Some(prefix) => (&mut self.prefix, prefix),
            None => (&mut self.exact, matches.path.as_str()),
        };
        table.entry(path.into()).or_default().push(candidate);
    }

    fn find(&self, asked: &Asked<'_>, proves: Proves<'_, T>) -> Option<&T> {
        if let Some(found) = self
            .exact
            .get(asked.path)
            .and_then(|c| first(c, asked, proves))
        {
            return Some(found);
        }
        let mut end = asked.path.len();
        while let Some(slash) = asked.path[..end].rfind('/') {
            let candidates = self.prefix.get(&asked.path[..=slash]);
            if let Some(found) = candidates.and_then(|c| first(c, asked, proves)) {
                return Some(found);
            }
            end = slash;
        }
        None
    }
}

fn first<'a, T>(
    candidates: &'a [Candidate<T>],
    asked: &Asked<'_>,
    proves: Proves<'_, T>,
) -> Option<&'a T> {
    let proven = |c: &&Candidate<T>| c.claims.is_empty() || proves(&c.target, &c.claims);
    let mut admitting = candidates.iter().filter(|c| c.admits(asked));
    admitting.find(proven).map(|c| &c.target)
}

impl<T> Candidate<T> {
    fn conditions(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len() + self.claims.len()
    }

    fn admits(&self, asked: &Asked<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(asked.method))
            && self.headers.iter().all(|(name, value)| {
                asked
                    .headers
                    .get_all(name)
                    .iter()
                    .any(|v| v.as_bytes() == value.as_bytes())
            })
    }
}

/// Lower case, without port, without the dot that ends a fully qualified name.
fn normal_host(host: &str) -> std::borrow::Cow<'_, str> {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or(host, |(inside, _)| inside),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(hosts: &[&str], path: &str) -> Match {
        Match {
            hosts: hosts.iter().map(|h| h.to_string()).collect(),
            path: path.into(),
            ..Match::default()
        }
    }

    fn find<'a>(router: &'a Router<&'a str>, host: &str, path: &str) -> Option<&'a str> {
        let (method, headers) = (Method::GET, HeaderMap::new());
        router
            .find(
                &Asked {
                    host,
                    path,
                    method: &method,
                    headers: &headers,
                },
                &|_, _| false,
            )
            .copied()
    }

    #[test]
    fn the_most_specific_route_wins_whatever_the_order() {
        let router = Router::new([
            (route(&[], "/*"), "everything"),
            (route(&["*.shop.example"], "/*"), "any shop"),
            (route(&["a.shop.example"], "/photos/*"), "photos of a"),
            (route(&["*.b.shop.example"], "/*"), "below b"),
            (route(&[], "/photos/*"), "photos"),
            (route(&[], "/photos/one"), "one photo"),
        ]);
        assert_eq!(find(&router, "other", "/x"), Some("everything"));
        assert_eq!(find(&router, "other", "/photos/one"), Some("one photo"));
        assert_eq!(find(&router, "other", "/photos/one/two"), Some("photos"));
        assert_eq!(find(&router, "other", "/photos"), Some("everything"));
        assert_eq!(
            find(&router, "A.Shop.Example:8080", "/photos/x"),
            Some("photos of a")
        );
        assert_eq!(find(&router, "a.shop.example", "/x"), Some("any shop"));
        assert_eq!(find(&router, "x.b.shop.example.", "/x"), Some("below b"));
        assert_eq!(find(&router, "shop.example", "/x"), Some("everything"));
    }

    #[test]
    fn none_fits() {
        let router = Router::new([(route(&["a"], "/x/*"), "x")]);
        assert_eq!(find(&router, "a", "/y"), None);
        assert_eq!(find(&router, "b", "/x/1"), None);
        assert_eq!(find(&router, "a", ""), None);
    }

    #[test]
    fn conditions_come_before_order_and_all_must_hold() {
        let post = Match {
            methods: vec![Method::POST],
            ..route(&[], "/*")
        };
        let beta = Match {
            methods: vec![Method::POST],
            headers: vec![(http::HeaderName::from_static("x-beta"), "1".into())],
            ..route(&[], "/*")
        };
        let router = Router::new([
            (route(&[], "/*"), "plain"),
            (post, "post"),
            (beta, "beta post"),
        ]);
        let ask = |method: Method, beta: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            beta.map(|v| headers.insert("x-beta", http::HeaderValue::from_static(v)));
            let asked = Asked {
                host: "h",
                path: "/",
                method: &method,
                headers: &headers,
            };
            router.find(&asked, &|_, _| false).copied()
        };
        assert_eq!(ask(Method::GET, Some("1")), Some("plain"));
        assert_eq!(ask(Method::POST, None), Some("post"));
        assert_eq!(ask(Method::POST, Some("1")), Some("beta post"));
        assert_eq!(ask(Method::POST, Some("2")), Some("post"));
    }

    #[test]
    fn an_address_is_a_host_too() {
        let router = Router::new([
            (route(&["::1"], "/*"), "six"),
            (route(&["1.2.3.4"], "/*"), "four"),
        ]);
        assert_eq!(find(&router, "[::1]:8080", "/"), Some("six"));
        assert_eq!(find(&router, "1.2.3.4:80", "/"), Some("four"));
    }

    #[test]
    fn a_claim_is_a_condition_that_its_own_target_checks() {
        let by_claim = |role: &str| Match {
            claims: vec![("role".into(), role.into())],
            ..route(&[], "/*")
        };
        let router = Router::new([
            (route(&[], "/*"), "everybody"),
            (by_claim("editor"), "editors"),
            (by_claim("admin"), "admins"),
        ]);
        let (method, headers) = (Method::GET, HeaderMap::new());
        let asked = Asked {
            host: "h",
            path: "/",
            method: &method,
            headers: &headers,
        };
        let find = |proven: &str| {
            let proves = |target: &&str, claims: &[(String, String)]| {
                assert_ne!(*target, "everybody", "it asks for no claim");
                claims == [("role".to_owned(), proven.to_owned())]
            };
            router.find(&asked, &proves).copied()
        };
        assert_eq!(find("admin"), Some("admins"));
        assert_eq!(find("editor"), Some("editors"));
        assert_eq!(find("nobody"), Some("everybody"));
    }
}
