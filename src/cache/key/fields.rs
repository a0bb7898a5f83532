//! What a request's fields say, so that what means the same is the same: RFC 9111 §4.1.

use crate::cache::policy::split_list;
use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, COOKIE};
use http::{HeaderMap, HeaderName};

/// A field as it was written, its lines joined as RFC 9110 §5.3 allows; `-` when it isn't there.
/// Of what a client accepts, only the meaning.
pub fn value(name: &HeaderName, headers: &HeaderMap) -> Vec<u8> {
    let accepts = [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name);
    if accepts || !headers.contains_key(name) {
        return meaning(name, headers);
    }
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines.map(|line| line.as_bytes().trim_ascii()).collect();
    [b"+", &lines.join(&b',')[..]].concat()
}

/// A field that the origin has named in Vary, as far as an answer can depend on it; `-` when it
/// isn't there. Browsers write the same wishes in many ways: of what a client accepts neither
/// case, white space, order nor the exact weights count, but only what comes before what.
pub fn meaning(name: &HeaderName, headers: &HeaderMap) -> Vec<u8> {
    if !headers.contains_key(name) {
        return b"-".to_vec();
    }
    let lines = headers.get_all(name).iter();
    let items = lines.flat_map(|line| split_list(line.as_bytes()));
    let said = match name {
        name if *name == ACCEPT_ENCODING => codings(items),
        name if [ACCEPT, ACCEPT_CHARSET, ACCEPT_LANGUAGE].contains(name) => ranks(items),
        _ => items.map(<[u8]>::to_vec).collect(),
    };
    [b"+", &said.join(&b',')[..]].concat()
}

/// The values of a cookie, in order; `-` when it isn't there. RFC 6265 §5.4.
pub fn cookie(name: &str, headers: &HeaderMap) -> Vec<u8> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    let mut values = Vec::new();
    for pair in pairs.map(<[u8]>::trim_ascii) {
        let mut halves = pair.splitn(2, |b| *b == b'=');
        if halves.next().map(<[u8]>::trim_ascii) == Some(name.as_bytes()) {
            values.push(halves.next().unwrap_or_default().trim_ascii());
        }
    }
    match values.is_empty() {
        true => b"-".to_vec(),
        // No value has a `;` in it.
        false => [b"+", &values.join(&b';')[..]].concat(),
    }
}

/// The codings of the IANA registry under their present names; no other is ever used.
const CODINGS: [&[u8]; 12] = [
    b"*",
    b"aes128gcm",
    b"br",
    b"compress",
    b"dcb",
    b"dcz",
    b"deflate",
    b"exi",
    b"gzip",
    b"identity",
    b"pack200-gzip",
    b"zstd",
];

/// RFC 9110 §12.5.3: which codings may be used. Any of them will do, whatever its weight.
fn codings<'a>(items: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for item in items {
        let (name, weight) = weighed(item);
        let name = match &name[..] {
            b"x-gzip" => b"gzip".to_vec(),
            b"x-compress" => b"compress".to_vec(),
            _ => name,
        };
        if CODINGS.contains(&&name[..]) {
            found.push((name, weight > 0));
        }
    }
    // To refuse what nothing else allows says nothing; only identity is allowed unasked.
    let any = found.iter().any(|(name, allowed)| name == b"*" && *allowed);
    found.retain(|(name, allowed)| *allowed || any || name == b"identity" || name == b"*");
    let said = |(name, allowed): (Vec<u8>, bool)| match allowed {
        true => name,
        false => [b"!", &name[..]].concat(),
    };
    sorted(found.into_iter().map(said).collect())
}

/// RFC 9110 §12.4.2: what is accepted, the most wanted first. A space begins those of the next
/// lower weight and a tab is before what is refused: no item has either in it.
fn ranks<'a>(items: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut weighed: Vec<_> = items.filter(|item| !item.is_empty()).map(weighed).collect();
    weighed.sort_by(|(a, first), (b, second)| second.cmp(first).then_with(|| a.cmp(b)));
    weighed.dedup();
    let mut said: Vec<Vec<u8>> = Vec::with_capacity(weighed.len());
    let mut before = None;
    for (name, weight) in weighed {
        let mark: &[u8] = match weight {
            0 => b"\t",
            _ if before.is_some_and(|before| before != weight) => b" ",
            _ => b"",
        };
        said.push([mark, &name[..]].concat());
        before = Some(weight);
    }
    said
}

/// An item in lower case and without white space, and its weight in thousandths. One that is
/// written wrongly stays part of the item.
fn weighed(item: &[u8]) -> (Vec<u8>, u16) {
    let black = item.iter().filter(|b| !b.is_ascii_whitespace());
    let item: Vec<u8> = black.map(u8::to_ascii_lowercase).collect();
    let mut parts = item.rsplitn(2, |b| *b == b';');
    let (last, first) = (parts.next().unwrap_or_default(), parts.next());
    match (first, last.strip_prefix(b"q=").and_then(thousandths)) {
        (Some(first), Some(weight)) => (first.to_vec(), weight),
        _ => (item, 1000),
    }
}

