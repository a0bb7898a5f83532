//! What is not HTTP, or is HTTP that two readers might read differently.

use crate::harness::{Edge, Origin, get, noise};

/// Each is refused with 400 and the connection is closed, and nothing of it reaches the origin.
const MALFORMED: &[(&str, &[u8])] = &[
    ("no version", b"GET /\r\n\r\n"),
    ("no target", b"GET HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("no method", b" / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a method that is no token", b"G@T / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a method in parentheses", b"(GET) / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("an unknown version", b"GET / HTTP/9.9\r\nHost: h\r\n\r\n"),
    ("HTTP/2 without its preface", b"GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
    ("a version in small letters", b"GET / http/1.1\r\nHost: h\r\n\r\n"),
    ("a version of another protocol", b"GET / RTSP/1.0\r\nHost: h\r\n\r\n"),
    ("a space in the target", b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a tab for a space", b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a NUL in the target", b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a control character in the target", b"GET /\x07 HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a target that is neither path nor URL", b"GET x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("a fragment", b"GET /#x HTTP/1.1\r\nHost: h\r\n\r\n"),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n"),
    ("two Hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("two Hosts that agree", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    ("a Host with a space", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    ("a Host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("a Host with a user", b"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"),
    ("a list of Hosts", b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    ("a space before the colon", b"GET / HTTP/1.1\r\nHost: h\r\nName : v\r\n\r\n"),
    ("a tab before the colon", b"GET / HTTP/1.1\r\nHost: h\r\nName\t: v\r\n\r\n"),
    ("a folded line", b"GET / HTTP/1.1\r\nHost: h\r\nName: v\r\n more\r\n\r\n"),
    ("a folded first line", b"GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
    ("a line without a colon", b"GET / HTTP/1.1\r\nHost: h\r\nName\r\n\r\n"),
    ("an empty name", b"GET / HTTP/1.1\r\nHost: h\r\n: v\r\n\r\n"),
    ("a name in parentheses", b"GET / HTTP/1.1\r\nHost: h\r\nna(me): v\r\n\r\n"),
    ("a name that is not ASCII", b"GET / HTTP/1.1\r\nHost: h\r\nn\xC3\xA4me: v\r\n\r\n"),
    ("a NUL in a name", b"GET / HTTP/1.1\r\nHost: h\r\nna\0me: v\r\n\r\n"),
    ("a NUL in a value", b"GET / HTTP/1.1\r\nHost: h\r\nname: a\0b\r\n\r\n"),
    ("a CR in a value", b"GET / HTTP/1.1\r\nHost: h\r\nname: a\rb\r\n\r\n"),
    ("lines that end without CR", b"GET / HTTP/1.1\nHost: h\n\n"),
    ("a line that ends without CR", b"GET / HTTP/1.1\r\nHost: h\nname: v\r\n\r\n"),
    ("a length and chunks", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunks and a length", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("two lengths", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    ("two lengths in a list", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 6\r\n\r\nhello!"),
    ("a length with a sign", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello"),
    ("a negative length", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\nhello"),
    ("a hexadecimal length", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\nhello"),
    ("a length with a fraction", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5.0\r\n\r\nhello"),
    ("a length with a space in it", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1 1\r\n\r\nhello"),
    ("an empty length", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nhello"),
    ("a length beyond all numbers", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\nhello"),
    ("a coding that is not known", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("a coding that does not end with chunked", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("chunked twice", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("chunked in two lines", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a vertical tab before chunked", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0Bchunked\r\n\r\n0\r\n\r\n"),
    ("chunks in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("TLS", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n"),
    ("a chunk size that is no number", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n"),
    ("a negative chunk size", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with a prefix", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n"),
    ("no chunk size", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size beyond all numbers", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n"),
    ("a chunk that is longer than it says", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size that ends without CR", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n"),
];

#[test]
fn what_is_malformed_is_refused_and_never_passed_on() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);

    let mut wrong = Vec::new();
    for (what, bytes) in MALFORMED {
        let mut client = edge.connect();
        client.send(bytes);
        match client.try_reply("GET") {
            Ok(reply) if reply.status != 400 => wrong.push(format!("{what}: {}", reply.status)),
            Ok(reply) if reply.field("x-request-id").is_none() => {
                wrong.push(format!("{what}: no request id"))
            }
            Ok(_) if !client.closes() => wrong.push(format!("{what}: stays open")),
            Ok(_) => {}
            Err(e) => wrong.push(format!("{what}: {e}")),
        }
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
    let passed: Vec<_> = origin.seen().into_iter().map(|seen| seen.head).collect();
    assert!(passed.is_empty(), "{passed:#?}");
    assert!(edge.metric("lakh_bad_requests_total") >= 50.0);
    get("/").send(&edge).expect(200);
}

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
fn a_get_with_a_body_smuggles_nothing() {
    let origin = Origin::start(|seen| {
        crate::harness::Answer::ok(format!("{} {}", seen.target, seen.body.len()))
    });
    let edge = Edge::before(&origin);
    let mut client = edge.connect();
    let inner = "GET /inner HTTP/1.1\r\nHost: h\r\n\r\n";

    client.send(format!(
        "GET /outer HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{inner}",
        inner.len()
    ));
    client.send(get("/after").wire());

    assert_eq!(
        client.reply("GET").expect(200).text(),
        format!("/outer {}", inner.len())
    );
    assert_eq!(client.reply("GET").expect(200).text(), "/after 0");
    assert_eq!(origin.count(), 2);
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
    assert_eq!(edge.metric(r#"lakh_requests_total{class="4xx"}"#), 1.0);
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
