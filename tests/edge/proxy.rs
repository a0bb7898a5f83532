//! What passes through, what is added, and what must not pass.

use crate::harness::{Answer, Ask, Client, Edge, Origin, Step, ask, get, h2c, head, noise, post};

const LARGE: usize = 20 << 20;

const LARGE_BODIES: &str = "
limits: {body_size: 32MiB}
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";

#[test]
fn a_request_and_its_answer_pass() {
    let origin = Origin::start(|_| {
        Answer::of(
            201,
            &[("x-own", "1"), ("set-cookie", "a=1"), ("set-cookie", "b=2")],
            "made",
        )
    });
    let edge = Edge::before(&origin);

    let reply = ask("PUT", "/a%20b/c?x=1&y=%2F")
        .with("x-mine", "2")
        .send(&edge)
        .expect(201);

    assert_eq!(reply.text(), "made");
    assert_eq!(reply.the("x-own"), "1");
    assert_eq!(reply.all("set-cookie"), ["a=1", "b=2"]);
    let seen = origin.the_request();
    assert_eq!(
        (&*seen.method, &*seen.target),
        ("PUT", "/a%20b/c?x=1&y=%2F")
    );
    assert_eq!(seen.the("host"), "edge.test");
    assert_eq!(seen.the("x-mine"), "2");
}

#[test]
fn hop_by_hop_fields_stay_on_the_clients_side() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);

    get("/")
        .with("connection", "keep-alive, X-Secret-Hop")
        .with("x-secret-hop", "1")
        .with("keep-alive", "timeout=5")
        .with("proxy-connection", "keep-alive")
        .with("te", "trailers, deflate")
        .with("trailer", "x-sum")
        .with("x-end-to-end", "1")
        .send(&edge)
        .expect(200);

    let seen = origin.the_request();
    for gone in ["x-secret-hop", "keep-alive", "proxy-connection", "trailer"] {
        assert_eq!(seen.field(gone), None, "{}", seen.head);
    }
    assert!(
        !seen.head.to_lowercase().contains("deflate"),
        "{}",
        seen.head
    );
    assert!(
        !seen.head.to_lowercase().contains("x-secret-hop"),
        "{}",
        seen.head
    );
    assert_eq!(seen.the("x-end-to-end"), "1");
}

#[test]
fn hop_by_hop_fields_stay_on_the_origins_side() {
    let hops = [
        ("connection", "keep-alive, x-origin-hop"),
        ("x-origin-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("x-end-to-end", "1"),
    ];
    let origin = Origin::start(move |_| Answer::of(200, &hops, "hello"));
    let edge = Edge::before(&origin);

    let reply = get("/").send(&edge).expect(200);

    for gone in ["x-origin-hop", "keep-alive", "proxy-connection"] {
        assert_eq!(reply.field(gone), None, "{reply:?}");
    }
    assert!(
        !reply
            .all("connection")
            .iter()
            .any(|v| v.contains("x-origin-hop")),
        "{reply:?}"
    );
    assert_eq!(reply.the("x-end-to-end"), "1");
}

#[test]
fn the_origin_learns_who_asked() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);

    get("/")
        .host("shop.example:8080")
        .from("127.0.0.2")
        .send(&edge)
        .expect(200);

    let seen = origin.the_request();
    assert_eq!(seen.the("x-forwarded-for"), "127.0.0.2");
    assert_eq!(seen.the("x-forwarded-proto"), "http");
    assert_eq!(seen.the("x-forwarded-host"), "shop.example:8080");
}

#[test]
fn what_a_stranger_claims_is_replaced() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);

    let reply = get("/")
        .with("x-forwarded-for", "10.9.9.9")
        .with("x-forwarded-for", "10.8.8.8")
        .with("x-forwarded-proto", "https")
        .with("x-forwarded-host", "bank.example")
        .with("forwarded", "for=10.9.9.9")
        .with("x-request-id", "chosen-by-a-stranger")
        .send(&edge)
        .expect(200);

    let seen = origin.the_request();
    assert_eq!(seen.the("x-forwarded-for"), "127.0.0.1");
    assert_eq!(seen.the("x-forwarded-proto"), "http");
    assert_eq!(seen.the("x-forwarded-host"), "edge.test");
    assert!(!seen.head.contains("10.9.9.9"), "{}", seen.head);
    assert_ne!(seen.the("x-request-id"), "chosen-by-a-stranger");
    assert_eq!(reply.the("x-request-id"), seen.the("x-request-id"));
}

