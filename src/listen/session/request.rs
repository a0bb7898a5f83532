//! Is this head a request that everybody reads alike? RFC 9113 §8, RFC 9114 §4.

use crate::listen::Malformed;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use pingora::http::RequestHeader;

/// What belongs to a connection of HTTP/1: RFC 9113 §8.2.2, RFC 9114 §4.2.
pub const OF_THE_CONNECTION: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The head as one of Pingora's, with the host in Host. What `h2` and `h3` find is not looked for again:
/// names in upper case, pseudo-fields that are missing or unknown.
pub fn check(request: Request<()>) -> Result<RequestHeader, Malformed> {
    let (mut parts, ()) = request.into_parts();
    check_fields(&parts.headers)?;
    let mut uri = std::mem::take(&mut parts.uri);
    if parts.method == Method::CONNECT {
        uri = with_a_path(uri)?;
    }
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let asterisk = target == "*" && parts.method == Method::OPTIONS;
    if !asterisk && !target.starts_with('/') {
        return Err(Malformed("a :path that is none"));
    }
    if !target.bytes().all(|byte| byte > b' ' && byte != 0x7f) {
        return Err(Malformed("a :path with a control character"));
    }
    if let Some(authority) = uri.authority() {
        if authority.as_str().contains('@') {
            return Err(Malformed("an :authority with a user's name"));
        }
        let host = HeaderValue::from_str(authority.as_str());
        let host = host.map_err(|_| Malformed("no :authority"))?;
        let said = parts.headers.insert(HOST, host);
        if said.is_some_and(|said| !same(&said, &parts.headers[HOST])) {
            return Err(Malformed("a Host that is not its :authority"));
        }
    }
    let host = parts.headers.get(HOST);
    if host.is_none_or(|host| host.as_bytes().contains(&b'@')) {
        return Err(Malformed("no host"));
    }
    parts.uri = Uri::from(uri.into_parts().path_and_query.expect("it was read above"));
    Ok(parts.into())
}

/// A CONNECT has none: RFC 9113 §8.5, RFC 9114 §4.4.
fn with_a_path(uri: Uri) -> Result<Uri, Malformed> {
    let mut parts = uri.into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).map_err(|_| Malformed("no :authority"))
}

fn same(host: &HeaderValue, authority: &HeaderValue) -> bool {
    host.as_bytes().eq_ignore_ascii_case(authority.as_bytes())
}

fn check_fields(fields: &HeaderMap) -> Result<(), Malformed> {
    if OF_THE_CONNECTION
        .iter()
        .any(|name| fields.contains_key(name))
    {
        return Err(Malformed("a field of a connection of HTTP/1"));
    }
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let has_blanks = |value: &[u8]| is_blank(value.first()) || is_blank(value.last());
    if fields.values().any(|value| has_blanks(value.as_bytes())) {
        return Err(Malformed("a field with blanks around its value"));
    }
    if fields.get_all(TE).iter().any(|te| te != "trailers") {
        return Err(Malformed("a TE of other than trailers"));
    }
    if fields.get_all(HOST).iter().count() > 1 {
        return Err(Malformed("several hosts"));
    }
    content_length(fields).map(drop)
}

/// None where there is none. RFC 9110 §8.6.
pub fn content_length(fields: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut lines = fields.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else {
        return Ok(None);
    };
    let text = first.to_str().unwrap_or("");
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(length) if is_number && lines.next().is_none() => Ok(Some(length)),
        _ => Err(Malformed("a Content-Length that is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<RequestHeader, Malformed> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        check(request.body(()).expect("a request"))
    }

    #[test]
    fn a_head_reads_as_one_of_http_1() {
        let head = of("GET", "https://shop.test/a?b=c", &[("te", "trailers")]).expect("a head");
        assert_eq!(head.raw_path(), b"/a?b=c");
        assert_eq!(head.headers[HOST], "shop.test");
        assert!(head.uri.authority().is_none());
        assert!(of("OPTIONS", "*", &[("host", "shop.test")]).is_ok());
        let connect = of("CONNECT", "shop.test:443", &[]).expect("a head");
        assert_eq!(connect.raw_path(), b"/");
        assert_eq!(connect.headers[HOST], "shop.test:443");
        assert!(of("CONNECT", "shop.test:443", &[("host", "other")]).is_err());
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let url = "https://shop.test/";
        for (name, value) in [
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("keep-alive", "1"),
            ("te", "gzip"),
            ("content-length", "+1"),
            ("content-length", "1, 1"),
            ("content-length", ""),
            ("x-a", " b"),
            ("x-a", "b\t"),
        ] {
            assert!(
                of("POST", url, &[(name, value)]).is_err(),
                "{name}: {value}"
            );
        }
        let twice = [("content-length", "1"), ("content-length", "1")];
        assert!(of("POST", url, &twice).is_err());
        assert!(of("GET", url, &[("host", "a.test"), ("host", "a.test")]).is_err());
        assert!(of("GET", url, &[("host", "other.test")]).is_err());
        assert!(of("GET", "/", &[]).is_err());
        assert!(of("GET", "/", &[("host", "me@shop.test")]).is_err());
        assert!(of("GET", "*", &[("host", "a.test")]).is_err());
        assert!(of("GET", "https://me@shop.test/", &[]).is_err());
    }
}
