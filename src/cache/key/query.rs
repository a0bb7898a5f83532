//! Which parameters of a query tell two objects apart, and in what order they count.

use crate::cache::settings::{QueryNames, QuerySettings};
use std::borrow::Cow;

/// A route's `key.query`, checked once.
///
/// Where a cache and its origin read a query differently, one visitor can put an answer of their
/// making under another's URL. So whatever could be read as a parameter that counts does count:
/// a name in its percent-encoded spelling too, and also when it stands behind a `;`, which some
/// applications take for `&`.
#[derive(Clone, Debug, Default)]
pub struct QueryRules {
    names: Names,
    sort: bool,
}

#[derive(Clone, Debug, Default)]
enum Names {
    #[default]
    All,
    Except(Patterns),
    Only(Patterns),
}

/// Names, and beginnings of names.
#[derive(Clone, Debug, Default)]
struct Patterns {
    exact: Vec<Box<[u8]>>,
    prefix: Vec<Box<[u8]>>,
}

impl QueryRules {
    pub fn new(settings: &QuerySettings) -> QueryRules {
        QueryRules {
            names: match &settings.names {
                QueryNames::All => Names::All,
                QueryNames::Except(names) => Names::Except(Patterns::new(names)),
                QueryNames::Only(names) => Names::Only(Patterns::new(names)),
            },
            sort: settings.sort,
        }
    }

    /// Whether a query counts as it was written.
    pub fn takes_all_as_written(&self) -> bool {
        matches!(self.names, Names::All) && !self.sort
    }

    /// The parameters that count. Those of one name keep their order: `a=1&a=2` may mean another
    /// thing than `a=2&a=1`.
    pub fn parameters<'q>(&self, query: &'q [u8]) -> Vec<&'q [u8]> {
        let all = query.split(|b| *b == b'&');
        let mut counted: Vec<_> = all.filter(|parameter| self.counts(parameter)).collect();
        if self.sort {
            counted.sort_by_key(|parameter| name(parameter));
        }
        counted
    }

    fn counts(&self, parameter: &[u8]) -> bool {
        let mut read = parameter.split(|b| *b == b';').map(name);
        match &self.names {
            Names::All => true,
            Names::Except(ignored) => !read.all(|name| ignored.contain(name)),
            Names::Only(kept) => read.any(|name| kept.contain(&decoded(name))),
        }
    }
}

fn name(parameter: &[u8]) -> &[u8] {
    parameter.split(|b| *b == b'=').next().unwrap_or(parameter)
}

/// `%69d` is `id`, RFC 3986 §2.1. What is no encoding stays.
fn decoded(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'%') {
        return Cow::Borrowed(name);
    }
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, after @ ..] = rest {
        let hex = |b: u8| char::from(b).to_digit(16);
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) if let (Some(h), Some(l)) = (hex(*high), hex(*low)) => {
                plain.push((h * 16 + l) as u8);
                after
            }
            _ => {
                plain.push(*first);
                after
            }
        };
    }
    Cow::Owned(plain)
}

impl Patterns {
    fn new(names: &[String]) -> Patterns {
        let mut patterns = Patterns::default();
        for name in names {
            match name.strip_suffix('*') {
                Some(prefix) => patterns.prefix.push(prefix.as_bytes().into()),
                None => patterns.exact.push(name.as_bytes().into()),
            }
        }
        patterns
    }

    fn contain(&self, name: &[u8]) -> bool {
        self.exact.iter().any(|known| **known == *name)
            || self.prefix.iter().any(|prefix| name.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules(names: QueryNames, sort: bool) -> QueryRules {
        QueryRules::new(&QuerySettings { names, sort })
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    fn counted(rules: &QueryRules, query: &str) -> String {
        let bytes = rules.parameters(query.as_bytes()).join(&b'&');
        String::from_utf8(bytes).expect("what was text")
    }

    #[test]
    fn what_is_ignored_goes_and_what_is_kept_stays() {
        let ignore = rules(QueryNames::Except(names(&["utm_*", "fbclid"])), false);
        assert_eq!(counted(&ignore, "utm_source=x&a=1&fbclid=2&utm_x"), "a=1");
        assert_eq!(counted(&ignore, "fbclid2=2&a"), "fbclid2=2&a");
        let keep = rules(QueryNames::Only(names(&["id", "page*"])), false);
        assert_eq!(
            counted(&keep, "x=1&page_size=2&id=3&ids=4"),
            "page_size=2&id=3"
        );
        let none = rules(QueryNames::Only(vec![]), false);
        assert_eq!(counted(&none, "x=1&id=3"), "");
    }

    #[test]
    fn what_the_origin_may_read_as_another_parameter_counts() {
        let ignore = rules(QueryNames::Except(names(&["utm_*"])), false);
        assert_eq!(counted(&ignore, "utm_a=1;callback=x"), "utm_a=1;callback=x");
        assert_eq!(counted(&ignore, "utm_a=1;utm_b"), "");
        assert_eq!(counted(&ignore, "%75tm_a=1"), "%75tm_a=1");
        let keep = rules(QueryNames::Only(names(&["id"])), false);
        assert_eq!(counted(&keep, "%69d=1&%6=2&i%64"), "%69d=1&i%64");
        assert_eq!(counted(&keep, "x=1;id=2"), "x=1;id=2");
    }

    #[test]
    fn one_name_keeps_its_order() {
        let sorted = rules(QueryNames::All, true);
        assert_eq!(counted(&sorted, "b=1&a=2&b=0&a=1"), "a=2&a=1&b=1&b=0");
    }

    proptest! {
        /// Sorting says the same of every order in which names don't change places with themselves.
        #[test]
        fn sorted_queries_meet_in_whatever_order(
            values in prop::collection::vec(("[a-c]{1,2}", "[0-9]{0,2}"), 0..6), seed in any::<u64>(),
        ) {
            let sorted = rules(QueryNames::All, true);
            let text = |pairs: &[(String, String)]| {
                pairs.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&")
            };
            // Names move as blocks.
            let mut blocks = values.clone();
            blocks.sort_by_key(|(name, _)| {
                use std::hash::{DefaultHasher, Hash, Hasher};
                let mut hasher = DefaultHasher::new();
                (seed, name).hash(&mut hasher);
                hasher.finish()
            });
            prop_assert_eq!(counted(&sorted, &text(&values)), counted(&sorted, &text(&blocks)));
        }
    }
}