#[test]
fn a_trusted_proxy_is_believed_and_a_stranger_beside_it_is_not() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
trusted_proxies: [127.0.0.5/32]
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
",
        &[&origin],
    );
    let claims = get("/")
        .with("x-forwarded-for", "203.0.113.7")
        .with("x-forwarded-proto", "https")
        .with("x-forwarded-host", "shop.example")
        .with("x-request-id", "from-the-balancer");

    let reply = claims.clone().from("127.0.0.5").send(&edge).expect(200);
    claims.from("127.0.0.6").send(&edge).expect(200);

    let seen = origin.seen();
    assert_eq!(seen[0].the("x-forwarded-for"), "203.0.113.7, 127.0.0.5");
    assert_eq!(seen[0].the("x-forwarded-proto"), "https");
    assert_eq!(seen[0].the("x-forwarded-host"), "shop.example");
    assert_eq!(seen[0].the("x-request-id"), "from-the-balancer");
    assert_eq!(reply.the("x-request-id"), "from-the-balancer");
    assert_eq!(seen[1].the("x-forwarded-for"), "127.0.0.6");
    assert_eq!(seen[1].the("x-forwarded-proto"), "http");
}

/// RFC 7239.
#[test]
fn a_trusted_proxy_is_believed_in_forwarded_too() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
trusted_proxies: [127.0.0.5/32]
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app, security_headers: strict}]
",
        &[&origin],
    );
    let told = get("/").with(
        "forwarded",
        "for=_x, for=203.0.113.7;proto=http;host=b, for=\"[2001:db8::1]:80\"",
    );
    let first = get("/").with(
        "forwarded",
        "for=203.0.113.7;proto=HTTPS;host=\"shop.example:81\", for=10.0.0.1;proto=http",
    );
    let both = first
        .clone()
        .with("x-forwarded-proto", "http")
        .with("x-forwarded-host", "other")
        .with("x-forwarded-for", "10.0.0.9");

    told.from("127.0.0.5").send(&edge).expect(200);
    let secure = first.clone().from("127.0.0.5").send(&edge).expect(200);
    both.from("127.0.0.5").send(&edge).expect(200);
    let open = first.send(&edge).expect(200);

    assert!(secure.field("strict-transport-security").is_some());
    assert_eq!(open.field("strict-transport-security"), None);
    let seen = origin.seen();
    let told = |n: usize| {
        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].map(|name| seen[n].the(name))
    };
    assert_eq!(
        told(0),
        ["203.0.113.7, 2001:db8::1, 127.0.0.5", "http", "edge.test"]
    );
    assert_eq!(
        told(1),
        [
            "203.0.113.7, 10.0.0.1, 127.0.0.5",
            "https",
            "shop.example:81"
        ]
    );
    assert_eq!(told(2), ["10.0.0.9, 127.0.0.5", "http", "other"]);
    assert_eq!(told(3), ["127.0.0.1", "http", "edge.test"]);
    assert_eq!(seen[3].field("forwarded"), None);
}

/// RFC 9110 §7.6.2.
#[test]
fn who_may_be_sent_on_no_more_is_answered_here() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let left = |method: &str, left: u8| ask(method, "/").with("max-forwards", left);

    let options = left("OPTIONS", 0).send(&edge).expect(204);
    let trace = left("TRACE", 0).send(&edge).expect(405);
    assert!(options.the("allow").contains("OPTIONS"));
    assert!(trace.the("allow").contains("OPTIONS"));
    assert_eq!(trace.json()["type"], "urn:lakh:problem:not-traced");
    left("TRACE", 3).send(&edge).expect(405);
    h2c(edge.web, &ask("TRACE", "/")).expect(405);
    h2c(edge.web, &left("OPTIONS", 0)).expect(204);
    assert_eq!(origin.count(), 0);

    left("OPTIONS", 3).send(&edge).expect(200);
    left("GET", 0).send(&edge).expect(200);
    ask("OPTIONS", "/").send(&edge).expect(200);
    let seen: Vec<_> = origin
        .seen()
        .iter()
        .map(|seen| seen.field("max-forwards").map(str::to_owned))
        .collect();
    assert_eq!(seen, [Some("2".to_owned()), Some("0".to_owned()), None]);
}

