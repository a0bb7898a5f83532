//! The way to HTTPS for those who come without it, to a listener that is there for that; and to the right
//! connection for those who come on another one.

use super::answer::Problem;
use super::context::Context;
use super::headers;
use super::request::Request;
use crate::cache::Scheme;
use crate::listen::Manner;
use bytes::Bytes;
use http::Method;

/// Who issues certificates looks there, and without TLS: RFC 8555 §8.3.
const CHALLENGES: &[u8] = b"/.well-known/acme-challenge/";

/// What an authority is told that looks whether a name is ours, where this edge has been asked to show it.
/// Other tokens may be the application's.
pub fn challenge(request: &Request<'_>, ctx: &Context) -> Option<Bytes> {
    let token = request.target.strip_prefix(CHALLENGES)?;
    let reads = matches!(*request.method, Method::GET | Method::HEAD);
    let token = std::str::from_utf8(token).ok().filter(|_| reads)?;
    ctx.runtime.held.http(token, ctx.looking)
}

/// Where the request is to go instead. None where it may stay: it came inside TLS to a proxy that is
/// trusted, or is none of ours.
pub fn asked_without(request: &Request<'_>, ctx: &Context) -> Option<Problem> {
    let Manner::ToHttps(port) = ctx.entry.as_deref()?.manner else {
        return None;
    };
    let came_so = headers::scheme(request.headers, ctx) == Scheme::Https;
    if came_so || request.target.starts_with(CHALLENGES) {
        return None;
    }
    Some(match location(request.host, request.target, port) {
        Some(location) => Problem::Insecure { location },
        None => Problem::Malformed("it came without TLS, and names no host that has it"),
    })
}

/// Whoever reuses a connection for another host's requests gets them only where its certificate is that
/// host's too. Proxies that are trusted ask for whom they like.
pub fn misdirected(request: &Request<'_>, ctx: &Context) -> Option<Problem> {
    let secured = ctx.secured().filter(|_| !ctx.peer_is_trusted)?;
    let misdirected = secured.is_misdirected(without_port(request.host));
    misdirected.then_some(Problem::Misdirected)
}

/// None where there is no such URL.
fn location(host: &str, target: &[u8], port: u16) -> Option<String> {
    let target = std::str::from_utf8(target).ok();
    let target = target.filter(|target| target.starts_with('/'))?;
    let name = without_port(host);
    if name.is_empty() {
        return None;
    }
    Some(match port {
        443 => format!("https://{name}{target}"),
        port => format!("https://{name}:{port}{target}"),
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // A colon within brackets is no port's.
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::location;

    #[test]
    fn the_same_host_and_path_on_the_port_of_https() {
        for (host, target, port, to) in [
            ("a.test", "/x?y=1", 443, Some("https://a.test/x?y=1")),
            ("a.test:80", "/", 443, Some("https://a.test/")),
            (
                "a.test:8080",
                "//b.test/",
                8443,
                Some("https://a.test:8443//b.test/"),
            ),
            ("[::1]", "/", 443, Some("https://[::1]/")),
            ("[::1]:80", "/", 8443, Some("https://[::1]:8443/")),
            ("", "/", 443, None),
            ("a.test", "*", 443, None),
        ] {
            let found = location(host, target.as_bytes(), port);
            assert_eq!(found.as_deref(), to, "{host} {target}");
        }
    }
}
