//! Servers that are spoken to inside TLS: what they must prove, and what becomes of those that can't.

use crate::harness::{
    Answer, Authority, Edge, Handshake, Origin, Secured, Step, behind_tls, eventually, get, post,
};
use std::path::Path;

/// One route to servers at these addresses.
fn config(servers: &[&Secured], tls: &str, more: &str) -> String {
    let servers: Vec<_> = servers.iter().map(|s| s.address.to_string()).collect();
    let servers = servers.join(", ");
    format!(
        "
upstreams: {{app: {{servers: [{servers}], tls: {{{tls}}}{more}}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
"
    )
}

const OWN_CA: &str = "server_name: app.internal, ca_file: $dir/ca.pem";

#[test]
fn requests_go_over_tls_on_kept_connections() {
    let (origin, authority) = (Origin::saying("inside"), Authority::new());
    let server = behind_tls(&origin, &authority, "app.internal");
    let edge = Edge::start_with(&config(&[&server], OWN_CA, ""), &[], |dir| {
        authority.write(dir)
    });
    let mut client = edge.connect();

    for _ in 0..10 {
        assert_eq!(get("/").on(&mut client).expect(200).text(), "inside");
    }
    // Those with a body go another way, on connections of their own.
    for _ in 0..10 {
        let reply = post("/", "text").on(&mut client).expect(200);
        assert_eq!(reply.text(), "inside");
    }

    assert_eq!(origin.count(), 20);
    let handshake = Handshake {
        server_name: Some("app.internal".into()),
        alpn: Some("http/1.1".into()),
        has_certificate: false,
    };
    let handshakes = server.handshakes();
    assert!(handshakes.iter().all(|shaken| *shaken == handshake));
    // One for each way, and one more where a request came before the answer was all taken.
    assert!(handshakes.len() < 10, "{}", handshakes.len());
}

#[test]
fn without_a_name_a_server_proves_its_address() {
    let (origin, authority) = (Origin::saying("inside"), Authority::new());
    let server = behind_tls(&origin, &authority, "127.0.0.1");
    let text = config(&[&server], "ca_file: $dir/ca.pem", "");
    let edge = Edge::start_with(&text, &[], |dir| authority.write(dir));

    let reply = get("/").on(&mut edge.connect()).expect(200);

    assert_eq!(reply.text(), "inside");
    // RFC 6066 §3: an address is no server name.
    assert_eq!(server.handshakes()[0].server_name, None);
}

#[test]
fn a_server_behind_a_name_proves_that_name() {
    let (origin, authority) = (Origin::saying("inside"), Authority::new());
    let server = behind_tls(&origin, &authority, "localhost");
    let port = server.address.port();
    let text = format!(
        "
upstreams:
  app: {{servers: [{{address: \"localhost:{port}\", resolve: 60s}}], tls: {{ca_file: $dir/ca.pem}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
"
    );
    let edge = Edge::start_with(&text, &[], |dir| authority.write(dir));

    get("/").on(&mut edge.connect()).expect(200);

    let names = server.handshakes().into_iter().map(|h| h.server_name);
    assert!(names.eq([Some("localhost".to_owned())]));
}

/// Each lacks something; the client is told 502, and nothing reaches the origin.
#[test]
fn a_server_that_proves_nothing_gets_nothing() {
    let (origin, authority, stranger) =
        (Origin::saying("inside"), Authority::new(), Authority::new());
    let cases = [
        ("by another authority", stranger.sign("app.internal")),
        ("for another name", authority.sign("other.internal")),
        ("its time is over", authority.sign_expired("app.internal")),
    ];
    for (what, identity) in cases {
        let server = Secured::start(origin.address, &identity);
        let edge = Edge::start_with(&config(&[&server], OWN_CA, ""), &[], |dir| {
            authority.write(dir)
        });

        let mut client = edge.connect();
        for asked in [get("/"), post("/", "text")] {
            let reply = asked.on(&mut client);
            assert_eq!(reply.status, 502, "{what}: {}", reply.text());
        }
        assert_eq!(origin.count(), 0, "{what}");
    }
}

#[test]
fn the_systems_trust_does_not_cover_a_private_authority() {
    let (origin, authority) = (Origin::saying("inside"), Authority::new());
    let server = behind_tls(&origin, &authority, "app.internal");
    let edge = Edge::start(&config(&[&server], "server_name: app.internal", ""), &[]);

    assert_eq!(get("/").on(&mut edge.connect()).status, 502);
    assert_eq!(origin.count(), 0);
}

#[test]
fn unverified_takes_any_certificate() {
    let (origin, stranger) = (Origin::saying("inside"), Authority::new());
    let server = behind_tls(&origin, &stranger, "whoever.internal");
    let edge = Edge::start(&config(&[&server], "verify: false", ""), &[]);

    let reply = get("/").on(&mut edge.connect()).expect(200);

    assert_eq!(reply.text(), "inside");
}

#[test]
fn a_server_that_fails_its_handshake_is_left_for_another() {
    let (origin, authority, stranger) =
        (Origin::saying("inside"), Authority::new(), Authority::new());
    let good = behind_tls(&origin, &authority, "app.internal");
    let bad = behind_tls(&origin, &stranger, "app.internal");
    let more = ", ejection: {consecutive_failures: 3, interval: 10s, for: 30s, max_ejected: 50%}";
    let text = config(&[&good, &bad], OWN_CA, more);
    let edge = Edge::start_with(&text, &[], |dir| authority.write(dir));
    let mut client = edge.connect();

    for i in 0..20 {
        let asked = if i % 2 == 0 {
            get("/")
        } else {
            post("/", "text")
        };
        asked.on(&mut client).expect(200);
    }

    assert_eq!(origin.count(), 20);
    eventually("the bad one is ejected", || {
        let shown = edge.admin("/api/v1/upstreams").expect("a page").text();
        shown.contains("ejected")
    });
}

#[test]
fn a_client_certificate_is_shown_to_servers_that_ask() {
    let (origin, authority) = (Origin::saying("inside"), Authority::new());
    let server = Secured::with(
        origin.address,
        &authority.sign("app.internal"),
        &["http/1.1"],
        Some(&authority),
    );
    let prepare = |dir: &Path| {
        authority.write(dir);
        authority.sign("edge.internal").write(dir, "edge");
    };
    let shown = format!("{OWN_CA}, certificate_file: $dir/edge.pem, key_file: $dir/edge.key");
    let edge = Edge::start_with(&config(&[&server], &shown, ""), &[], prepare);
    let without = Edge::start_with(&config(&[&server], OWN_CA, ""), &[], prepare);

    get("/").on(&mut edge.connect()).expect(200);
    let refused = get("/").on(&mut without.connect());

    assert_eq!(refused.status, 502);
    assert!(server.handshakes().iter().all(|h| h.has_certificate));
    assert_eq!(origin.count(), 1);
}

#[test]
fn http2_is_spoken_with_servers_that_choose_it() {
    let (origin, authority) = (Origin::saying("inside"), Authority::new());
    let identity = authority.sign("app.internal");
    let plain = Secured::with(origin.address, &identity, &["http/1.1"], None);
    let text = config(&[&plain], OWN_CA, ", protocol: http2");
    let edge = Edge::start_with(&text, &[], |dir| authority.write(dir));
    let mut client = edge.connect();

    get("/").on(&mut client).expect(200);
    post("/", "text").on(&mut client).expect(200);

    let spoken = plain
        .handshakes()
        .into_iter()
        .map(|h| h.alpn.expect("one was chosen"));
    assert!(
        spoken
            .collect::<Vec<_>>()
            .iter()
            .all(|alpn| alpn == "http/1.1")
    );

    let second = Edge::before(&origin);
    let able = Secured::with(second.web, &identity, &["h2", "http/1.1"], None);
    let text = config(&[&able], OWN_CA, ", protocol: http2");
    let edge = Edge::start_with(&text, &[], |dir| authority.write(dir));
    let mut client = edge.connect();

    get("/").on(&mut client).expect(200);
    post("/", "text").on(&mut client).expect(200);

    let spoken: Vec<_> = able.handshakes().into_iter().map(|h| h.alpn).collect();
    assert_eq!(spoken, ["h2", "h2"].map(|alpn| Some(alpn.to_owned())));
}

/// HTTP/1.1 alone switches protocols, so that is asked for whatever else the server can.
#[test]
fn an_upgrade_goes_inside_tls() {
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let origin = Origin::start(move |_| Answer::raw(switch).then(Step::Echo));
    let authority = Authority::new();
    let identity = authority.sign("app.internal");
    let server = Secured::with(origin.address, &identity, &["h2", "http/1.1"], None);
    let text = config(&[&server], OWN_CA, ", protocol: http2");
    let edge = Edge::start_with(&text, &[], |dir| authority.write(dir));
    let mut client = edge.connect();

    let upgrade = get("/")
        .with("connection", "upgrade")
        .with("upgrade", "websocket");
    upgrade.on(&mut client).expect(101);
    client.send("still there?");

    assert_eq!(client.read_exactly(12).expect("an echo"), b"still there?");
    assert_eq!(server.handshakes()[0].alpn.as_deref(), Some("http/1.1"));
}

/// Connections that were made under the old rules are not used under the new ones.
#[test]
fn a_reload_that_trusts_less_is_in_force_at_once() {
    let (origin, authority, stranger) =
        (Origin::saying("inside"), Authority::new(), Authority::new());
    let server = behind_tls(&origin, &authority, "app.internal");
    let text = config(&[&server], OWN_CA, "");
    let edge = Edge::start_with(&text, &[], |dir| authority.write(dir));
    let mut client = edge.connect();
    get("/").on(&mut client).expect(200);

    std::fs::write(edge.dir.join("ca.pem"), &stranger.pem).expect("the folder can be written");
    edge.reload(&text);

    assert_eq!(get("/").on(&mut client).status, 502);
    assert_eq!(origin.count(), 1);
}

#[test]
fn probes_go_over_tls_too() {
    let (origin, authority, stranger) =
        (Origin::saying("inside"), Authority::new(), Authority::new());
    let good = behind_tls(&origin, &authority, "app.internal");
    let bad = behind_tls(&origin, &stranger, "app.internal");
    let more = ", health_check: {path: /health, interval: 50ms, timeout: 2s, unhealthy_after: 2, healthy_after: 1, status: [200]}";
    let text = config(&[&good, &bad], OWN_CA, more);
    let edge = Edge::start_with(&text, &[], |dir| authority.write(dir));

    eventually("the bad one is down, and why is said", || {
        let shown = edge.admin("/api/v1/upstreams").expect("a page").text();
        shown.contains("\"down\"") && shown.contains("TLS handshake: invalid peer certificate")
    });

    let shown = edge.admin("/api/v1/upstreams").expect("a page").text();
    assert!(shown.contains("\"up\""), "{shown}");
}
