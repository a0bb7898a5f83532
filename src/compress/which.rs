//! Which answers are worth coding, and may be.

use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    RANGE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Bytes of a body below which coding is not worth its time: with its head it fits one packet
/// anyway.
pub const MIN_LENGTH: u64 = 860;

/// What was computed over the bytes as they are. RFC 9530, RFC 9421, and what was before them.
const OVER_THE_BYTES: [HeaderName; 5] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("signature"),
];

/// Whether an answer with this head may be coded for clients that accept it. Depends on nothing
/// that a client said, so that all of them are told the same Vary.
pub fn compressible(status: StatusCode, answer: &HeaderMap) -> bool {
    has_whole_body(status)
        && answer.get(CONTENT_TYPE).is_some_and(is_text)
        && answer
            .get(CONTENT_LENGTH)
            .is_none_or(|length| number(length) >= MIN_LENGTH)
        && !answer.contains_key(CONTENT_ENCODING)
        && !answer.contains_key(CONTENT_RANGE)
        && !no_transform(answer)
        && !OVER_THE_BYTES.iter().any(|name| answer.contains_key(name))
}

/// Whether a request wants the bytes as they are: a part of them, or untransformed. RFC 9110 §14,
/// RFC 9111 §5.2.1.6.
pub fn forbids(request: &HeaderMap) -> bool {
    request.contains_key(RANGE) || no_transform(request)
}

/// Says once that the answer depends on Accept-Encoding.
pub fn vary(answer: &mut HeaderMap) {
    let said = |line: &HeaderValue| {
        line.as_bytes()
            .split(|b| *b == b',')
            .map(<[u8]>::trim_ascii)
            .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    };
    if !answer.get_all(VARY).iter().any(said) {
        answer.append(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    }
}

fn has_whole_body(status: StatusCode) -> bool {
    !status.is_informational()
        && !matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        )
}

/// Media types whose bytes repeat themselves. `text/event-stream` is not among them: it stays open
/// for hours, and every one would hold an encoder's window of half a megabyte and more.
fn is_text(content_type: &HeaderValue) -> bool {
    let whole = content_type.as_bytes();
    let end = memchr::memchr(b';', whole).unwrap_or(whole.len());
    let media = whole[..end].trim_ascii();
    let is = |known: &&str| media.eq_ignore_ascii_case(known.as_bytes());
    match media.split_at_checked(5) {
        Some((top, _)) if top.eq_ignore_ascii_case(b"text/") => !is(&"text/event-stream"),
        _ => TEXT_BY_OTHER_NAMES.iter().any(is) || is_structured(media),
    }
}

/// RFC 6838 §4.2.8.
fn is_structured(media: &[u8]) -> bool {
    ["+json", "+xml", "+yaml", "+json-seq"]
        .iter()
        .any(|suffix| {
            let start = media.len().saturating_sub(suffix.len());
            media[start..].eq_ignore_ascii_case(suffix.as_bytes())
        })
}

/// What is most frequent first. Fonts and icons in old, uncompressed forms among them.
const TEXT_BY_OTHER_NAMES: [&str; 19] = [
    "application/json",
    "application/javascript",
    "application/x-javascript",
    "application/xml",
    "application/wasm",
    "application/x-ndjson",
    "application/json-seq",
    "application/jsonl",
    "application/yaml",
    "application/toml",
    "application/graphql",
    "application/sql",
    "application/rtf",
    "application/vnd.apple.mpegurl",
    "application/vnd.ms-fontobject",
    "font/ttf",
    "font/otf",
    "image/x-icon",
    "image/vnd.microsoft.icon",
];

/// RFC 9111 §5.2.2.6.
pub fn no_transform(fields: &HeaderMap) -> bool {
    let forbids = |line: &HeaderValue| {
        line.as_bytes()
            .split(|b| *b == b',')
            .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
    };
    fields.get_all(CACHE_CONTROL).iter().any(forbids)
}

/// A length that is none counts as short.
fn number(value: &HeaderValue) -> u64 {
    let text = value.to_str().ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        pairs.iter().map(field).collect()
    }

    fn text_with(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut head = fields(&[("content-type", "text/html; charset=utf-8")]);
        head.extend(fields(pairs));
        compressible(StatusCode::OK, &head)
    }

    #[test]
    fn text_is_coded_and_pictures_are_not() {
        for (media, coded) in [
            ("text/html; charset=utf-8", true),
            ("Text/Plain", true),
            ("application/json", true),
            ("application/problem+json;x=1", true),
            ("image/svg+xml", true),
            ("application/javascript", true),
            ("application/wasm", true),
            ("text/event-stream", false),
            ("image/jpeg", false),
            ("application/octet-stream", false),
            ("application/zip", false),
            ("font/woff2", false),
            ("video/mp4", false),
            ("application/grpc+proto", false),
            ("nonsense", false),
            ("", false),
        ] {
            let head = fields(&[("content-type", media)]);
            assert_eq!(compressible(StatusCode::OK, &head), coded, "{media}");
        }
        assert!(!compressible(StatusCode::OK, &HeaderMap::new()));
    }

    #[test]
    fn what_is_short_coded_partial_or_not_to_be_touched_is_left_alone() {
        assert!(text_with(&[]));
        assert!(text_with(&[("content-length", "860")]));
        for pair in [
            ("content-length", "859"),
            ("content-length", "x"),
            ("content-encoding", "br"),
            ("content-range", "bytes 0-1/9"),
            ("cache-control", "max-age=60, No-Transform"),
            ("content-digest", "sha-256=:AA==:"),
        ] {
            assert!(!text_with(&[pair]), "{pair:?}");
        }
        for status in [100, 204, 205, 206, 304] {
            let status = StatusCode::from_u16(status).expect("a status");
            let head = fields(&[("content-type", "text/html")]);
            assert!(!compressible(status, &head), "{status}");
        }
    }

    #[test]
    fn vary_says_it_once() {
        for (before, after) in [
            (&[][..], &["accept-encoding"][..]),
            (&[("vary", "*")], &["*"]),
            (
                &[("vary", "Origin, ACCEPT-Encoding")],
                &["Origin, ACCEPT-Encoding"],
            ),
            (&[("vary", "origin")], &["origin", "accept-encoding"]),
        ] {
            let mut head = fields(before);
            vary(&mut head);
            vary(&mut head);
            let lines: Vec<_> = head.get_all(VARY).iter().collect();
            assert_eq!(lines, after);
        }
    }

    #[test]
    fn a_request_may_want_the_bytes_as_they_are() {
        assert!(forbids(&fields(&[("range", "bytes=0-1")])));
        assert!(forbids(&fields(&[("cache-control", "no-transform")])));
        assert!(!forbids(&fields(&[("cache-control", "max-age=0")])));
    }
}
