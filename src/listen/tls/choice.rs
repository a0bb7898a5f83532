//! Which certificate a client is shown, by the name it asks for: RFC 6066 §3. Pure, but for the time at
//! which one is asked for.

use super::staple::Staple;
use crate::acme::{Held, PROTOCOL};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

/// Certificates by the names that they are for.
#[derive(Debug)]
pub struct Choice {
    certificates: Vec<Stapled>,
    names: Names,
    /// What is shown to authorities that look whether a name is ours; None where none does.
    held: Option<Arc<Held>>,
}

/// A certificate, with what its issuer says of it for as long as that holds.
#[derive(Clone, Debug)]
pub struct Stapled {
    bare: Arc<CertifiedKey>,
    /// And until when, in Unix seconds.
    stapled: Option<(Arc<CertifiedKey>, i64)>,
}

impl Stapled {
    pub fn new(bare: CertifiedKey, staple: Option<Staple>) -> Stapled {
        let stapled = staple.map(|staple| {
            let mut stapled = bare.clone();
            stapled.ocsp = Some(staple.der);
            (Arc::new(stapled), staple.until.unwrap_or(i64::MAX))
        });
        let bare = Arc::new(bare);
        Stapled { bare, stapled }
    }

    /// As a client is shown it at `now`, in Unix seconds.
    pub fn at(&self, now: i64) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some((stapled, until)) if now <= *until => stapled,
            _ => &self.bare,
        }
    }

    /// Unix seconds after which what its issuer said is not sent; None where it has said nothing, or
    /// not until when.
    pub fn staple_until(&self) -> Option<i64> {
        let (_, until) = self.stapled.as_ref()?;
        Some(*until).filter(|until| *until < i64::MAX)
    }
}

impl Choice {
    /// With their names; the first is for all other names.
    pub fn new(certificates: Vec<(Stapled, Vec<Box<str>>)>, held: Option<Arc<Held>>) -> Choice {
        let (certificates, names): (_, Vec<_>) = certificates.into_iter().unzip();
        Choice {
            certificates,
            names: Names::new(&names),
            held,
        }
    }

    /// Whether who has asked for `asked` was shown a certificate that is not for `host`, while one who asks for
    /// `host` is shown one that is.
    pub fn has_better(&self, asked: &str, host: &str) -> bool {
        self.names.have_better(asked, host)
    }
}

impl ResolvesServerCert for Choice {
    /// Of several that are for one name, the first with a key that this client can check. None, and no
    /// handshake, where nothing has been issued yet.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(held) = self.held.as_ref().filter(|_| is_challenge(&hello)) {
            return held.tls(&hello.server_name()?.to_ascii_lowercase());
        }
        let (now, fitting) = (unix_now(), self.names.find(hello.server_name()));
        let mut fitting = fitting
            .iter()
            .map(|index| self.certificates[*index].at(now));
        let first = fitting.next()?;
        let checkable =
            |key: &Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        if fitting.len() == 0 || checkable(first) {
            return Some(first.clone());
        }
        Some(fitting.find(|key| checkable(key)).unwrap_or(first).clone())
    }
}

/// Whether this is an authority that looks whether a name is ours: it offers that, and nothing else.
/// RFC 8737 §3.
fn is_challenge(hello: &ClientHello<'_>) -> bool {
    let Some(mut offered) = hello.alpn() else {
        return false;
    };
    offered.next() == Some(PROTOCOL) && offered.next().is_none()
}

/// Seconds; certificates are not of before 1970.
pub fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs() as i64)
}

/// Names in lower case to places in a list.
#[derive(Debug, Default, PartialEq)]
struct Names {
    exact: HashMap<Box<str>, Vec<usize>>,
    /// By what follows `*.`, which stands for one label: RFC 6125 §6.4.3.
    wildcard: HashMap<Box<str>, Vec<usize>>,
    /// The first, and those that are for what it is for.
    default: Vec<usize>,
}

