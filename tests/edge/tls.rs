//! TLS on listeners: who is shown which certificate, what is spoken, and what is not.

use crate::harness::{
    Answer, Authority, Client, Edge, Http2, Http3, Identity, Origin, Trust, eventually,
    free_address, get, h2, head, post,
};
use rustls::HandshakeKind::{Full, Resumed};
use rustls::{CipherSuite, ProtocolVersion};
use std::net::IpAddr;
use std::path::Path;

const ONE: &str = "certificates: [{cert_file: $dir/site.pem, key_file: $dir/site.key}]";

/// One certificate, for `edge.test`, and one route.
pub fn config(tls: &str, more: &str) -> String {
    format!(
        "
listeners: {{web: {{address: $web, tls: {{{tls}}}}}}}
upstreams: {{app: {{servers: [$0]}}}}
caches: {{pages: {{memory: 10MiB}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app, cache: {{in: pages}}}}]
{more}
"
    )
}

pub fn start(origin: &Origin, authority: &Authority, tls: &str, more: &str) -> Edge {
    let files = |dir: &Path| {
        authority.sign("edge.test").write(dir, "site");
        authority.write(dir);
    };
    Edge::start_with(&config(&format!("{ONE}{tls}"), more), &[origin], files)
}

fn cached() -> Origin {
    Origin::start(|_| Answer::of(200, &[("cache-control", "max-age=60")], "stored"))
}

/// Three certificates, and who they are for.
fn three(origin: &Origin, authority: &Authority, more: &str) -> (Edge, Vec<Identity>) {
    let lists = [
        &["first.test"][..],
        &["*.wild.test"],
        &["exact.wild.test", "other.test"],
    ];
    let identities: Vec<_> = lists
        .iter()
        .map(|names| authority.sign_for(names))
        .collect();
    let pair = |n: usize| format!("{{cert_file: $dir/{n}.pem, key_file: $dir/{n}.key}}");
    let tls = format!("certificates: [{}, {}, {}]", pair(0), pair(1), pair(2));
    let yaml = config(&tls, more).replace("$web,", "$web, http3: true,");
    let edge = Edge::start_with(&yaml, &[origin], |dir| {
        for (n, identity) in identities.iter().enumerate() {
            identity.write(dir, &n.to_string());
        }
    });
    (edge, identities)
}

#[test]
fn a_certificate_is_chosen_by_name() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let (edge, identities) = three(&origin, &authority, "");
    let trust = Trust::of(&authority);

    for name in ["first.test", "a.wild.test", "exact.wild.test", "other.test"] {
        // The client checks that it is for this name.
        let mut client = trust.connect(&edge, name);
        get("/").host(name).on(&mut client).expect(200);
    }

    for (name, serial) in [("exact.wild.test", 2), ("A.WILD.test", 1)] {
        let client = trust.connect(&edge, name);
        let shown = client.tls().peer_certificates().expect("one")[0].clone();
        assert_eq!(shown, identities[serial].der(), "{name}");
    }
    // For a name that nobody has, the first.
    let refused = trust.try_connect(edge.web, "nobody.test").err();
    let why = refused.expect("it is not for that name").to_string();
    assert!(why.contains("first.test"), "{why}");
    assert!(trust.try_connect(edge.web, "a.b.wild.test").is_err());
}

/// RFC 9110 §7.4, §15.5.20: a connection is good for the hosts that its certificate is for.
#[test]
fn a_request_on_another_hosts_connection_is_misdirected() {
    let (origin, authority) = (cached(), Authority::new());
    let (edge, _) = three(&origin, &authority, "");
    let trust = Trust::of(&authority);
    get("/")
        .host("other.test")
        .on(&mut trust.connect(&edge, "other.test"))
        .expect(200);

    for (name, host, status) in [
        ("first.test", "first.test", 200),
        ("first.test", "FIRST.test:8443", 200),
        ("first.test", "other.test", 421),
        ("first.test", "Other.test:8443", 421),
        ("first.test", "a.wild.test", 421),
        ("exact.wild.test", "other.test", 200),
        // By this certificate's wildcard, though there is one that names it.
        ("a.wild.test", "exact.wild.test", 200),
        ("exact.wild.test", "a.wild.test", 421),
        // Nobody's: there is no better connection to ask it on.
        ("first.test", "nobody.test", 200),
        ("other.test", "127.0.0.1", 200),
    ] {
        let mut http1 = trust.connect(&edge, name);
        let asked = get("/").host(host);
        let reply = asked.on(&mut http1);
        assert_eq!(reply.status, status, "{host} on {name}'s");
        if status == 421 {
            let problem = reply.expect_problem(421).json();
            assert_eq!(problem["type"], "urn:lakh:problem:misdirected");
        }
        // What was refused leaves the connection as it was.
        get("/").host(name).on(&mut http1).expect(200);
        let posted = post("/", "x").host(host).on(&mut http1);
        assert_eq!(posted.status, status, "{host} on {name}'s, by POST");

        let http2 = Http2::connect_tls(edge.web, &trust, name);
        let reply = http2.ask(&asked).head().expect("an answer");
        assert_eq!(reply.status, status, "{host} on {name}'s over HTTP/2");
        let mut http3 = Http3::connect(edge.web, &trust, name);
        assert_eq!(
            http3.send(&asked).status,
            status,
            "{host} on {name}'s over HTTP/3"
        );
    }
}