#[test]
fn a_stranger_tells_nothing_that_only_proxies_tell_however_it_is_spelled() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
trusted_proxies: [127.0.0.5/32]
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
",
        &[&origin],
    );
    let disguised = [
        "X_Forwarded_For",
        "x-forwarded_proto",
        "X_Real_IP",
        "X_Request_ID",
        "Content_Length",
        "Transfer_Encoding",
    ];
    let told = [
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Ssl",
        "X-Real-IP",
    ];
    let with = |ask: Ask| {
        disguised
            .iter()
            .chain(&told)
            .fold(ask, |ask, name| ask.with(name, "9"))
    };

    for ask in [get("/"), post("/", "text")] {
        with(ask.clone()).send(&edge).expect(200);
        with(ask).from("127.0.0.5").send(&edge).expect(200);
    }
    h2c(edge.web, &with(get("/"))).expect(200);

    for (number, seen) in origin.seen().iter().enumerate() {
        for name in disguised {
            assert_eq!(seen.field(&name.to_lowercase()), None, "{number}: {name}");
        }
        let is_trusted = number % 2 == 1;
        for name in told {
            let field = seen.field(&name.to_lowercase());
            assert_eq!(field.is_some(), is_trusted, "{number}: {name}");
        }
    }
    assert_eq!(origin.count(), 5);
}

#[test]
fn every_request_has_an_id_of_its_own() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    let ids: Vec<_> = (0..3)
        .map(|_| get("/").on(&mut client).the("x-request-id").to_owned())
        .collect();

    let seen: Vec<_> = origin
        .seen()
        .iter()
        .map(|seen| seen.the("x-request-id").to_owned())
        .collect();
    assert_eq!(ids, seen);
    assert!(
        ids[0] != ids[1] && ids[1] != ids[2] && ids[0].len() >= 16,
        "{ids:?}"
    );
}

#[test]
fn via_tells_of_the_edge_both_ways() {
    let origin = Origin::start(|_| Answer::of(200, &[("via", "1.1 inner")], "hello"));
    let edge = Edge::before(&origin);

    let reply = get("/").with("via", "1.0 outer").send(&edge).expect(200);

    assert_eq!(reply.all("via").join(", "), "1.1 inner, 1.1 lakh");
    let seen = origin.the_request();
    let via: Vec<_> = seen
        .fields
        .iter()
        .filter(|(n, _)| n == "via")
        .map(|(_, v)| v.as_str())
        .collect();
    assert_eq!(via.join(", "), "1.0 outer, 1.1 lakh");
}

#[test]
fn h2c_get_and_post() {
    let origin =
        Origin::start(|seen| Answer::ok([seen.method.as_bytes(), b":", &seen.body].concat()));
    let edge = Edge::before(&origin);

    let got = h2c(edge.web, &get("/a?b=c").host("shop.example")).expect(200);
    let posted = h2c(
        edge.web,
        &post("/p", noise(100_000, 1)).host("shop.example"),
    )
    .expect(200);

    assert_eq!(got.text(), "GET:");
    assert_eq!(posted.body, [b"POST:", &noise(100_000, 1)[..]].concat());
    let seen = origin.seen();
    assert_eq!(seen[0].target, "/a?b=c");
    for request in &seen {
        assert_eq!(request.the("host"), "shop.example");
        assert_eq!(request.the("x-forwarded-host"), "shop.example");
        assert_eq!(request.the("x-forwarded-for"), "127.0.0.1");
    }
    assert_eq!(got.the("x-request-id"), seen[0].the("x-request-id"));
}

