//! Which requests ask for the same object.
//!
//! Parts are length-prefixed, so that no two different requests can make the same bytes.

use super::policy::split_list;
use super::settings::RouteCacheSettings;
use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE};
use http::{HeaderMap, HeaderName};

/// A route's rules, checked once.
#[derive(Clone, Debug, Default)]
pub struct KeyRules {
    ignore_exact: Vec<Box<[u8]>>,
    ignore_prefix: Vec<Box<[u8]>>,
    headers: Vec<HeaderName>,
}

/// An object's name in its zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Vec<u8>);

impl KeyRules {
    pub fn new(settings: &RouteCacheSettings) -> KeyRules {
        let mut rules = KeyRules {
            headers: settings.key_headers.clone(),
            ..KeyRules::default()
        };
        for name in &settings.ignore_query {
            match name.strip_suffix('*') {
                Some(prefix) => rules.ignore_prefix.push(prefix.as_bytes().into()),
                None => rules.ignore_exact.push(name.as_bytes().into()),
            }
        }
        rules
    }

    /// `upstream` keeps the objects of two upstreams apart that share a zone.
    pub fn key(
        &self,
        upstream: &str,
        host: &str,
        path: &[u8],
        query: Option<&[u8]>,
        headers: &HeaderMap,
    ) -> Key {
        let query_len = query.map_or(0, <[u8]>::len);
        let mut key = Key(Vec::with_capacity(
            upstream.len() + host.len() + path.len() + query_len + 16 + 16 * self.headers.len(),
        ));
        key.push(upstream.as_bytes());
        key.push_lower(host.as_bytes());
        key.push(path);
        if let Some(query) = query {
            self.push_query(&mut key, query);
        }
        for name in &self.headers {
            key.push_values(name, headers);
        }
        key
    }

    /// What a URL is purged by: the same for all that a request's fields choose from.
    pub fn address(&self, host: &str, path: &[u8], query: Option<&[u8]>) -> Key {
        let mut key = Key(Vec::with_capacity(host.len() + path.len() + 16));
        key.push_lower(host.as_bytes());
        key.push(path);
        if let Some(query) = query {
            self.push_query(&mut key, query);
        }
        key
    }

    fn push_query(&self, key: &mut Key, query: &[u8]) {
        if self.ignore_exact.is_empty() && self.ignore_prefix.is_empty() {
            key.push(query);
            return;
        }
        for parameter in query.split(|b| *b == b'&') {
            let name = parameter.split(|b| *b == b'=').next().unwrap_or(parameter);
            if !self.ignores(name) {
                key.push(parameter);
            }
        }
    }

    fn ignores(&self, name: &[u8]) -> bool {
        self.ignore_exact.iter().any(|i| **i == *name)
            || self.ignore_prefix.iter().any(|i| name.starts_with(i))
    }
}

impl Key {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key of one variant of this object: what the fields named by Vary say in this request.
    /// `generation` makes the variants of an object that was replaced unreachable.
    pub fn variant(&self, generation: u64, names: &[HeaderName], headers: &HeaderMap) -> Key {
        let mut key = self.clone();
        key.push(b"vary");
        key.push(&generation.to_le_bytes());
        for name in names {
            key.push_meaning(name, headers);
        }
        key
    }

    /// The key of something made of this object, such as a resized picture.
    pub fn derived(&self, what: &str) -> Key {
        let mut key = self.clone();
        key.push(b"made");
        key.push(what.as_bytes());
        key
    }

    fn push(&mut self, part: &[u8]) {
        self.push_length(part.len());
        self.0.extend_from_slice(part);
    }

    fn push_lower(&mut self, part: &[u8]) {
        self.push_length(part.len());
        self.0.extend(part.iter().map(u8::to_ascii_lowercase));
    }

    /// Seven bits a byte, the last one without the high bit.
    fn push_length(&mut self, mut length: usize) {
        while length >= 0x80 {
            self.0.push(length as u8 | 0x80);
            length >>= 7;
        }
        self.0.push(length as u8);
    }