#[test]
fn who_names_nobody_or_is_trusted_asks_for_whom_they_like() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let (edge, _) = three(&origin, &authority, "");
    let trust = Trust::of(&authority);
    let elsewhere = get("/").host("other.test");
    let mut unnamed = trust.naming_nobody().connect(&edge, "first.test");
    elsewhere.on(&mut unnamed).expect(200);
    elsewhere
        .on(&mut trust.connect(&edge, "first.test"))
        .expect_problem(421);

    let (edge, _) = three(&origin, &authority, "trusted_proxies: [127.0.0.1]");
    elsewhere
        .on(&mut trust.connect(&edge, "first.test"))
        .expect(200);
}

#[test]
fn versions_below_the_lowest_are_refused() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let only_12 = Trust::speaking(&authority, &[&rustls::version::TLS12], None);
    let both = start(&origin, &authority, "", "");
    let only_13 = start(&origin, &authority, ", min_version: \"1.3\"", "");

    let mut client = only_12.connect(&both, "edge.test");
    get("/").on(&mut client).expect(200);
    let spoken = client.tls().protocol_version();
    assert_eq!(spoken, Some(ProtocolVersion::TLSv1_2));
    let client = Trust::of(&authority).connect(&only_13, "edge.test");
    let spoken = client.tls().protocol_version();
    assert_eq!(spoken, Some(ProtocolVersion::TLSv1_3));
    let suite = client.tls().negotiated_cipher_suite().expect("one").suite();
    assert_eq!(
        suite,
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        "by the edge's order"
    );

    let refused = only_12.try_connect(only_13.web, "edge.test").err();
    let why = refused.expect("too old").to_string();
    assert!(why.contains("ProtocolVersion"), "{why}");
    only_13.await_metric("lakh_tls_handshakes_total{outcome=\"failed\"}", 1.0);
    both.await_metric(
        "lakh_tls_handshakes_total{outcome=\"full\",version=\"1.2\"}",
        1.0,
    );
}