#[test]
fn h2c_is_refused_where_the_listener_does_not_speak_it() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
listeners: {web: {address: $web, http2: false}}
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
",
        &[&origin],
    );
    let mut client = edge.connect();

    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

    client.reply("GET").expect(400);
    assert!(client.closes());
    get("/").send(&edge).expect(200);
}

#[test]
fn a_body_arrives_whole_with_a_length_and_in_chunks() {
    let origin = Origin::start(|seen| Answer::ok(&seen.body));
    let edge = Edge::before(&origin);
    let body = noise(300_000, 2);
    let mut client = edge.connect();

    let with_length = post("/", &body).on(&mut client).expect(200);
    let in_chunks = post("/", &body).chunked().on(&mut client).expect(200);
    let empty = post("/", "").on(&mut client).expect(200);
    let empty_chunks = post("/", "").chunked().on(&mut client).expect(200);

    assert!(
        with_length.body == body && in_chunks.body == body,
        "bodies differ"
    );
    assert!(empty.body.is_empty() && empty_chunks.body.is_empty());
    assert_eq!(origin.count(), 4);
}

#[test]
fn large_bodies_are_the_same_to_the_last_byte() {
    let origin = Origin::start(|seen| match seen.path() {
        "/in-chunks" => Answer::chunked(&[], &seen.body),
        _ => Answer::ok(&seen.body),
    });
    let edge = Edge::start(LARGE_BODIES, &[&origin]);
    let body = noise(LARGE, 3);

    for ask in [post("/", &body), post("/in-chunks", &body).chunked()] {
        let reply = ask.send(&edge).expect(200);
        assert!(reply.body == body, "{} differs", ask.target);
    }
}

#[test]
fn large_bodies_are_the_same_over_h2c() {
    let origin = Origin::start(|seen| Answer::ok(&seen.body));
    let edge = Edge::start(LARGE_BODIES, &[&origin]);
    let body = noise(LARGE, 4);

    let reply = h2c(edge.web, &post("/", &body)).expect(200);

    assert!(reply.body == body, "bodies differ");
}

#[test]
fn an_answer_passes_while_it_comes() {
    let gate = crate::harness::Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| {
        let first = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        Answer::raw(first)
            .then(Step::Wait(held.clone()))
            .then_send("4\r\nlast\r\n0\r\n\r\n")
    });
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    client.send(get("/").wire());
    client.read_head().expect("the head");
    assert_eq!(client.read_chunk().expect("the first chunk"), b"first");
    gate.open();
    assert_eq!(client.read_chunk().expect("the last chunk"), b"last");
    assert_eq!(client.read_chunk().expect("the end"), b"");
}

#[test]
fn head_has_fields_and_no_body() {
    let origin = Origin::start(|seen| {
        let whole = Answer::of(200, &[("x-own", "1")], "twelve bytes");
        if seen.method == "HEAD" {
            whole.without_body()
        } else {
            whole
        }
    });
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    let reply = head("/").on(&mut client).expect(200);
    let after = get("/").on(&mut client).expect(200);

    assert_eq!(reply.the("content-length"), "12");
    assert_eq!(reply.the("x-own"), "1");
    assert_eq!(after.text(), "twelve bytes", "the connection is in step");
}

