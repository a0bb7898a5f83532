//! Listeners behind a proxy that speaks the PROXY protocol.

use crate::harness::{Client, Edge, Origin, get, h2c};
use std::net::IpAddr;

const PROXIED: &str = "
listeners: {web: {address: $web, proxy_protocol: true}}
trusted_proxies: [127.0.0.5/32]
limits: {header_timeout: 300ms, connections_per_address: 2}
upstreams: {app: {servers: [$0]}}
routes:
- {name: denied, match: {path: /denied}, upstream: app, deny: [203.0.113.0/24]}
- {name: all, match: {path: /*}, upstream: app}
";

fn proxy() -> IpAddr {
    [127, 0, 0, 5].into()
}

fn through_proxy(edge: &Edge, header: &[u8]) -> Client {
    let mut client = Client::connect_from(proxy(), edge.web);
    client.send(header);
    client
}

fn version_2(client: [u8; 4]) -> Vec<u8> {
    let said = [&client[..], &[10, 0, 0, 1, 0x12, 0x34, 0, 80]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &said[..]].concat()
}

#[test]
fn the_origin_learns_who_is_behind_the_proxy() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(PROXIED, &[&origin]);

    for header in [
        b"PROXY TCP4 203.0.113.7 10.0.0.1 4660 80\r\n".to_vec(),
        version_2([203, 0, 113, 7]),
    ] {
        let mut client = through_proxy(&edge, &header);
        for _ in 0..2 {
            get("/").on(&mut client).expect(200);
        }
        get("/denied").on(&mut client).expect_problem(403);
    }

    let seen = origin.seen();
    assert_eq!(seen.len(), 4);
    assert!(
        seen.iter()
            .all(|s| s.the("x-forwarded-for") == "203.0.113.7")
    );
    let clients: Vec<_> = edge
        .access_log(6)
        .iter()
        .map(|l| l["client"].clone())
        .collect();
    assert!(
        clients.iter().all(|client| client == "203.0.113.7"),
        "{clients:?}"
    );
}

#[test]
fn the_proxys_own_checks_are_its_own() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(PROXIED, &[&origin]);
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for header in [&b"PROXY UNKNOWN\r\n"[..], local] {
        let mut client = through_proxy(&edge, header);
        get("/").on(&mut client).expect(200);
    }
    assert!(
        origin
            .seen()
            .iter()
            .all(|s| s.the("x-forwarded-for") == "127.0.0.5")
    );
}

#[test]
fn who_does_not_say_so_or_is_no_proxy_is_closed() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(PROXIED, &[&origin]);
    let stranger = "PROXY TCP4 203.0.113.7 10.0.0.1 4660 80\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut client = edge.connect();
    client.send(stranger);
    assert!(client.closes(), "only a trusted proxy is believed");
    let mut silent = through_proxy(&edge, b"");
    assert!(
        silent.closes(),
        "a proxy that says nothing is not waited for"
    );
    for wrong in [
        &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        b"PROXY TCP4 203.0.113.7\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        assert!(through_proxy(&edge, wrong).closes());
    }
    assert_eq!(origin.count(), 0);
    assert_eq!(edge.metric("lakh_bad_requests_total"), 4.0);
    let log = edge.access_log(4);
    let told = |what: &str| {
        let tells =
            |line: &&serde_json::Value| line["error"].as_str().is_some_and(|e| e.contains(what));
        log.iter().filter(tells).count()
    };
    assert_eq!(told("none of trusted_proxies"), 1, "{log:?}");
    assert_eq!(told("no header of the PROXY protocol"), 2, "{log:?}");
    assert_eq!(told("took too long"), 1, "{log:?}");
}

/// The proxy's address has all the connections; the cap is for those behind it.
#[test]
fn connections_are_capped_by_who_is_behind_the_proxy() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(PROXIED, &[&origin]);
    let open = |last: u8| through_proxy(&edge, &version_2([203, 0, 113, last]));
    let mut clients: Vec<_> = [1, 1, 2, 2, 3].map(open).into_iter().collect();
    for client in &mut clients {
        get("/").on(client).expect(200);
    }
    assert!(open(1).closes());
    assert_eq!(edge.metric("lakh_connections_refused_total"), 1.0);
    clients.remove(0);
    edge.await_metric("lakh_connections", 4.0);
    get("/").on(&mut open(1)).expect(200);
}

#[test]
fn a_listeners_own_cap_is_below_that_of_all() {
    let origin = Origin::saying("hello");
    let yaml = "
listeners: {web: {address: $web, connections: 2}}
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";
    let edge = Edge::start(yaml, &[&origin]);
    let mut open = [edge.connect(), edge.connect()];
    for client in &mut open {
        get("/").on(client).expect(200);
    }
    assert!(edge.connect().closes());
    edge.reload(&yaml.replace("connections: 2", "connections: 3"));
    get("/").send(&edge).expect(200);
    edge.await_metric("lakh_connections", 2.0);
    h2c(edge.web, &get("/")).expect(200);
}
