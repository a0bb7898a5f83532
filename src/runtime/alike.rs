//! Routes that take the same URLs, from clients who differ otherwise.

use crate::config::RouteSettings;
use crate::route::Match;
use xxhash_rust::xxh3::Xxh3;

/// A hash of what makes the same URL another question here than on other routes: conditions, and what
/// servers are asked in place of it. None where there is no such thing. Stores outlive a process, and
/// keys are made of it, so that it must not change without a reason.
pub fn apart(route: &RouteSettings) -> Option<u64> {
    let mut said = Said::default();
    for (name, value) in &route.matches.headers {
        said.say("if", &[name.as_str(), value]);
    }
    for (name, value) in &route.matches.claims {
        said.say("claims", &[name, value]);
    }
    if let Some(prefix) = &route.rewrite.strip_prefix {
        said.say("without", &[prefix]);
    }
    if let Some(path) = &route.rewrite.path {
        let behind = path.behind.as_deref().unwrap_or_default();
        said.say("path", &[&path.start, behind]);
    }
    let edits = &route.request_headers;
    for (name, value) in &edits.set {
        said.say_bytes("set", &[name.as_str().as_bytes(), value.as_bytes()]);
    }
    for name in &edits.remove {
        said.say("remove", &[name.as_str()]);
    }
    said.any.then(|| said.hasher.digest())
}

#[derive(Default)]
struct Said {
    hasher: Xxh3,
    any: bool,
}

impl Said {
    fn say(&mut self, what: &str, parts: &[&str]) {
        let parts: Vec<_> = parts.iter().map(|part| part.as_bytes()).collect();
        self.say_bytes(what, &parts);
    }

    fn say_bytes(&mut self, what: &str, parts: &[&[u8]]) {
        self.any = true;
        for part in [what.as_bytes()].iter().chain(parts) {
            self.hasher.update(&(part.len() as u64).to_le_bytes());
            self.hasher.update(part);
        }
    }
}

/// The other routes with a cache that may take a URL of this one's, because of what else a request
/// says. Rather too many than too few.
pub fn beside(this: &RouteSettings, all: &[RouteSettings]) -> Vec<usize> {
    let is_beside = |other: &RouteSettings| {
        other.name != this.name
            && other.cache.is_some()
            && (has_conditions(&this.matches) || has_conditions(&other.matches))
            && meet(&this.matches, &other.matches)
    };
    let numbered = all.iter().enumerate();
    numbered
        .filter(|(_, other)| is_beside(other))
        .map(|(number, _)| number)
        .collect()
}

fn has_conditions(matches: &Match) -> bool {
    !matches.headers.is_empty() || !matches.claims.is_empty()
}

/// Whether a URL may fit both.
fn meet(one: &Match, other: &Match) -> bool {
    let hosts = |a: &String| other.hosts.iter().any(|b| ends_alike(a, b));
    let any_host = one.hosts.is_empty() || other.hosts.is_empty();
    let [a, b] = [one, other].map(|m| m.path.trim_end_matches('*').trim_end_matches('/'));
    (any_host || one.hosts.iter().any(hosts)) && (a.starts_with(b) || b.starts_with(a))
}

fn ends_alike(a: &str, b: &str) -> bool {
    let [a, b] = [a, b].map(|host| host.trim_start_matches('*'));
    a.ends_with(b) || b.ends_with(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meets(hosts: [&str; 2], paths: [&str; 2]) -> bool {
        let [one, other] = [0, 1].map(|i| Match {
            hosts: Some(hosts[i].to_owned())
                .filter(|h| !h.is_empty())
                .into_iter()
                .collect(),
            path: paths[i].into(),
            ..Match::default()
        });
        let there = meet(&one, &other);
        assert_eq!(there, meet(&other, &one), "it is mutual");
        there
    }

    #[test]
    fn routes_meet_where_a_url_may_fit_both() {
        for (hosts, paths, expected) in [
            (["", ""], ["/*", "/r/*"], true),
            (["", "a.test"], ["/r/*", "/r/x"], true),
            (["*.test", "a.test"], ["/*", "/*"], true),
            (["*.a.test", "*.test"], ["/*", "/*"], true),
            (["a.test", "b.test"], ["/*", "/*"], false),
            (["", ""], ["/r/*", "/s/*"], false),
            (["", ""], ["/r/*", "/r"], true),
        ] {
            assert_eq!(meets(hosts, paths), expected, "{hosts:?} {paths:?}");
        }
    }
}
