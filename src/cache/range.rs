//! Parts of a stored body: RFC 9110 §14.

use super::policy::date;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue};
use std::ops::Range;

/// More parts than this are not worth their work: the whole is sent (§14.2 allows it).
const MAX_PARTS: usize = 32;

/// What of a body a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parts {
    Whole,
    /// One part, or several in the order asked for. In bytes, never empty, within the body.
    Some(Vec<Range<usize>>),
    /// 416: nothing that was asked for is there.
    Unsatisfiable,
}

/// What `request` asks for of a stored 200 with these fields and so long a body.
pub fn parts(request: &HeaderMap, stored: &HeaderMap, length: usize) -> Parts {
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Parts::Whole;
    };
    if !if_range_holds(request, stored) {
        return Parts::Whole;
    }
    parse(line.as_bytes(), length).unwrap_or(Parts::Whole)
}

/// None: not a range of bytes, or malformed; the field is then ignored.
fn parse(line: &[u8], length: usize) -> Option<Parts> {
    let (unit, set) = line.split_at_checked("bytes=".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut parts = Vec::new();
    let mut asked = 0;
    for spec in set.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
        if spec.is_empty() {
            continue;
        }
        asked += 1;
        parts.extend(one(spec, length)?);
    }
    match parts.len() {
        _ if asked == 0 => None,
        0 => Some(Parts::Unsatisfiable),
        // Overlapping parts would send more than there is.
        n if n > MAX_PARTS || total(&parts) > length => Some(Parts::Whole),
        _ => Some(Parts::Some(parts)),
    }
}

/// `first-last`, `first-` or `-suffix`. The outer None: malformed; the inner: not in the body.
fn one(spec: &[u8], length: usize) -> Option<Option<Range<usize>>> {
    let dash = spec.iter().position(|b| *b == b'-')?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let suffix = number(last)?.min(length);
        return Some((suffix > 0).then(|| length - suffix..length));
    }
    let first = number(first)?;
    let end = match last {
        [] => length,
        last => {
            let last = number(last)?;
            if last < first {
                return None;
            }
            last.saturating_add(1).min(length)
        }
    };
    Some((first < length).then_some(first..end))
}

/// A number too large to hold is past every end.
fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(digits).ok()?;
    Some(text.parse().unwrap_or(usize::MAX))
}

fn total(parts: &[Range<usize>]) -> usize {
    parts.iter().map(Range::len).sum()
}

/// §13.1.5: the client has parts of this very representation. Weak tags never match, and a date
/// only where it can tell two representations apart: a second or more before the answer's own.
fn if_range_holds(request: &HeaderMap, stored: &HeaderMap) -> bool {
    let Some(condition) = request.get(IF_RANGE) else {
        return true;
    };
    if condition.as_bytes().starts_with(b"\"") {
        return stored.get(ETAG) == Some(condition);
    }
    let (asked, changed) = (date(condition), stored.get(LAST_MODIFIED).and_then(date));
    let made = stored.get(DATE).and_then(date);
    asked.is_some() && asked == changed && made.is_none_or(|made| changed < Some(made))
}

/// `Content-Range` of one part.
pub fn content_range(part: &Range<usize>, length: usize) -> HeaderValue {
    let text = format!("bytes {}-{}/{length}", part.start, part.end - 1);
    HeaderValue::try_from(text).expect("digits and ASCII letters")
}

/// `Content-Range` of a 416.
pub fn no_range(length: usize) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{length}")).expect("digits and ASCII letters")
}

