//! Conditional requests: RFC 9110 §13.

use super::date::date;
use super::directives::split_list;
use http::HeaderMap;
use http::header::{DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};

/// Whether the client's copy is still good: RFC 9110 §13.1. If-None-Match decides alone where it
/// is there.
pub fn not_modified(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let ours = tag(stored);
        return request
            .get_all(IF_NONE_MATCH)
            .iter()
            .any(|line| lists_tag(line.as_bytes(), ours));
    }
    let since = request.get(IF_MODIFIED_SINCE).and_then(date);
    // §4.3.2: without a Last-Modified, the time at which the origin made the answer.
    let changed = stored.get(LAST_MODIFIED).or_else(|| stored.get(DATE));
    let changed = changed.and_then(date);
    matches!((since, changed), (Some(since), Some(changed)) if changed <= since)
}

/// Whether a 304 is about what is stored: RFC 9111 §4.3.4. Tags are compared weakly, because servers
/// that code what they send weaken the tag of that, and not the 304's.
pub fn confirms(not_modified: &HeaderMap, stored: &HeaderMap) -> bool {
    match (tag(not_modified), tag(stored)) {
        (Some(now), Some(then)) => now == then,
        _ => true,
    }
}

fn tag(answer: &HeaderMap) -> Option<&[u8]> {
    let tag = weak(answer.get(ETAG)?.as_bytes().trim_ascii());
    (!tag.is_empty()).then_some(tag)
}

/// RFC 9110 §13.1.2 with the weak comparison of §8.8.3.2; `*` matches any representation.
fn lists_tag(list: &[u8], ours: Option<&[u8]>) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    ours.is_some_and(|ours| split_list(list).any(|tag| weak(tag) == ours))
}

fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::fields;
    use super::*;

    #[test]
    fn conditional_requests() {
        let stored = fields(&[
            ("etag", "\"a,b\""),
            ("last-modified", "Thu, 01 Jan 1970 00:10:00 GMT"),
        ]);
        let ask = |lines: &[(&'static str, &str)]| not_modified(&fields(lines), &stored);
        assert!(ask(&[("if-none-match", "\"x\", W/\"a,b\"")]));
        assert!(ask(&[("if-none-match", "*")]));
        assert!(!ask(&[("if-none-match", "\"a\"")]));
        assert!(ask(&[(
            "if-modified-since",
            "Thu, 01 Jan 1970 00:10:00 GMT"
        )]));
        assert!(!ask(&[(
            "if-modified-since",
            "Thu, 01 Jan 1970 00:09:59 GMT"
        )]));
        assert!(!ask(&[
            ("if-none-match", "\"x\""),
            ("if-modified-since", "Thu, 01 Jan 1970 00:10:00 GMT")
        ]));
    }

    #[test]
    fn another_tag_confirms_nothing() {
        for (now, then, expected) in [
            (Some("\"1\""), Some("\"1\""), true),
            (Some("W/\"1\""), Some("\"1\""), true),
            (Some("\"1\""), Some("W/\"1\""), true),
            (Some("\"2\""), Some("\"1\""), false),
            (Some("W/\"2\""), Some("\"1\""), false),
            (None, Some("\"1\""), true),
            (Some("\"1\""), None, true),
        ] {
            let of = |tag: Option<&str>| {
                let lines: Vec<_> = tag.map(|tag| ("etag", tag)).into_iter().collect();
                fields(&lines)
            };
            assert_eq!(confirms(&of(now), &of(then)), expected, "{now:?} {then:?}");
        }
    }

    #[test]
    fn an_empty_tag_is_none() {
        for tag in ["", "W/", " "] {
            let stored = fields(&[("etag", tag)]);
            for list in ["", ",", "W/", "\"a\", "] {
                assert!(!not_modified(&fields(&[("if-none-match", list)]), &stored));
            }
        }
    }
}
