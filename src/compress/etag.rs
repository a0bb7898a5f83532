//! The entity tag of a coded form. RFC 9110 §8.8.3.3: a strong tag names bytes, so each coding has
//! one of its own: `"abc"` becomes `"abc-br"`. A weak tag names what the bytes mean and stays.
//!
//! A client brings the coded tag back in its conditions. Nobody behind us knows it, so the plain
//! tag is put beside it; whichever of the two the server or the cache then finds is right, also
//! where an origin's own tags happen to end in `-br`. Ranges are always of the plain bytes:
//! If-Range stays as it is, and a coded tag there fits nothing.

use crate::coding::Coding;
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The tag of the coded form of what `tag` names; None when it is the same, or no tag.
pub fn coded_tag(tag: &HeaderValue, coding: Coding) -> Option<HeaderValue> {
    let plain = tag.as_bytes().strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let coded = [b"\"", plain, b"-", coding.token().as_bytes(), b"\""].concat();
    HeaderValue::from_bytes(&coded).ok()
}

/// The plain tags of those in a request's conditions that look coded: fields to add to it.
pub fn plain_tags(request: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let mut plain = Vec::new();
    for name in [IF_NONE_MATCH, IF_MATCH] {
        let lines = request.get_all(&name).iter();
        let tags = lines.flat_map(tags).filter_map(plain_of);
        plain.extend(tags.map(|tag| (name.clone(), tag)));
    }
    plain
}

/// The coded form of `tag`, of a 304, that the client has named: what it has is that one.
pub fn known_tag(request: &HeaderMap, tag: &HeaderValue) -> Option<HeaderValue> {
    let lines = request.get_all(IF_NONE_MATCH).iter();
    let mut named = lines.flat_map(tags);
    let coded = named.find(|named| plain_of(named).is_some_and(|plain| plain == tag))?;
    HeaderValue::from_bytes(coded).ok()
}

/// `"abc"` of `"abc-br"`, weak or not.
fn plain_of(tag: &[u8]) -> Option<HeaderValue> {
    let inner = tag.strip_suffix(b"\"")?;
    let plain = Coding::ALL.iter().find_map(|coding| {
        let rest = inner.strip_suffix(coding.token().as_bytes())?;
        rest.strip_suffix(b"-")
    })?;
    HeaderValue::from_bytes(&[plain, b"\""].concat()).ok()
}

/// The members of a list of tags; a comma in a tag is its own.
fn tags(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let mut rest = line.as_bytes();
    std::iter::from_fn(move || {
        let start = memchr::memchr(b'"', rest)?;
        let length = memchr::memchr(b'"', &rest[start + 1..])?;
        let end = start + length + 2;
        let weak = rest[..start].ends_with(b"W/");
        let tag = &rest[start - if weak { 2 } else { 0 }..end];
        rest = &rest[end..];
        Some(tag)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).expect("a value")
    }

    fn asking(conditions: &str) -> HeaderMap {
        HeaderMap::from_iter([(IF_NONE_MATCH, value(conditions))])
    }

    fn plain(conditions: &str) -> Vec<HeaderValue> {
        let fields = plain_tags(&asking(conditions)).into_iter();
        fields.map(|(_, tag)| tag).collect()
    }

    #[test]
    fn strong_tags_are_marked_and_weak_ones_stay() {
        let coded = |tag| coded_tag(&value(tag), Coding::Brotli);
        assert_eq!(coded("\"abc\""), Some(value("\"abc-br\"")));
        assert_eq!(coded("\"\""), Some(value("\"-br\"")));
        for same in ["W/\"abc\"", "abc", "\"", ""] {
            assert_eq!(coded(same), None, "{same}");
        }
    }

    #[test]
    fn plain_tags_go_beside_coded_ones() {
        assert_eq!(
            plain("\"a,b-gzip\", W/\"c-br\",\"d\""),
            ["\"a,b\"", "W/\"c\""]
        );
        for untouched in ["*", "\"abc\"", "\"br\"", "abc-br", "\"abc-br", ""] {
            assert!(plain(untouched).is_empty(), "{untouched}");
        }
    }

    proptest! {
        /// What we sent is what a client may bring back, and is known again.
        #[test]
        fn a_coded_tag_leads_back(text in "[!#-~]{0,20}", which in 0usize..3) {
            let plain = value(&format!("\"{text}\""));
            let coded = coded_tag(&plain, Coding::ALL[which]).expect("it is strong");
            let request = asking(coded.to_str().expect("text"));
            prop_assert_eq!(plain_tags(&request), [(IF_NONE_MATCH, plain.clone())]);
            prop_assert_eq!(known_tag(&request, &plain), Some(coded));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(32u8..=255, 0..40)) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            plain_tags(&HeaderMap::from_iter([(IF_NONE_MATCH, value)]));
        }
    }
}