/// A body of several parts, §14.6, and its Content-Type. `boundary` must not occur in `body`.
pub fn multipart(
    body: &[u8],
    parts: &[Range<usize>],
    content_type: Option<&HeaderValue>,
    boundary: &str,
) -> (HeaderValue, Vec<u8>) {
    let mut joined = Vec::with_capacity(total(parts) + parts.len() * 160);
    for part in parts {
        joined.extend(format!("\r\n--{boundary}\r\n").into_bytes());
        if let Some(content_type) = content_type {
            let field = [
                CONTENT_TYPE.as_str().as_bytes(),
                b": ",
                content_type.as_bytes(),
            ];
            joined.extend(field.concat());
            joined.extend(b"\r\n");
        }
        let range = content_range(part, body.len());
        let field = [CONTENT_RANGE.as_str().as_bytes(), b": ", range.as_bytes()];
        joined.extend(field.concat());
        joined.extend(b"\r\n\r\n");
        joined.extend(&body[part.clone()]);
    }
    joined.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    let content_type = format!("multipart/byteranges; boundary={boundary}");
    (
        HeaderValue::try_from(content_type).expect("a boundary of letters and digits"),
        joined,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ask(range: &str, length: usize) -> Parts {
        let mut request = HeaderMap::new();
        request.insert(RANGE, range.parse().expect("a value"));
        parts(&request, &HeaderMap::new(), length)
    }

    fn some(parts: &[(usize, usize)]) -> Parts {
        Parts::Some(parts.iter().map(|(start, end)| *start..*end).collect())
    }

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        assert_eq!(ask("bytes=0-1", 10), some(&[(0, 2)]));
        assert_eq!(ask("Bytes=1-", 10), some(&[(1, 10)]));
        assert_eq!(ask("bytes=-3", 10), some(&[(7, 10)]));
        assert_eq!(ask("bytes=-30", 10), some(&[(0, 10)]));
        assert_eq!(ask("bytes=8-99999999999999999999999", 10), some(&[(8, 10)]));
        assert_eq!(ask("bytes=0-0, 9-9", 10), some(&[(0, 1), (9, 10)]));
        assert_eq!(ask("bytes=20-, 0-0", 10), some(&[(0, 1)]));
        for gone in ["bytes=10-", "bytes=-0", "bytes=99-100"] {
            assert_eq!(ask(gone, 10), Parts::Unsatisfiable, "{gone}");
        }
        assert_eq!(ask("bytes=0-", 0), Parts::Unsatisfiable);
        for ignored in [
            "lines=0-1",
            "bytes=",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes 0-1",
            "bytes=0-9,0-9",
        ] {
            assert_eq!(ask(ignored, 10), Parts::Whole, "{ignored}");
        }
    }

    #[test]
    fn if_range_is_strict() {
        let mut stored = HeaderMap::new();
        for (name, value) in [
            (ETAG, "\"v1\""),
            (LAST_MODIFIED, "Thu, 01 Jan 1970 00:10:00 GMT"),
            (DATE, "Thu, 01 Jan 1970 00:20:00 GMT"),
        ] {
            stored.insert(name, HeaderValue::from_static(value));
        }
        let holds = |condition: &'static str| {
            let mut request = HeaderMap::new();
            request.insert(IF_RANGE, HeaderValue::from_static(condition));
            if_range_holds(&request, &stored)
        };
        assert!(holds("\"v1\""));
        assert!(holds("Thu, 01 Jan 1970 00:10:00 GMT"));
        for other in [
            "\"v2\"",
            "W/\"v1\"",
            "Thu, 01 Jan 1970 00:11:00 GMT",
            "Thu, 01 Jan 1970 00:09:00 GMT",
            "x",
        ] {
            assert!(!holds(other), "{other}");
        }
    }

    proptest! {
        /// Every part is in the body and not empty, and all together are no more than the body.
        #[test]
        fn parts_are_within_the_body(range in "bytes=[-0-9, ]{0,30}", length in 0usize..50) {
            if let Parts::Some(parts) = ask(&range, length) {
                prop_assert!(!parts.is_empty());
                prop_assert!(parts.iter().all(|p| p.start < p.end && p.end <= length));
                prop_assert!(total(&parts) <= length);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(32u8..=255, 0..60), length in 0usize..50) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let mut request = HeaderMap::new();
            request.insert(RANGE, value.clone());
            request.insert(IF_RANGE, value);
            parts(&request, &HeaderMap::new(), length);
        }
    }
}
