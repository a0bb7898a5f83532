//! Fields that a proxy adds, takes away or may not pass on. RFC 9110 §7.6.

use super::context::Context;
use crate::config::HeaderEdits;
use http::header::{CONNECTION, COOKIE, FORWARDED, HOST, TE, TRAILER, UPGRADE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::{RequestHeader, ResponseHeader};

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Beside Connection and what it names. RFC 9110 §7.6.1.
static HOP_BY_HOP: [HeaderName; 5] = [
    UPGRADE,
    TE,
    TRAILER,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

const VIA_LAKH: HeaderValue = HeaderValue::from_static("1.1 lakh");

/// Fields that make a request conditional or partial; a fill asks for the whole.
const CONDITIONS: [HeaderName; 6] = [
    http::header::IF_MATCH,
    http::header::IF_NONE_MATCH,
    http::header::IF_MODIFIED_SINCE,
    http::header::IF_UNMODIFIED_SINCE,
    http::header::IF_RANGE,
    http::header::RANGE,
];

/// Makes a client's request the edge's own request to a server. Transfer-Encoding stays: Pingora
/// frames the body anew by it.
pub fn to_server(request: &mut RequestHeader, ctx: &Context) -> pingora::Result<()> {
    let route = ctx.routed();
    strip_hop_by_hop(request, ctx.upgrade);
    forwarded(request, ctx)?;
    request.insert_header(X_REQUEST_ID, ctx.id.as_str())?;
    request.append_header(VIA, VIA_LAKH)?;
    if let Some(prefix) = &route.strip_prefix {
        let target = strip_prefix(request.raw_path(), prefix);
        request.set_raw_path(&target)?;
    }
    edit_request(request, &route.request_headers)
}

/// A GET for the whole object, on behalf of all who wait for it. `target`: of another one than
/// the client asked for.
pub fn for_fetch(
    client: &RequestHeader,
    ctx: &Context,
    target: Option<&[u8]>,
) -> pingora::Result<RequestHeader> {
    let mut request = client.clone();
    if let Some(target) = target {
        request.set_raw_path(target)?;
    }
    request.set_method(http::Method::GET);
    request.set_version(http::Version::HTTP_11);
    for name in &CONDITIONS {
        request.remove_header(name);
    }
    for name in [
        http::header::CONTENT_LENGTH,
        http::header::TRANSFER_ENCODING,
        http::header::EXPECT,
    ] {
        request.remove_header(&name);
    }
    to_server(&mut request, ctx)?;
    if !request.headers.contains_key(HOST) {
        // An HTTP/2 client names the host in `:authority`.
        let host = host(client).to_owned();
        request.insert_header(HOST, host)?;
    }
    Ok(request)
}

/// What every answer gets, whichever way it came.
pub fn to_client(answer: &mut ResponseHeader, ctx: &Context) -> pingora::Result<()> {
    answer.append_header(VIA, VIA_LAKH)?;
    answer.insert_header(X_REQUEST_ID, ctx.id.as_str())?;
    if let Some(status) = ctx.cache {
        answer.append_header(CACHE_STATUS, status.to_value())?;
    }
    let edits = &ctx.routed().response_headers;
    for name in &edits.remove {
        answer.remove_header(name);
    }
    for (name, value) in &edits.set {
        answer.insert_header(name.clone(), value.clone())?;
    }
    Ok(())
}

/// Fields that were between the server and us only. `switching`: a 101 keeps its Upgrade.
pub fn strip_from_server(answer: &mut ResponseHeader, switching: bool) {
    for name in of_the_connection(&answer.headers, switching) {
        answer.remove_header(&name);
    }
}

/// The host that the request is for: the target's authority before the Host field (RFC 9112 §3.2.2).
pub fn host(request: &RequestHeader) -> &str {
    host_of_target(request)
        .or_else(|| request.headers.get(HOST).and_then(|v| v.to_str().ok()))
        .unwrap_or("")
}

fn host_of_target(request: &RequestHeader) -> Option<&str> {
    request.uri.authority().map(|a| a.as_str())
}

pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(COOKIE).iter().map(|v| v.as_bytes())
}

fn strip_hop_by_hop(request: &mut RequestHeader, upgrade: bool) {
    for name in of_the_connection(&request.headers, upgrade) {
        request.remove_header(&name);
    }
}

/// The fields that are the connection's, not the message's: those that Connection names, and those
/// that older software sends without naming them. One pass over what is there, because most
/// messages have none and looking each one up costs a hash. `switching`: Connection and Upgrade
/// stay. Transfer-Encoding stays too: Pingora frames the body by it.
fn of_the_connection(headers: &HeaderMap, switching: bool) -> Vec<HeaderName> {
    let mut names = Vec::new();
    for (name, value) in headers {
        if *name == CONNECTION {
            names.extend(named_by(value));
            names.push(CONNECTION);
        } else if HOP_BY_HOP.contains(name) {
            names.push(name.clone());
        }
    }
    names.retain(|name| !(switching && [CONNECTION, UPGRADE].contains(name)));
    names
}

/// Host and the like may be named too, by mistake or malice; they are not the connection's.
fn named_by(connection: &HeaderValue) -> impl Iterator<Item = HeaderName> + '_ {
    let options = connection
        .as_bytes()
        .split(|b| *b == b',')
        .map(<[u8]>::trim_ascii);
    options
        .filter(|option| {
            !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive")
        })
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !END_TO_END.contains(name))
}

