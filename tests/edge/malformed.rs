//! What comes after a request that is refused or breaks off; the cases themselves are in `raw`.

use crate::harness::{Edge, Origin, get, noise};

#[test]
fn what_follows_a_malformed_request_is_not_answered() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    client.send(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
    );

    client.reply("POST").expect(400);
    assert!(client.closes());
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_refused_request_does_not_leave_its_body_behind() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
routes: [{name: denied, match: {path: /*}, upstream: app, deny: [127.0.0.0/8]}]
",
        &[&origin],
    );
    let mut client = edge.connect();
    let inner = "GET /inner HTTP/1.1\r\nHost: h\r\n\r\n";

    client.send(format!(
        "POST /outer HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    ));

    client.reply("POST").expect_problem(403);
    // Either the body is read away or the connection ends; it is never taken for a request.
    client.end();
    assert!(client.closes(), "there is one answer to one request");
    assert_eq!(edge.metric(r#"lakh_http_requests_total{code="403"}"#), 1.0);
}

/// RFC 9110 §9.3.6 and §15.5.6.
#[test]
fn connect_is_refused_as_all_else_is_that_is_refused() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let counted = r#"lakh_http_requests_total{code="405",method="CONNECT",route="-"}"#;
    let mut refused = 0;
    for (target, host) in [
        ("bank.example:443", "bank.example:443"),
        ("bank.example:443", "other.example"),
        ("bank.example", "bank.example"),
        ("bank.example:99999", "bank.example"),
        ("http://bank.example/x", "bank.example"),
        ("/x", "bank.example"),
    ] {
        let mut client = edge.connect();
        client.send(format!(
            "CONNECT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\n\r\n{{}}"
        ));
        let reply = client.reply("POST").expect_problem(405);
        assert!(reply.the("allow").contains("GET, HEAD, POST"), "{target}");
        assert_eq!(reply.field("server"), None, "{target}");
        assert!(client.closes(), "{target}: what follows may be a tunnel's");
        refused += 1;
        edge.await_metric(counted, f64::from(refused));
        let lines = edge.access_log(refused as usize);
        let line = lines.last().expect("a line");
        assert_eq!(line["id"], reply.the("x-request-id"), "{target}");
        assert_eq!(
            (&line["method"], &line["status"]),
            (&"CONNECT".into(), &405.into())
        );
        assert!(
            line["host"]
                .as_str()
                .is_some_and(|h| h.starts_with("bank.example")),
            "{line}"
        );
    }
    let mut client = edge.connect();
    client.send("CONNECT me@bank.example:443 HTTP/1.1\r\nHost: bank.example\r\n\r\n");
    client.reply("GET").expect_problem(400);
    assert_eq!(origin.count(), 0);
}

#[test]
fn noise_panics_nobody() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);

    for n in 0..100 {
        let mut client = edge.connect();
        let mut bytes = noise(50 + n * 7, n as u64);
        if n % 2 == 0 {
            bytes.splice(
                0..0,
                *b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
        }
        client.send(bytes);
        client.end();
        // Refused or just closed, but not left hanging.
        while client.try_reply("GET").is_ok() {}
    }

    get("/").send(&edge).expect(200);
    edge.await_metric("lakh_in_flight", 0.0);
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_client_that_leaves_in_the_middle_is_no_trouble() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let request = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789";

    for end in 1..request.len() {
        let mut client = edge.connect();
        client.send(&request[..end]);
    }

    edge.await_metric("lakh_connections", 0.0);
    edge.await_metric("lakh_in_flight", 0.0);
    assert_eq!(origin.count(), 0);
    get("/").send(&edge).expect(200);
}
