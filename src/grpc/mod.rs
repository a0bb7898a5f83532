//! gRPC, as far as an edge has a part in it: what asks in it, how a refusal is said there, and the bridge for
//! pages. Pure.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

mod web;

pub use web::{Base64, Bridge, EXPOSED, NotBase64};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What is written otherwise in a `grpc-message`, beside all that is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');

/// What a request is asked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Over HTTP/2, with its status in trailers.
    Grpc,
    /// As pages speak it, over any HTTP: trailers are a last frame of the body.
    Web,
    /// The same in base64.
    WebText,
}

/// What comes first is no beginning of what comes after.
const MEDIA: [(Dialect, &str); 3] = [
    (Dialect::WebText, "application/grpc-web-text"),
    (Dialect::Web, "application/grpc-web"),
    (Dialect::Grpc, "application/grpc"),
];

/// Why a call came to nothing, by its number.
/// <https://github.com/grpc/grpc/blob/master/doc/statuscodes.md>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Unknown = 2,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Dialect {
    /// None: it is no call.
    pub fn of(method: &Method, fields: &HeaderMap) -> Option<Dialect> {
        let media = fields
            .get(CONTENT_TYPE)
            .filter(|_| method == Method::POST)?;
        Some(split(media.as_bytes())?.0)
    }

    pub fn media(self) -> &'static str {
        let own = MEDIA.iter().find(|(dialect, _)| *dialect == self);
        own.expect("MEDIA has all of them").1
    }
}

/// The dialect of a Content-Type, and what it says beside that, like `+proto`.
fn split(content_type: &[u8]) -> Option<(Dialect, &[u8])> {
    MEDIA.iter().find_map(|(dialect, media)| {
        let (start, rest) = content_type.split_at_checked(media.len())?;
        let ends = matches!(rest.first(), None | Some(b'+' | b';' | b' '));
        (ends && start.eq_ignore_ascii_case(media.as_bytes())).then_some((*dialect, rest))
    })
}

impl Code {
    /// What says the same as an HTTP status of the edge's own. As gRPC's clients read one
    /// (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>), but that we know more:
    /// what is too much, or too many, exhausts a resource, and what takes too long is past its deadline.
    pub fn of(status: StatusCode) -> Code {
        match status.as_u16() {
            400 | 500 => Code::Internal,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 => Code::Unimplemented,
            408 | 504 => Code::DeadlineExceeded,
            413 | 414 | 429 | 431 => Code::ResourceExhausted,
            502 | 503 => Code::Unavailable,
            _ => Code::Unknown,
        }
    }
}

/// Makes the fields of a refusal those of a call that came to nothing: "Trailers-Only", without a body. Its
/// HTTP status is 200.
pub fn refuse(fields: &mut HeaderMap, dialect: Dialect, code: Code, message: &str) {
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(dialect.media()));
    fields.insert(STATUS, HeaderValue::from(code as u16));
    let message = utf8_percent_encode(message, ENCODED).to_string();
    let message = HeaderValue::try_from(message).expect("ASCII without controls");
    fields.insert(MESSAGE, message);
    fields.remove(CONTENT_LENGTH);
    if dialect != Dialect::Grpc {
        // It may be HTTP/1.1, where nothing else says that there is no body.
        fields.insert(CONTENT_LENGTH, HeaderValue::from(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(method: Method, media: &'static str) -> Option<Dialect> {
        let fields = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(media))]);
        Dialect::of(&method, &fields)
    }

    #[test]
    fn a_call_is_a_post_of_its_media_type() {
        for (media, is) in [
            ("application/grpc", Some(Dialect::Grpc)),
            ("Application/gRPC+proto", Some(Dialect::Grpc)),
            ("application/grpc; charset=utf-8", Some(Dialect::Grpc)),
            ("application/grpc-web", Some(Dialect::Web)),
            ("application/grpc-web+proto", Some(Dialect::Web)),
            ("application/grpc-web-text", Some(Dialect::WebText)),
            ("application/grpc-web-text+proto", Some(Dialect::WebText)),
            ("application/grpc-webx", None),
            ("application/grpcx", None),
            ("application/json", None),
            ("", None),
        ] {
            assert_eq!(dialect(Method::POST, media), is, "{media}");
            assert_eq!(dialect(Method::GET, media), None, "{media}");
        }
        assert_eq!(Dialect::of(&Method::POST, &HeaderMap::new()), None);
    }

    #[test]
    fn a_message_is_read_back_as_it_was() {
        for message in ["", "Too many requests.", "100 % of\n\u{1}\u{7f}", "größer"] {
            let mut fields = HeaderMap::new();
            refuse(&mut fields, Dialect::Grpc, Code::Unavailable, message);
            let sent = fields[MESSAGE].to_str().expect("it is ASCII");
            assert!(sent.bytes().all(|b| (b' '..=b'~').contains(&b)), "{sent}");
            let read = percent_encoding::percent_decode_str(sent);
            assert_eq!(read.decode_utf8().expect("UTF-8"), message);
            assert_eq!(fields[STATUS], "14");
        }
    }
}