#[test]
fn both_http_versions_are_chosen_inside() {
    let (origin, authority) = (cached(), Authority::new());
    let edge = start(&origin, &authority, "", "");
    let trust = Trust::of(&authority);

    for _ in 0..2 {
        let reply = h2(edge.web, &trust.0, &get("/")).expect(200);
        assert_eq!(reply.text(), "stored");
    }
    h2(edge.web, &trust.0, &post("/", "text")).expect(200);

    let offers = trust.offering(&["h2", "http/1.1"]);
    let chosen = offers.connect(&edge, "edge.test");
    assert_eq!(chosen.tls().alpn_protocol(), Some(&b"h2"[..]));
    let chosen = trust.offering(&["http/1.1"]).connect(&edge, "edge.test");
    assert_eq!(chosen.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
    assert!(
        trust
            .offering(&["smtp"])
            .try_connect(edge.web, "edge.test")
            .is_err()
    );

    let lines = edge.access_log(3);
    assert!(
        lines.iter().all(|line| line["tls"] == "TLSv1.3"),
        "{lines:?}"
    );
    let seen = origin.seen();
    assert!(seen.iter().all(|s| s.the("x-forwarded-proto") == "https"));

    edge.reload(&config(ONE, "").replace("address: $web,", "address: $web, http2: false,"));
    let chosen = offers.connect(&edge, "edge.test");
    assert_eq!(chosen.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
}

/// RFC 9113 §3.4: no answer in HTTP/1.1, which the client would take for frames.
#[test]
fn who_agrees_on_http2_and_speaks_otherwise_is_left() {
    let (origin, authority) = (cached(), Authority::new());
    let edge = start(&origin, &authority, "", "");
    let h2 = Trust::of(&authority).offering(&["h2"]);
    for said in [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "INVALID",
        "PRI * HTTP/2.0\r\n\r\nSN",
    ] {
        let mut client = h2.connect(&edge, "edge.test");
        client.send(said);
        let told = client.read_exactly(9 + 17).expect("two frames");
        let (settings, go_away) = told.split_at(9);
        let kinds = (settings[3], go_away[3], go_away[16]);
        assert_eq!(
            kinds,
            (4, 7, 1),
            "SETTINGS, and GOAWAY of PROTOCOL_ERROR, not an answer to {said:?}"
        );
        assert!(client.closes());
    }
    eventually("three are counted as refused", || {
        edge.metric("lakh_bad_requests_total") == 3.0
    });
    assert_eq!(origin.seen().len(), 0);
}

/// Those with no body are answered on the connection itself, as without TLS.
#[test]
fn hits_and_pipelined_requests_are_answered_in_order() {
    let (origin, authority) = (cached(), Authority::new());
    let edge = start(&origin, &authority, "", "");
    let mut client = Trust::of(&authority).connect(&edge, "edge.test");

    get("/1").on(&mut client).expect(200);
    for _ in 0..20 {
        assert!(get("/1").on(&mut client).expect(200).is_hit());
    }
    let asked = [get("/1"), post("/1", "body"), head("/1"), get("/1")];
    let all: Vec<u8> = asked.iter().flat_map(|ask| ask.wire()).collect();
    client.send(&all);
    for ask in &asked {
        let reply = client.reply(&ask.method).expect(200);
        assert_eq!(reply.body.is_empty(), ask.method == "HEAD");
    }

    assert_eq!(edge.metric("lakh_tls_handshakes_total"), 1.0);
    let lines = edge.access_log(25);
    for line in &lines {
        assert_eq!(line["tls"], "TLSv1.3");
        assert_eq!(line["cipher"], "TLS_AES_128_GCM_SHA256");
        assert_eq!(line["sni"], "edge.test");
    }
}

#[test]
fn what_is_behind_learns_of_tls() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "", "security_headers: strict");
    let mut client = Trust::of(&authority).connect(&edge, "edge.test");
    let lie = get("/").with("x-forwarded-proto", "http");

    let reply = lie.on(&mut client).expect(200);
    post("/", "text")
        .with("x-forwarded-proto", "http")
        .on(&mut client)
        .expect(200);

    assert_eq!(
        reply.the("strict-transport-security"),
        "max-age=63072000; includeSubDomains"
    );
    let seen = origin.seen();
    assert!(
        seen.iter().all(|s| s.the("x-forwarded-proto") == "https"),
        "{seen:?}"
    );
}

/// Nothing proves that a client came without TLS, unless a proxy that is trusted says so.
#[test]
fn objects_of_http_and_https_are_not_the_same() {
    let origin = cached();
    let authority = Authority::new();
    let plain = free_address();
    let text = config(ONE, "").replace(
        "listeners: {web:",
        &format!("listeners: {{plain: {{address: {plain}}}, web:"),
    );
    let edge = Edge::start_with(&text, &[&origin], |dir| {
        authority.sign("edge.test").write(dir, "site");
    });
    let mut without = Client::connect(plain);
    let mut within = Trust::of(&authority).connect(&edge, "edge.test");

    get("/").on(&mut without).expect(200);
    assert!(!get("/").on(&mut within).expect(200).is_hit());
    assert!(get("/").on(&mut within).expect(200).is_hit());
    assert_eq!(origin.count(), 2);
}

#[test]
fn sessions_are_resumed_in_both_versions() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "", "");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let trust = Trust::speaking(&authority, &[version], None);
        for expected in [Full, Resumed, Resumed] {
            let mut client = trust.connect(&edge, "edge.test");
            get("/").on(&mut client).expect(200);
            assert_eq!(client.tls().handshake_kind(), Some(expected));
        }
        let other = trust.forgetful().connect(&edge, "edge.test");
        assert_eq!(other.tls().handshake_kind(), Some(Full));
    }
    for version in ["1.2", "1.3"] {
        let count = |outcome| {
            format!("lakh_tls_handshakes_total{{outcome=\"{outcome}\",version=\"{version}\"}}")
        };
        edge.await_metric(&count("resumed"), 2.0);
        edge.await_metric(&count("full"), 2.0);
    }
}