/// Taking these away would change what the message means. RFC 9110 §7.6.1.
const END_TO_END: [HeaderName; 7] = [
    HOST,
    http::header::TRANSFER_ENCODING,
    http::header::CONTENT_LENGTH,
    http::header::CONTENT_TYPE,
    http::header::CACHE_CONTROL,
    http::header::AUTHORIZATION,
    COOKIE,
];

/// X-Forwarded-*: a trusted proxy's is carried on, anybody else's is replaced.
fn forwarded(request: &mut RequestHeader, ctx: &Context) -> pingora::Result<()> {
    let peer = ctx.peer.to_string();
    let known = request.headers.get_all(X_FORWARDED_FOR);
    let list = if ctx.peer_is_trusted {
        let mut list = Vec::new();
        for line in known {
            list.extend_from_slice(line.as_bytes());
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(peer.as_bytes());
        list
    } else {
        peer.into_bytes()
    };
    request.insert_header(X_FORWARDED_FOR, list)?;
    if !ctx.peer_is_trusted {
        request.remove_header(&FORWARDED);
    }
    if !ctx.peer_is_trusted || !request.headers.contains_key(X_FORWARDED_PROTO) {
        request.insert_header(X_FORWARDED_PROTO, "http")?;
    }
    if !ctx.peer_is_trusted || !request.headers.contains_key(X_FORWARDED_HOST) {
        // Not copied: a field's value is shared.
        let host = request.headers.get(HOST).cloned();
        let host = host.or_else(|| HeaderValue::from_str(host_of_target(request)?).ok());
        if let Some(host) = host {
            request.insert_header(X_FORWARDED_HOST, host)?;
        }
    }
    Ok(())
}

fn edit_request(request: &mut RequestHeader, edits: &HeaderEdits) -> pingora::Result<()> {
    for name in &edits.remove {
        request.remove_header(name);
    }
    for (name, value) in &edits.set {
        request.insert_header(name.clone(), value.clone())?;
    }
    Ok(())
}

/// `/v1/x?y` without `/v1` is `/x?y`; `/v1` alone is `/`; anything else stays.
fn strip_prefix(target: &[u8], prefix: &str) -> Vec<u8> {
    match target.strip_prefix(prefix.as_bytes()) {
        Some(rest @ [b'/', ..]) => rest.to_vec(),
        Some(rest @ ([] | [b'?', ..])) => [b"/", rest].concat(),
        _ => target.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_goes_only_at_a_segments_end() {
        let strip = |t: &str| String::from_utf8(strip_prefix(t.as_bytes(), "/v1")).expect("text");
        assert_eq!(strip("/v1/x?y"), "/x?y");
        assert_eq!(strip("/v1"), "/");
        assert_eq!(strip("/v1?a"), "/?a");
        assert_eq!(strip("/v10/x"), "/v10/x");
    }

    #[test]
    fn what_connection_names_is_stripped_but_never_the_messages_own() {
        let mut answer = ResponseHeader::build(200, None).expect("a head");
        for (name, value) in [
            ("connection", "close, x-hop, content-type"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("content-type", "text/plain"),
            ("x-end", "1"),
        ] {
            answer.append_header(name, value).expect("a field");
        }
        strip_from_server(&mut answer, false);
        let left: Vec<_> = answer.headers.keys().map(|n| n.as_str()).collect();
        assert_eq!(left, ["content-type", "x-end"]);
    }
}