impl Names {
    fn new(lists: &[Vec<Box<str>>]) -> Names {
        let mut names = Names::default();
        for (index, list) in lists.iter().enumerate() {
            for name in list {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut names.wildcard, parent),
                    None => (&mut names.exact, &**name),
                };
                let places = map.entry(name.into()).or_default();
                if places.last() != Some(&index) {
                    places.push(index);
                }
            }
        }
        names.default = match lists.first().map(|list| list.first()) {
            Some(Some(name)) => names.find(Some(&name.replacen('*', "any", 1))).to_vec(),
            Some(None) => vec![0],
            None => Vec::new(),
        };
        names
    }

    fn have_better(&self, asked: &str, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let parent = host.split_once('.').map(|(_, parent)| parent);
        let exact = self.exact.get(&*host).into_iter();
        let wildcard = parent.and_then(|parent| self.wildcard.get(parent));
        let shown = self.find(Some(asked));
        let mut holders = exact.chain(wildcard).flatten().peekable();
        holders.peek().is_some() && !holders.any(|holder| shown.contains(holder))
    }

    fn find(&self, name: Option<&str>) -> &[usize] {
        let named = |name: &str| {
            let parent = name.split_once('.').map(|(_, parent)| parent);
            let exact = self.exact.get(name);
            exact.or_else(|| self.wildcard.get(parent?))
        };
        let found = name.and_then(|name| match name.bytes().any(|b| b.is_ascii_uppercase()) {
            true => named(&name.to_ascii_lowercase()),
            false => named(name),
        });
        found.unwrap_or(&self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(lists: &[&[&str]]) -> Names {
        let list = |list: &&[&str]| list.iter().map(|name| (*name).into()).collect();
        Names::new(&lists.iter().map(list).collect::<Vec<_>>())
    }

    #[test]
    fn exact_then_wildcard_then_the_first() {
        let names = names(&[&["a.test"], &["*.a.test"], &["www.a.test", "b.test"]]);
        assert_eq!(names.find(Some("a.test")), [0]);
        assert_eq!(names.find(Some("x.a.test")), [1]);
        assert_eq!(names.find(Some("WWW.A.test")), [2]);
        assert_eq!(names.find(Some("b.test")), [2]);
        for others in [Some("y.x.a.test"), Some("test"), Some(""), None] {
            assert_eq!(names.find(others), [0], "{others:?}");
        }
    }

    #[test]
    fn several_for_one_name_are_all_to_choose_from() {
        let names = names(&[
            &["*.a.test", "a.test"],
            &["a.test", "*.a.test"],
            &["b.test"],
        ]);
        assert_eq!(names.find(Some("a.test")), [0, 1]);
        assert_eq!(names.find(Some("elsewhere")), [0, 1]);
        assert_eq!(names.find(Some("b.test")), [2]);
    }

    #[test]
    fn of_none_there_is_nothing_to_choose() {
        let names = names(&[]);
        assert_eq!(names.find(Some("a.test")), [0usize; 0]);
        assert_eq!(names.find(None), [0usize; 0]);
        assert!(!names.have_better("a.test", "b.test"));
    }

    #[test]
    fn another_is_better_where_it_alone_is_for_the_host() {
        let names = names(&[&["a.test"], &["*.a.test"], &["www.a.test", "b.test"]]);
        for (asked, host, better) in [
            ("a.test", "b.test", true),
            ("a.test", "B.test", true),
            ("b.test", "a.test", true),
            ("b.test", "x.a.test", true),
            ("x.a.test", "y.a.test", false),
            // A wildcard is for it too, though there is one by name.
            ("x.a.test", "www.a.test", false),
            ("b.test", "www.a.test", false),
            // Who asks for a name that nobody has is shown the first.
            ("nobody", "a.test", false),
            ("nobody", "b.test", true),
            ("a.test", "nobody", false),
            ("a.test", "", false),
        ] {
            assert_eq!(names.have_better(asked, host), better, "{asked} {host}");
        }
    }

    proptest! {
        #[test]
        fn as_one_who_looks_through_all_would_choose(
            lists in proptest::collection::vec(
                proptest::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,2}", 0..3), 1..5),
            asked in "[ab](\\.[ab]){0,3}",
        ) {
            let boxed: Vec<Vec<Box<str>>> = lists
                .iter()
                .map(|list| list.iter().map(|name| name.as_str().into()).collect())
                .collect();
            let holders = |name: &str| -> Vec<usize> {
                let has = |list: &Vec<String>| list.iter().any(|own| own == name);
                (0..lists.len()).filter(|i| has(&lists[*i])).collect()
            };
            let wild = asked.split_once('.').map(|(_, parent)| format!("*.{parent}"));
            let exact = holders(&asked);
            let expected = match exact.is_empty() {
                true => wild.map(|wild| holders(&wild)).unwrap_or_default(),
                false => exact,
            };
            let names = Names::new(&boxed);
            match expected.is_empty() {
                true => prop_assert_eq!(names.find(Some(&asked))[0], names.default[0]),
                false => prop_assert_eq!(names.find(Some(&asked)), &expected[..]),
            }
        }
    }
}
