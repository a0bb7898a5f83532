//! Fields that speak to caches like this one, in place of Cache-Control and Expires.

use super::directives::{CacheControl, Directives};
use http::{HeaderMap, HeaderName};

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// What such a field says, if one is there and can be read.
pub fn targeted(answer: &HeaderMap) -> Option<CacheControl> {
    cdn_cache_control(answer).or_else(|| surrogate_control(answer))
}

/// RFC 9213 §2.2: a structured field, of which nothing counts if any of it is wrong.
fn cdn_cache_control(answer: &HeaderMap) -> Option<CacheControl> {
    let mut lines = answer.get_all(CDN_CACHE_CONTROL).iter();
    let mut whole = lines.next()?.as_bytes().to_vec();
    for line in lines {
        whole.extend([b", ", line.as_bytes()].concat());
    }
    let members = sfv::Parser::parse_dictionary(&whole).ok()?;
    let mut found = CacheControl::default();
    for (name, member) in &members {
        let sfv::ListEntry::Item(item) = member else {
            continue;
        };
        match &item.bare_item {
            sfv::BareItem::Boolean(false) => {}
            sfv::BareItem::Integer(n) => {
                found.add((name.as_bytes(), Some(n.to_string().as_bytes())));
            }
            _ if counts_seconds(name) => return None,
            _ => found.add((name.as_bytes(), None)),
        }
    }
    (!members.is_empty()).then_some(found)
}

fn counts_seconds(directive: &str) -> bool {
    [
        "max-age",
        "s-maxage",
        "stale-while-revalidate",
        "stale-if-error",
    ]
    .contains(&directive)
}

/// Edge Architecture Specification §2: `max-age=600+30;target`. What names a target is another's,
/// and what follows `+` is how much longer the answer may be used while a new one is fetched.
fn surrogate_control(answer: &HeaderMap) -> Option<CacheControl> {
    let mut found = None::<CacheControl>;
    for line in answer.get_all(SURROGATE_CONTROL) {
        for (name, value) in Directives::new(line.as_bytes()) {
            let mut parts = value.unwrap_or(name).splitn(2, |b| *b == b';');
            let (value, target) = (value.and(parts.next()), parts.next());
            if target.is_some_and(|t| !t.trim_ascii().eq_ignore_ascii_case(b"lakh")) {
                continue;
            }
            let found = found.get_or_insert_default();
            let mut ages = value.unwrap_or_default().splitn(2, |b| *b == b'+');
            found.add((name, value.and(ages.next())));
            if let Some(more) = ages.next() {
                found.add((b"stale-while-revalidate", Some(more)));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Refused;
    use super::super::fixtures::store;

    #[test]
    fn what_is_said_to_caches_like_this_one_counts_alone() {
        let life = |lines: &[(&'static str, &str)]| store(&[], lines).map(|f| f.lifetime);
        let rest = ("cache-control", "no-store");
        assert_eq!(life(&[("cdn-cache-control", "max-age=60"), rest]), Ok(60));
        assert_eq!(
            life(&[
                ("surrogate-control", "max-age=60+5, content=\"ESI/1.0\""),
                rest
            ]),
            Ok(60)
        );
        assert_eq!(
            life(&[("surrogate-control", "max-age=60;other"), rest]),
            Err(Refused::NoStore)
        );
        for wrong in ["max-age=\"60\"", "max-age=60, &&", "", "MAX-AGE=60"] {
            assert_eq!(
                life(&[("cdn-cache-control", wrong), rest]),
                Err(Refused::NoStore),
                "{wrong}"
            );
        }
        let fresh = ("cache-control", "max-age=60");
        for none in ["no-store", "private"] {
            assert!(
                life(&[("cdn-cache-control", none), fresh]).is_err(),
                "{none}"
            );
        }
        assert_eq!(
            life(&[("cdn-cache-control", "max-age=0"), ("expires", "0"), fresh]),
            Ok(0)
        );
    }
}
