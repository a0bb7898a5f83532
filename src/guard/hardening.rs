//! Fields that have browsers be careful with what they show. An application that knows better says
//! so itself: what it has set stays.

use http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// `security_headers` of a route, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecurityHeaders {
    #[default]
    None,
    Strict,
}

/// For two years, RFC 6797 §6.1.1: what lists of such hosts ask for.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000; includeSubDomains");

static STRICT: [(HeaderName, HeaderValue); 7] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("frame-ancestors 'none'; base-uri 'self'; object-src 'none'"),
    ),
    (
        REFERRER_POLICY,
        HeaderValue::from_static("strict-origin-when-cross-origin"),
    ),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static(
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("x-permitted-cross-domain-policies"),
        HeaderValue::from_static("none"),
    ),
];

impl SecurityHeaders {
    /// `secure`: the client came over TLS. Over plain HTTP a browser ignores HSTS, RFC 6797 §8.1.
    pub fn stamp(self, fields: &mut HeaderMap, secure: bool) {
        if self == SecurityHeaders::None {
            return;
        }
        for (name, value) in &STRICT {
            fields.entry(name).or_insert_with(|| value.clone());
        }
        if secure {
            fields.entry(STRICT_TRANSPORT_SECURITY).or_insert(HSTS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_application_says_stays() {
        let mut fields = HeaderMap::new();
        fields.insert(X_FRAME_OPTIONS, HeaderValue::from_static("SAMEORIGIN"));
        SecurityHeaders::Strict.stamp(&mut fields, false);
        assert_eq!(fields[X_FRAME_OPTIONS], "SAMEORIGIN");
        assert_eq!(fields[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(!fields.contains_key(STRICT_TRANSPORT_SECURITY));
        SecurityHeaders::Strict.stamp(&mut fields, true);
        assert_eq!(fields.len(), STRICT.len() + 1);
        let mut none = HeaderMap::new();
        SecurityHeaders::None.stamp(&mut none, true);
        assert!(none.is_empty());
    }
}