#[test]
fn statuses_without_a_body_have_none() {
    let origin = Origin::start(|seen| match seen.path() {
        "/304" => Answer::of(304, &[("etag", "\"1\"")], ""),
        _ => Answer::of(204, &[], ""),
    });
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    let not_modified = get("/304")
        .with("if-none-match", "\"1\"")
        .on(&mut client)
        .expect(304);
    let no_content = get("/204").on(&mut client).expect(204);
    get("/304").on(&mut client).expect(304);

    assert_eq!(not_modified.the("etag"), "\"1\"");
    assert_eq!(no_content.field("content-length"), None);
    assert_eq!(no_content.field("transfer-encoding"), None);
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let origin = Origin::start(|_| {
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        Answer::raw(switch).then(Step::Echo)
    });
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    let upgrade = get("/chat")
        .with("connection", "Upgrade")
        .with("upgrade", "websocket")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    let reply = upgrade.on(&mut client).expect(101);

    assert_eq!(reply.the("upgrade"), "websocket");
    assert_eq!(reply.the("connection").to_ascii_lowercase(), "upgrade");
    assert_eq!(
        reply.the("sec-websocket-accept"),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    for said in [noise(10, 5), noise(200_000, 6)] {
        client.send(&said);
        assert!(
            client.read_exactly(said.len()).expect("an echo") == said,
            "the echo differs"
        );
    }
    let seen = origin.the_request();
    assert_eq!(seen.the("upgrade"), "websocket");
    assert_eq!(seen.the("connection").to_ascii_lowercase(), "upgrade");
    client.end();
    assert!(client.closes());
}

#[test]
fn an_upgrade_that_the_origin_declines_is_a_plain_answer() {
    let origin = Origin::saying("no");
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    let upgrade = get("/")
        .with("connection", "upgrade")
        .with("upgrade", "websocket");
    assert_eq!(upgrade.on(&mut client).expect(200).text(), "no");
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let origin = Origin::start(|seen| Answer::ok(&seen.target));
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    let asked: Vec<u8> = (0..20)
        .flat_map(|n| post(&format!("/{n}"), noise(n * 100, 7)).wire())
        .collect();
    client.send(asked);

    for n in 0..20 {
        assert_eq!(client.reply("POST").expect(200).text(), format!("/{n}"));
    }
}

#[test]
fn an_http_1_0_client_gets_no_chunks() {
    let origin = Origin::start(|_| Answer::chunked(&[], b"three chunks long"));
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    client.send("GET / HTTP/1.0\r\nHost: edge.test\r\n\r\n");

    let reply = client.reply("GET").expect(200);
    assert_eq!(reply.field("transfer-encoding"), None);
    assert_eq!(reply.text(), "three chunks long");
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let origin = Origin::start(|seen| Answer::ok(&seen.body));
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    client.send(
        "POST / HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(
        client.read_head().expect("an answer to the head").status,
        100
    );
    client.send("hello");

    assert_eq!(client.reply("POST").expect(200).text(), "hello");
}

#[test]
fn a_request_for_an_absolute_target_reaches_the_origin_as_a_path() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    client.send("GET http://shop.example/a?b HTTP/1.1\r\nHost: shop.example\r\n\r\n");

    client.reply("GET").expect(200);
    let seen = origin.the_request();
    assert_eq!(seen.target, "/a?b");
    assert_eq!(seen.the("host"), "shop.example");
}

#[test]
fn of_a_target_and_a_host_that_differ_the_target_counts() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    client.send("GET http://shop.example/a?b HTTP/1.1\r\nHost: other.example\r\n\r\n");

    // RFC 9112 §3.2.2; to refuse it is as safe.
    let reply = client.reply("GET");
    if reply.status == 400 {
        reply.expect_problem(400);
        assert_eq!(origin.count(), 0);
    } else {
        reply.expect(200);
        assert_eq!(origin.the_request().the("host"), "shop.example");
    }
}

#[test]
fn an_origin_that_breaks_off_is_not_passed_off_as_whole() {
    let origin = Origin::start(|seen| match seen.path() {
        "/length" => {
            Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").then(Step::Close)
        }
        "/chunks" => {
            Answer::raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
                .then(Step::Close)
        }
        "/reset" => {
            Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").then(Step::Reset)
        }
        _ => Answer::raw("HTTP/1.1 200 O").then(Step::Close),
    });
    let edge = Edge::before(&origin);

    for target in ["/length", "/chunks", "/reset"] {
        let answered = get(target).try_on(&mut Client::connect(edge.web));
        assert!(answered.is_err(), "{target}: {answered:?}");
    }
    get("/head").send(&edge).expect_problem(502);
}

#[test]
fn an_answer_that_is_not_http_is_502() {
    let origin = Origin::start(|_| Answer::raw("SSH-2.0-OpenSSH_9.2\r\n\r\n").then(Step::Close));
    let edge = Edge::before(&origin);

    get("/").send(&edge).expect_problem(502);
}