/// `0.5` is 500: RFC 9110 §12.4.2.
fn thousandths(weight: &[u8]) -> Option<u16> {
    let (whole, decimals) = match weight {
        [whole @ (b'0' | b'1')] => (whole, &b""[..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] => (whole, decimals),
        _ => return None,
    };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| u16::from(decimals.get(at).map_or(0, |b| b - b'0'));
    let weight = u16::from(whole - b'0') * 1000 + digit(0) * 100 + digit(1) * 10 + digit(2);
    (weight <= 1000).then_some(weight)
}

fn sorted(mut items: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    items.sort_unstable();
    items.dedup();
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn said(name: HeaderName, values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_str(value).expect("a value"));
        }
        String::from_utf8(meaning(&name, &headers)).expect("text")
    }

    #[test]
    fn accept_encoding_is_what_may_be_used() {
        let said = |value: &str| said(ACCEPT_ENCODING, &[value]);
        for same in [
            "gzip, deflate, br",
            "br;q=1,DEFLATE , x-gzip;q=0.3",
            "br, gzip, deflate, foo, zstd;q=0",
        ] {
            assert_eq!(said(same), "+br,deflate,gzip", "{same}");
        }
        assert_eq!(said(""), "+");
        assert_eq!(said("gzip;q=0, *"), "+!gzip,*");
        assert_eq!(said("identity;q=0, br"), "+!identity,br");
        assert_eq!(super::tests::said(ACCEPT_ENCODING, &[]), "-");
    }

    #[test]
    fn accept_is_what_comes_before_what() {
        let said = |values: &[&str]| said(ACCEPT, values);
        let browser = said(&["text/html, image/webp,*/*;q=0.8"]);
        assert_eq!(browser, "+image/webp,text/html, */*");
        assert_eq!(
            browser,
            said(&["Image/WebP", "*/*; q=0.1, text/html;q=1.0"])
        );
        assert_ne!(browser, said(&["text/html, image/webp;q=0.9, */*;q=0.8"]));
        assert_ne!(said(&["text/html"]), said(&["text/html;q=0"]));
        assert_ne!(said(&["text/html;level=1"]), said(&["text/html"]));
        assert_eq!(said(&["a/b;q=2"]), "+a/b;q=2");
    }

    #[test]
    fn cookies_are_found_among_others() {
        let headers = HeaderMap::from_iter([
            (
                COOKIE,
                HeaderValue::from_static("a=1; region = eu;xregion=2"),
            ),
            (COOKIE, HeaderValue::from_static("region=us")),
        ]);
        assert_eq!(cookie("region", &headers), b"+eu;us");
        assert_eq!(cookie("a", &headers), b"+1");
        assert_eq!(cookie("b", &headers), b"-");
        assert_eq!(cookie("b", &HeaderMap::new()), b"-");
    }

    proptest! {
        /// A client that writes its wishes otherwise is given what the first one was.
        #[test]
        fn equal_wishes_meet(
            order in Just(vec!["br", "gzip", "zstd", "deflate"]).prop_shuffle(),
            weights in prop::collection::vec(1u16..=1000, 4), case in any::<bool>(), space in " {0,2}",
        ) {
            let items: Vec<_> = order.iter().zip(&weights).map(|(name, weight)| {
                let name = if case { name.to_ascii_uppercase() } else { name.to_string() };
                format!("{space}{name}{space};q={}", f64::from(*weight) / 1000.0)
            }).collect();
            prop_assert_eq!(said(ACCEPT_ENCODING, &[&items.join(",")]), "+br,deflate,gzip,zstd");
        }

        /// The model: two lists mean the same when each pair of ranges stands in the same relation.
        #[test]
        fn accept_is_told_apart_by_preference_alone(
            a in prop::collection::vec(0u16..4, 3), b in prop::collection::vec(0u16..4, 3),
        ) {
            let value = |weights: &[u16]| {
                let items = ["a/a", "b/b", "c/c"].iter().zip(weights);
                items.map(|(name, w)| format!("{name};q=0.{w}")).collect::<Vec<_>>().join(", ")
            };
            let mut same = a.iter().zip(&b).all(|(a, b)| (*a == 0) == (*b == 0));
            for i in 0..3 {
                for j in 0..3 {
                    same &= a[i].cmp(&a[j]) == b[i].cmp(&b[j]);
                }
            }
            let (a, b) = (said(ACCEPT, &[&value(&a)]), said(ACCEPT, &[&value(&b)]));
            prop_assert_eq!(a == b, same);
        }
    }
}
