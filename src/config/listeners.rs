//! `listeners` and `limits`: where clients connect, and what any of them may cost.

use super::ports::Ports;
use super::refusal::{Refusal, Wanted};
use super::section::Section;
use super::tls;
use super::units::{size, size_between, wait};
use super::values::{self, account, count, endpoint, permissions, switch};
use crate::endpoint::Endpoint;
use crate::listen::{Access, Limits, ListenerSettings};

/// For the owner and the group of the edge's process.
const SOCKET_MODE: u32 = 0o660;

/// The listener, and beside it the one that sends clients to it, if there is to be one.
pub fn read(
    name: &str,
    s: &mut Section<'_>,
    ports: &mut Ports,
    orders: &mut tls::Orders,
) -> Option<Vec<ListenerSettings>> {
    let address = s.required("address", "127.0.0.1:8080", endpoint);
    let access = Access {
        mode: s.or("socket_mode", SOCKET_MODE, permissions),
        owner: s.optional("socket_owner", account),
        group: s.optional("socket_group", account),
    };
    let http2 = s.or("http2", true, switch);
    let proxy_protocol = s.or("proxy_protocol", false, switch);
    let connections = s.optional("connections", count(1..=10_000_000));
    let http3 = s.or("http3", false, switch);
    let early_data = s.or("early_data", false, switch);
    let tls = s.section("tls", |s| tls::read(s, orders));
    let redirect = s.optional("redirect_http", values::address);
    let redirect_port = s.optional("redirect_port", count(1..=65535));
    check_redirect(s);
    check_http3(s, http3, proxy_protocol);
    let asks_who = tls.as_ref().is_some_and(|tls| tls.clients.is_some());
    check_early_data(s, early_data, http3, asks_who);
    let address = address?;
    check_unix(s, &address);
    ports.claim_endpoint(s, "address", &address);
    let listener = ListenerSettings {
        name: name.to_owned(),
        address,
        access,
        http2,
        http3,
        early_data,
        tls,
        to_https: None,
        proxy_protocol,
        connections,
    };
    let Some(redirect) = redirect else {
        return Some(vec![listener]);
    };
    ports.claim_address(s, "redirect_http", redirect);
    let port = redirect_port.or(listener.address.port())?;
    let before = ListenerSettings {
        name: format!("{name}.redirect_http"),
        address: redirect.into(),
        http2: false,
        http3: false,
        early_data: false,
        tls: None,
        to_https: Some(port),
        ..listener.clone()
    };
    Some(vec![listener, before])
}

fn check_redirect(s: &mut Section<'_>) {
    if s.has("redirect_http") && !s.has("tls") {
        let message =
            "there is no TLS to send clients to; write tls: {certificates: ...} beside it";
        s.error("redirect_http", message);
    }
    if s.has("redirect_port") && !s.has("redirect_http") {
        let message = "nobody is sent to it; write redirect_http: IP:PORT beside it";
        s.error("redirect_port", message);
    }
}

/// What is only for a Unix socket, and what can't be for one.
fn check_unix(s: &mut Section<'_>, address: &Endpoint) {
    if address.tcp().is_some() {
        for key in ["socket_mode", "socket_owner", "socket_group"] {
            if s.has(key) {
                let message = "there is no file to be opened; remove it, or write address: unix:/run/lakh.sock";
                s.error(key, message);
            }
        }
        return;
    }
    if s.has("http3") {
        s.error(
            "http3",
            "a Unix socket has no UDP beside it; remove one of them",
        );
    }
    if s.has("redirect_http") && !s.has("redirect_port") {
        let message =
            "a Unix socket has no port to send clients to; write redirect_port: 443 beside it";
        s.error("redirect_http", message);
    }
}

fn check_http3(s: &mut Section<'_>, http3: bool, proxy_protocol: bool) {
    if http3 && !s.has("tls") {
        let message = "HTTP/3 is spoken inside TLS alone; write tls: {certificates: ...} beside it";
        s.error("http3", message);
    }
    if http3 && proxy_protocol {
        let message =
            "the PROXY protocol is TCP's, and nobody can say it over UDP; remove one of them";
        s.error("http3", message);
    }
}

fn check_early_data(s: &mut Section<'_>, early_data: bool, http3: bool, asks_who: bool) {
    if early_data && !http3 {
        let message = "it is taken over HTTP/3 alone; write http3: true beside it";
        s.error("early_data", message);
    }
    if early_data && asks_who {
        let message = "who a client is, is not proven before the handshake's end; remove it, or tls.client_ca_file";
        s.error("early_data", message);
    }
}

pub fn read_limits(s: &mut Section<'_>) -> Limits {
    let default = Limits::default();
    let connections = count(1..=10_000_000);
    let limits = Limits {
        header_timeout: s.or("header_timeout", default.header_timeout, wait),
        body_timeout: s.or("body_timeout", default.body_timeout, wait),
        min_body_rate: s.or("min_body_rate", default.min_body_rate, byte_rate),
        send_timeout: s.or("send_timeout", default.send_timeout, wait),
        idle_timeout: s.or("idle_timeout", default.idle_timeout, wait),
        header_size: s.or("header_size", default.header_size, header_size),
        body_size: s.or("body_size", default.body_size, size),
        connections: s.or("connections", default.connections, &connections),
        connections_per_address: s.or(
            "connections_per_address",
            default.connections_per_address,
            &connections,
        ),
        handshakes: s.or("handshakes", default.handshakes, &connections),
        handshakes_per_address: s.or(
            "handshakes_per_address",
            default.handshakes_per_address,
            &connections,
        ),
        requests_per_address: s.optional("requests_per_address", &connections),
    };
    warn_of_looser(s, &limits);
    limits
}

/// One client may not have more than there is for all.
fn warn_of_looser(s: &Section<'_>, limits: &Limits) {
    for (key, of_one, whole, of_all) in [
        (
            "connections_per_address",
            limits.connections_per_address,
            "connections",
            limits.connections,
        ),
        (
            "handshakes_per_address",
            limits.handshakes_per_address,
            "handshakes",
            limits.handshakes,
        ),
    ] {
        if s.has(key) && of_one >= of_all {
            let message =
                format!("{key} never refuses, because {whole} is no more: one client may take all");
            s.warn(s.key_span(key), &message);
        }
    }
}

/// `240B/s`, in bytes per second.
fn byte_rate(text: &str) -> Result<u64, Refusal> {
    let per_second = text.strip_suffix("/s").map(size);
    per_second.unwrap_or_else(|| {
        let why = format!("`{text}` is no rate of bytes; write it like 240B/s, or 0B/s for any");
        Err(Refusal::new(why, [Wanted::ByteRate]))
    })
}

/// Below 1 KiB no browser gets through; Pingora refuses heads of 1 MiB and more.
fn header_size(text: &str) -> Result<usize, Refusal> {
    let bytes = size_between(1 << 10, 1023 << 10)(text)?;
    Ok(usize::try_from(bytes).expect("less than 1 MiB"))
}