/// A client that asks nothing gets its tickets all the same.
#[test]
fn tickets_come_without_a_request() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "", "");
    let client = Trust::of(&authority).connect(&edge, "edge.test");
    assert!(client.has_answer_within(crate::harness::PATIENCE));
}

#[test]
fn a_request_without_tls_is_told_so() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "", "");

    let reply = get("/").send(&edge).expect_problem(400);
    assert!(reply.text().contains("https://"), "{}", reply.text());
    let mut client = edge.connect();
    client.send([0u8, 1, 2, 3]);
    assert!(client.closes());

    assert_eq!(origin.count(), 0);
    edge.await_metric("lakh_tls_handshakes_total{outcome=\"plain\"}", 1.0);
    edge.await_metric("lakh_bad_requests_total", 1.0);
    let told = edge.access_log(1)[0]["error"].to_string();
    assert!(told.contains("without TLS"), "{told}");
    edge.await_metric("lakh_tls_handshakes_total{outcome=\"failed\"}", 1.0);
}

#[test]
fn the_proxy_protocol_comes_before_tls() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let yaml = config(ONE, "trusted_proxies: [127.0.0.5/32]");
    let yaml = yaml.replace("address: $web,", "address: $web, proxy_protocol: true,");
    let edge = Edge::start_with(&yaml, &[&origin], |dir| {
        authority.sign("edge.test").write(dir, "site");
    });
    let proxy: IpAddr = [127, 0, 0, 5].into();
    let mut client = Client::connect_from(proxy, edge.web);
    client.send("PROXY TCP4 203.0.113.7 10.0.0.1 4660 443\r\n");
    let mut client = client
        .secure(Trust::of(&authority).begin("edge.test"))
        .expect("TLS");

    get("/").on(&mut client).expect(200);

    let seen = &origin.seen()[0];
    assert_eq!(seen.the("x-forwarded-for"), "203.0.113.7");
    assert_eq!(seen.the("x-forwarded-proto"), "https");
    // And in one piece with what follows.
    let mut client = Client::connect_from(proxy, edge.web);
    let mut tls = Trust::of(&authority).begin("edge.test");
    let mut both = b"PROXY TCP4 203.0.113.8 10.0.0.1 4660 443\r\n".to_vec();
    tls.write_tls(&mut both).expect("memory takes it");
    client.send(&both);
    let mut client = client.secure(tls).expect("TLS");
    get("/").on(&mut client).expect(200);
}

#[test]
fn who_comes_without_tls_is_sent_to_it() {
    let origin = Origin::saying("hello");
    let authority = Authority::new();
    let plain = free_address();
    let redirect = format!("address: $web, redirect_http: {plain}, redirect_port: 443,");
    let yaml = config(ONE, "trusted_proxies: [127.0.0.9/32]");
    let edge = Edge::start_with(
        &yaml.replace("address: $web,", &redirect),
        &[&origin],
        |dir| {
            authority.sign("edge.test").write(dir, "site");
        },
    );
    let mut client = Client::connect(plain);

    for ask in [
        get("/a?b=1"),
        head("/a?b=1"),
        get("/a?b=1").host("edge.test:80"),
    ] {
        let reply = ask.on(&mut client).expect(308);
        assert_eq!(reply.the("location"), "https://edge.test/a?b=1");
    }
    let reply = post("/a", "body").on(&mut client).expect(308);
    assert_eq!(reply.the("location"), "https://edge.test/a");
    assert_eq!(origin.count(), 0);

    get("/.well-known/acme-challenge/x")
        .on(&mut Client::connect(plain))
        .expect(200);
    let proxied = get("/").with("x-forwarded-proto", "https");
    let mut proxy = Client::connect_from([127, 0, 0, 9].into(), plain);
    proxied.on(&mut proxy).expect(200);
    proxied.on(&mut Client::connect(plain)).expect(308);
    assert_eq!(origin.count(), 2);
    let log = edge.access_log(7);
    assert_eq!(log.iter().filter(|line| line["status"] == 308).count(), 5);

    edge.reload(&yaml.replace("address: $web,", &redirect.replace("443", "8443")));
    let reply = get("/").on(&mut Client::connect(plain)).expect(308);
    assert_eq!(reply.the("location"), "https://edge.test:8443/");
    edge.reload(&yaml);
    eventually("it is closed", || {
        std::net::TcpStream::connect(plain).is_err()
    });
}
