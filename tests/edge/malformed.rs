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

#[test]
fn methods_that_no_gateway_serves() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);

    let mut client = edge.connect();
    client.send("CONNECT bank.example:443 HTTP/1.1\r\nHost: bank.example:443\r\n\r\n");
    let status = client.reply("HEAD").status;
    assert!((400..=501).contains(&status), "CONNECT: {status}");
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
