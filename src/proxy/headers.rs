//! Fields that a proxy adds, takes away or may not pass on. RFC 9110 §7.6.

use super::context::Context;
use super::trace;
use crate::cache::{CACHE_TAG, SURROGATE_KEY, Scheme};
use crate::coding::Accepted;
use crate::config::HeaderEdits;
use crate::guard::{self, first_forwarded, is_disguised, is_proof_field};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ALT_SVC, CONNECTION, COOKIE, FORWARDED, HOST, MAX_FORWARDS, TE,
    TRAILER, UPGRADE, VIA,
};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, request, response};
use pingora::http::{RequestHeader, ResponseHeader};
use std::fmt::Write;
use std::net::IpAddr;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const ALT_SVC_OF: &str = "h3=\":";
const ALT_SVC_FOR: &str = "\"; ma=86400";
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Beside Connection and what it names. RFC 9110 §7.6.1.
static HOP_BY_HOP: [HeaderName; 5] = [
    UPGRADE,
    TE,
    TRAILER,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// What an origin says to the cache in front of it and to nobody else.
pub static TO_THE_CACHE: [HeaderName; 3] = [
    CACHE_TAG,
    SURROGATE_KEY,
    HeaderName::from_static("surrogate-control"),
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

/// Fields of a request with a body; a fill sends none.
const OF_A_BODY: [HeaderName; 3] = [
    http::header::CONTENT_LENGTH,
    http::header::TRANSFER_ENCODING,
    http::header::EXPECT,
];

/// A client's own claims, and what it says of a certificate, prove nothing, and the cache's keys and limits
/// must not see them either: so they go before anything is decided. So does what is another field than it
/// seems to be.
pub fn strip_proofs(fields: &mut HeaderMap) {
    for name in proof_fields(fields) {
        fields.remove(&name);
    }
}

/// `strip_proofs` of a head that Pingora has read.
pub fn strip_proofs_of(request: &mut RequestHeader) {
    for name in proof_fields(&request.headers) {
        request.remove_header(&name);
    }
}

/// Nearly always none, which costs a look at each name's first letters.
fn proof_fields(fields: &HeaderMap) -> Vec<HeaderName> {
    fields
        .keys()
        .filter(|name| is_proof_field(name) || is_disguised(name))
        .cloned()
        .collect()
}

/// Makes a client's request the edge's own request to a server. Transfer-Encoding stays: Pingora
/// frames the body anew by it.
pub fn to_server(request: &mut RequestHeader, ctx: &Context) -> pingora::Result<()> {
    let rewrite = &ctx.routed().rewrite;
    let stays = rewrite.is_empty() && is_uri(request) && ctx.target.is_none();
    let target = (!stays).then(|| rewrite.apply(ctx.target(request)).into_owned());
    let (nothing, ()) = http::Request::new(()).into_parts();
    let mut parts: request::Parts = std::mem::replace(request, nothing.into()).into();
    if let Some(left) = forwards_left(&parts.method, &parts.headers) {
        let left = left.saturating_sub(1);
        parts.headers.insert(MAX_FORWARDS, left.into());
    }
    fields_to_server(&mut parts.headers, parts.uri.authority(), ctx);
    *request = parts.into();
    target.map_or(Ok(()), |target| request.set_raw_path(&target))
}

/// How often an OPTIONS may still be sent on, where it says so. RFC 9110 §7.6.2.
pub fn forwards_left(method: &Method, fields: &HeaderMap) -> Option<u64> {
    if *method != Method::OPTIONS {
        return None;
    }
    fields.get(MAX_FORWARDS)?.to_str().ok()?.parse().ok()
}

/// What is said anew to a server over HTTP/2, where trailers pass: RFC 9113 §8.2.2 lets nothing else be said.
/// gRPC's servers may refuse calls without it. `fields`: as the client has sent them.
pub fn te(version: Version, fields: &HeaderMap) -> Option<HeaderValue> {
    let takes_trailers = |line: &HeaderValue| {
        let mut codings = line.as_bytes().split(|b| *b == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    };
    let is_said = version == Version::HTTP_2 && fields.get_all(TE).iter().any(takes_trailers);
    is_said.then(|| HeaderValue::from_static("trailers"))
}

/// A GET for the whole object, on behalf of all who wait for it. `target`: of another one than
/// the client asked for.
pub fn for_fetch(
    client: &RequestHeader,
    ctx: &Context,
    target: Option<&[u8]>,
) -> pingora::Result<RequestHeader> {
    let mut parts = client.as_owned_parts();
    parts.method = Method::GET;
    parts.version = Version::HTTP_11;
    for name in CONDITIONS.iter().chain(&OF_A_BODY) {
        parts.headers.remove(name);
    }
    parts.headers.insert(ACCEPT_ENCODING, codings(client, ctx));
    fields_to_server(&mut parts.headers, parts.uri.authority(), ctx);
    let mut request = RequestHeader::from(parts);
    let target = target.unwrap_or(client.raw_path());
    request.set_raw_path(&ctx.routed().rewrite.apply(target))?;
    Ok(request)
}

/// A GET for a picture, of somebody who need not know for whom.
pub fn for_stranger(host: &str, target: &[u8]) -> pingora::Result<RequestHeader> {
    let mut request = RequestHeader::build_no_case(Method::GET, target, Some(4))?;
    request.insert_header(HOST, host)?;
    request.insert_header(ACCEPT, "image/*")?;
    request.insert_header(ACCEPT_ENCODING, "identity")?;
    request.insert_header(VIA, VIA_LAKH)?;
    Ok(request)
}

/// What a fetch accepts. Where the route codes text itself, nothing: one object then serves all
/// clients. Elsewhere what the client that leads accepts, in one spelling.
fn codings(client: &RequestHeader, ctx: &Context) -> HeaderValue {
    HeaderValue::from_static(match ctx.routed().compress {
        true => "identity",
        false => Accepted::of(&client.headers).bucket(),
    })
}

/// Edits an answer's fields as a plain map. Pingora keeps a second one in step, of how the server
/// wrote each name, which more than doubles what adding a field costs (2,600 instructions against
/// 300); HTTP/2 has no such thing and all names mean the same in any case (RFC 9110 §5.1), so it
/// goes. The same is done to requests.
pub fn edit_answer(answer: &mut ResponseHeader, edit: impl FnOnce(&mut HeaderMap)) {
    let own_words = answer
        .get_reason_phrase()
        .filter(|reason| answer.status.canonical_reason() != Some(*reason))
        .map(str::to_owned);
    let (nothing, ()) = http::Response::new(()).into_parts();
    let mut parts: response::Parts = std::mem::replace(answer, nothing.into()).into();
    edit(&mut parts.headers);
    *answer = parts.into();
    if own_words.is_some() {
        // It was one before, so it is one now.
        let _ = answer.set_reason_phrase(own_words.as_deref());
    }
}

/// What every answer gets, whichever way it came.
pub fn to_client(fields: &mut HeaderMap, ctx: &Context) {
    fields.reserve(4);
    fields.append(VIA, VIA_LAKH);
    fields.insert(X_REQUEST_ID, value(ctx.id.as_str()));
    if let Some(status) = ctx.cache {
        fields.append(CACHE_STATUS, value(&status.to_value()));
    }
    if let Some(word) = ctx.x_cache() {
        fields.insert(X_CACHE, HeaderValue::from_static(word));
    }
    if let Some(port) = ctx.secured().and_then(|secured| secured.http3) {
        let alternative = format!("{ALT_SVC_OF}{port}{ALT_SVC_FOR}");
        fields.insert(ALT_SVC, value(&alternative));
    }
    add_limits(fields, ctx);
    stamp(fields, ctx);
    apply(&ctx.routed().response_headers, fields);
}

/// What the route has browsers told, on every answer of it, the edge's own included.
pub fn stamp(fields: &mut HeaderMap, ctx: &Context) {
    let Some(route) = &ctx.route else { return };
    if let Some(cors) = &route.cors {
        cors.stamp(fields, ctx.origin.as_ref());
    }
    route.security_headers.stamp(fields, ctx.secure);
}

/// How the route's limits stand. Beside what the server says of its own: a proxy that doesn't know
/// what those count may not change them, draft-ietf-httpapi-ratelimit-headers §6.3, and the fields
/// are lists.
pub fn add_limits(fields: &mut HeaderMap, ctx: &Context) {
    let Some(route) = ctx.route.as_ref().filter(|_| !ctx.standings.is_empty()) else {
        return;
    };
    let mut text = Vec::with_capacity(64);
    route.limits.write_policies(&ctx.standings, &mut text);
    fields.append(RATELIMIT_POLICY, bytes(&text));
    text.clear();
    route.limits.write_standings(&ctx.standings, &mut text);
    fields.append(RATELIMIT, bytes(&text));
}

/// `to_client` as HTTP/1 writes it, for a route that edits no answers.
pub fn write_to_client(out: &mut Vec<u8>, ctx: &Context) {
    out.extend_from_slice(b"Via: 1.1 lakh\r\nx-request-id: ");
    out.extend_from_slice(ctx.id.as_bytes());
    if let Some(status) = ctx.cache {
        out.extend_from_slice(b"\r\ncache-status: ");
        out.extend_from_slice(status.to_value().as_bytes());
    }
    if let Some(word) = ctx.x_cache() {
        out.extend_from_slice(b"\r\nx-cache: ");
        out.extend_from_slice(word.as_bytes());
    }
    if let Some(port) = ctx.secured().and_then(|secured| secured.http3) {
        out.extend_from_slice(b"\r\nalt-svc: ");
        out.extend_from_slice(ALT_SVC_OF.as_bytes());
        out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
        out.extend_from_slice(ALT_SVC_FOR.as_bytes());
    }
    if !ctx.standings.is_empty() {
        let limits = &ctx.routed().limits;
        out.extend_from_slice(b"\r\nratelimit-policy: ");
        limits.write_policies(&ctx.standings, out);
        out.extend_from_slice(b"\r\nratelimit: ");
        limits.write_standings(&ctx.standings, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Fields that were between the server and us only, and those that `tell` us to purge.
/// `switching`: a 101 keeps its Upgrade.
pub fn strip_from_server(fields: &mut HeaderMap, switching: bool, tell: &[HeaderName]) {
    strip_hop_by_hop(fields, switching);
    for name in tell {
        fields.remove(name);
    }
    if fields.keys().any(|name| TO_THE_CACHE.contains(name)) {
        for name in &TO_THE_CACHE {
            fields.remove(name);
        }
    }
}

/// The host that the request is for: the target's authority before the Host field (RFC 9112 §3.2.2).
pub fn host(request: &RequestHeader) -> &str {
    match request.uri.authority() {
        Some(authority) => authority.as_str(),
        None => host_field(&request.headers),
    }
}

pub fn host_field(fields: &HeaderMap) -> &str {
    fields.get(HOST).and_then(|v| v.to_str().ok()).unwrap_or("")
}

/// How the client came, as the origin is told: only a trusted proxy knows better than we.
pub fn scheme(fields: &HeaderMap, ctx: &Context) -> Scheme {
    let told = match ctx.peer_is_trusted {
        true => told_scheme(fields),
        false => None,
    };
    let is_https = match told {
        Some(scheme) => scheme.trim_ascii().eq_ignore_ascii_case(b"https"),
        None => ctx.secured().is_some(),
    };
    match is_https {
        true => Scheme::Https,
        false => Scheme::Http,
    }
}

/// By X-Forwarded-Proto; where there is none, by Forwarded. Of several proxies, the first is the one that
/// the client came to.
fn told_scheme(fields: &HeaderMap) -> Option<&[u8]> {
    match fields.get(X_FORWARDED_PROTO) {
        Some(list) => list.as_bytes().split(|b| *b == b',').next(),
        None => first_forwarded(fields.get(FORWARDED)?.as_bytes(), "proto"),
    }
}

/// The same of the host, and of the hops up to one that is not known.
fn told_host(fields: &HeaderMap) -> Option<HeaderValue> {
    let host = first_forwarded(fields.get(FORWARDED)?.as_bytes(), "host")?;
    HeaderValue::from_bytes(host).ok()
}

fn told_hops(fields: &HeaderMap) -> Vec<IpAddr> {
    let lines = fields.get_all(FORWARDED).into_iter();
    let hops: Vec<_> = lines
        .flat_map(|line| guard::forwarded(line.as_bytes()))
        .collect();
    let known = hops.rsplit(Option::is_none).next().unwrap_or_default();
    known.iter().copied().flatten().collect()
}

/// The target of a request for `uri`, a reference in the answer to `request`, when it is on the
/// same host. RFC 3986 §5.2 for what web applications send: an absolute URI, an absolute path, or
/// a name beside the request's own.
pub fn target_on_same_host(request: &RequestHeader, uri: &str) -> Option<String> {
    let uri = uri.split('#').next().unwrap_or(uri);
    if uri.starts_with('/') && !uri.starts_with("//") {
        return Some(uri.to_owned());
    }
    if uri.contains("//") {
        let parsed: http::Uri = uri.parse().ok()?;
        let authority = parsed.authority()?.as_str();
        let path = parsed.path_and_query().map_or("/", |path| path.as_str());
        return authority
            .eq_ignore_ascii_case(host(request))
            .then(|| path.to_owned());
    }
    let (folder, _) = request.uri.path().rsplit_once('/')?;
    let beside = !uri.is_empty() && !uri.starts_with(['.', '?']) && !uri.contains(':');
    beside.then(|| format!("{folder}/{uri}"))
}

pub fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(COOKIE).iter().map(|v| v.as_bytes())
}

/// Whether the target can be read back from the parsed URI; if not, Pingora keeps its bytes.
fn is_uri(request: &RequestHeader) -> bool {
    let parsed = request.uri.path_and_query().map(|path| path.as_str());
    parsed.map(str::as_bytes) == Some(request.raw_path())
}

/// Of text that has been a field's value or part of a URI, or is ours.
pub fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

fn bytes(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static(""))
}

fn fields_to_server(fields: &mut HeaderMap, authority: Option<&Authority>, ctx: &Context) {
    strip_hop_by_hop(fields, ctx.upgrade);
    join_cookies(fields);
    fields.reserve(5);
    forwarded(fields, authority, ctx);
    if !fields.contains_key(HOST) {
        // HTTP/1.0 needs none, and what is sent is HTTP/1.1: RFC 9112 §3.2. Not of the client's choosing, so
        // that it may be cached.
        let host = authority.map_or(&*ctx.pool().name, |authority| authority.as_str());
        fields.insert(HOST, value(host));
    }
    fields.insert(X_REQUEST_ID, value(ctx.id.as_str()));
    fields.append(VIA, via(ctx.received));
    for (name, value) in ctx.claims.iter().flat_map(|claims| claims.fields()) {
        fields.insert(name.clone(), value.clone());
    }
    let certificate = ctx.secured().and_then(|secured| secured.client.as_ref());
    for (name, value) in certificate.into_iter().flat_map(|shown| shown.fields()) {
        fields.insert(name.clone(), value.clone());
    }
    trace::to_server(fields, ctx);
    if let Some(bridge) = &ctx.bridge {
        bridge.head(fields);
    }
    apply(&ctx.routed().request_headers, fields);
}

/// By what the message came. RFC 9110 §7.6.3.
fn via(received: Version) -> HeaderValue {
    match received {
        Version::HTTP_10 => HeaderValue::from_static("1.0 lakh"),
        Version::HTTP_2 => HeaderValue::from_static("2.0 lakh"),
        Version::HTTP_3 => HeaderValue::from_static("3.0 lakh"),
        _ => VIA_LAKH,
    }
}

/// HTTP/2 sends a cookie in crumbs; HTTP/1.1 knows one line of it. RFC 9113 §8.2.3.
fn join_cookies(fields: &mut HeaderMap) {
    let mut crumbs = cookies(fields);
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let all: Vec<_> = [first, second].into_iter().chain(crumbs).collect();
        // Of values that were ones before.
        if let Ok(whole) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            fields.insert(COOKIE, whole);
        }
    }
}

fn strip_hop_by_hop(fields: &mut HeaderMap, switching: bool) {
    for name in of_the_connection(fields, switching) {
        fields.remove(&name);
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

/// What only proxies tell.
fn is_told_by_proxies(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with("x-forwarded-") || text == "x-real-ip" || *name == FORWARDED
}

/// X-Forwarded-*: a trusted proxy's is carried on, or made of its Forwarded; anybody else's is replaced, or goes.
fn forwarded(fields: &mut HeaderMap, authority: Option<&Authority>, ctx: &Context) {
    let mut list = String::new();
    if ctx.peer_is_trusted {
        for line in fields.get_all(X_FORWARDED_FOR) {
            list.extend([&*String::from_utf8_lossy(line.as_bytes()), ", "]);
        }
        if list.is_empty() {
            let hops = told_hops(fields).into_iter();
            list.extend(hops.map(|hop| format!("{hop}, ")));
        }
    } else {
        let told = fields.keys().filter(|name| is_told_by_proxies(name));
        for name in told.cloned().collect::<Vec<_>>() {
            fields.remove(&name);
        }
    }
    // Writing to a String can't fail.
    let _ = write!(list, "{}", ctx.peer);
    fields.insert(X_FORWARDED_FOR, value(&list));
    if !ctx.peer_is_trusted || !fields.contains_key(X_FORWARDED_PROTO) {
        let came = scheme(fields, ctx).as_str();
        fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static(came));
    }
    if !ctx.peer_is_trusted || !fields.contains_key(X_FORWARDED_HOST) {
        let told = ctx.peer_is_trusted.then(|| told_host(fields)).flatten();
        // Not copied: a field's value is shared.
        let host = told.or_else(|| fields.get(HOST).cloned());
        if let Some(host) = host.or_else(|| authority.map(|a| value(a.as_str()))) {
            fields.insert(X_FORWARDED_HOST, host);
        }
    }
}

fn apply(edits: &HeaderEdits, fields: &mut HeaderMap) {
    for name in &edits.remove {
        fields.remove(name);
    }
    for (name, value) in &edits.set {
        fields.insert(name.clone(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_on_the_same_host_only() {
        let mut request = RequestHeader::build("POST", b"/shop/new?x", None).expect("a request");
        request.insert_header("host", "h.test").expect("a host");
        let target = |uri| target_on_same_host(&request, uri);
        let is = |target: &str| Some(target.to_owned());
        assert_eq!(target("/a?b#c"), is("/a?b"));
        assert_eq!(target("http://H.test/a"), is("/a"));
        assert_eq!(target("https://h.test"), is("/"));
        assert_eq!(target("12"), is("/shop/12"));
        for elsewhere in [
            "http://other.test/a",
            "//other.test/a",
            "",
            "../a",
            "mailto:a",
        ] {
            assert_eq!(target(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn what_connection_names_is_stripped_but_never_the_messages_own() {
        let mut fields = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-hop, content-type"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("content-type", "text/plain"),
            ("x-end", "1"),
        ] {
            fields.append(name, HeaderValue::from_static(value));
        }
        strip_from_server(&mut fields, false, &[]);
        let left: Vec<_> = fields.keys().map(|n| n.as_str()).collect();
        assert_eq!(left, ["content-type", "x-end"]);
    }
}