    /// As `push_values`, but what means the same is the same, RFC 9111 §4.1: white space around
    /// commas, and of what a client accepts also case and order.
    fn push_meaning(&mut self, name: &HeaderName, headers: &HeaderMap) {
        if !headers.contains_key(name) {
            self.push(b"-");
            return;
        }
        let accepts = [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name);
        let mut items = Vec::new();
        for line in headers.get_all(name) {
            for item in split_list(line.as_bytes()) {
                items.push(match accepts {
                    true => without_space(item).to_ascii_lowercase(),
                    false => item.to_vec(),
                });
            }
        }
        if accepts {
            items.sort_unstable();
        }
        self.push(&[b"+", &items.join(&b',')[..]].concat());
    }

    /// Absent and empty differ; lines are joined as RFC 9110 §5.3 allows.
    fn push_values(&mut self, name: &HeaderName, headers: &HeaderMap) {
        let mut values = headers.get_all(name).iter();
        let Some(first) = values.next() else {
            self.push(b"-");
            return;
        };
        let mut joined = vec![b'+'];
        joined.extend_from_slice(first.as_bytes().trim_ascii());
        for value in values {
            joined.push(b',');
            joined.extend_from_slice(value.as_bytes().trim_ascii());
        }
        self.push(&joined);
    }
}

fn without_space(item: &[u8]) -> Vec<u8> {
    let black = item.iter().filter(|b| !b.is_ascii_whitespace());
    black.copied().collect()
}

impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(ignore: &[&str]) -> KeyRules {
        KeyRules::new(&RouteCacheSettings {
            zone: "z".into(),
            ttl: None,
            stale_while_revalidate: None,
            stale_if_error: None,
            ignore_query: ignore.iter().map(|s| s.to_string()).collect(),
            key_headers: vec![],
        })
    }

    fn key(rules: &KeyRules, host: &str, path: &str, query: Option<&str>) -> Key {
        rules.key(
            "app",
            host,
            path.as_bytes(),
            query.map(str::as_bytes),
            &HeaderMap::new(),
        )
    }

    #[test]
    fn ignored_parameters_tell_nothing_apart() {
        let r = rules(&["utm_*", "fbclid"]);
        let plain = key(&r, "h", "/", Some("a=1"));
        assert_eq!(
            plain,
            key(&r, "H", "/", Some("utm_source=x&a=1&fbclid=2&utm_x"))
        );
        assert_ne!(plain, key(&r, "h", "/", Some("a=1&fbclid2=2")));
        assert_ne!(plain, key(&r, "h", "/", Some("a=2")));
    }

    #[test]
    fn variants_differ_by_value_and_absence() {
        let base = key(&rules(&[]), "h", "/", None);
        let names = [http::header::ACCEPT_LANGUAGE];
        let with = |value: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            value.map(|v| headers.insert("accept-language", http::HeaderValue::from_static(v)));
            base.variant(1, &names, &headers)
        };
        assert_eq!(with(Some("de")), with(Some("de")));
        assert_ne!(with(Some("de")), with(Some("fr")));
        assert_ne!(with(Some("")), with(None));
        assert_ne!(with(Some("-")), with(None));
    }

    proptest! {
        #[test]
        fn different_requests_never_meet(
            a in ("[a-c]{0,3}", "/[a-c/]{0,200}", proptest::option::of("[a-c=&]{0,4}")),
            b in ("[a-c]{0,3}", "/[a-c/]{0,200}", proptest::option::of("[a-c=&]{0,4}")),
        ) {
            let r = rules(&[]);
            let (ka, kb) = (key(&r, &a.0, &a.1, a.2.as_deref()), key(&r, &b.0, &b.1, b.2.as_deref()));
            prop_assert_eq!(a == b, ka == kb);
        }
    }
}
