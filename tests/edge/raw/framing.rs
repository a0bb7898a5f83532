//! Where a body ends: by its length or its chunks, and by nothing else.

use super::{Arrived, Case, all, arrived, passed};
use crate::harness::{Edge, Origin};

#[test]
fn a_body_ends_where_its_framing_says() {
    all(BODIES);
}

const INNER: &str = "GET /inner HTTP/1.1\r\nHost: h\r\n\r\n";

#[rustfmt::skip]
const BODIES: &[Case] = &[
    passed("6.3", "a body that looks like a request", b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 32\r\n\r\nGET /inner HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n", &[200, 200],
        &[Arrived { body: INNER, ..arrived("POST /a") }, arrived("GET /b")]),
    passed("6.3", "a GET's body that looks like a request", b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 32\r\n\r\nGET /inner HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n", &[200, 200],
        &[Arrived { body: INNER, ..arrived("GET /a") }, arrived("GET /b")]),
    passed("7.1", "a chunk that looks like a request", b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nGET /inner HTTP/1.1\r\nHost: h\r\n\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n", &[200, 200],
        &[Arrived { body: INNER, ..arrived("POST /a") }, arrived("GET /b")]),
    passed("7.1", "chunks", b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", &[200],
        &[Arrived { lacks: &["content-length"], body: "hello", ..arrived("POST /a") }]),
    passed("7", "the coding's name in capital letters", b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[200],
        &[Arrived { lacks: &["content-length"], body: "hello", ..arrived("POST /a") }]),
    passed("7", "space around the coding's name", b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \tchunked \r\n\r\n5\r\nhello\r\n0\r\n\r\n", &[200],
        &[Arrived { lacks: &["content-length"], body: "hello", ..arrived("POST /a") }]),
    passed("7.1", "a chunk size in capital letters", b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n", &[200],
        &[Arrived { body: "0123456789", ..arrived("POST /a") }]),
    passed("7.1", "a chunk size with zeros before it", b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n000\r\n\r\n", &[200],
        &[Arrived { body: "hello", ..arrived("POST /a") }]),
    passed("7.1.1", "a chunk's extension is not passed on", b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c\r\nhello\r\n0;d\r\n\r\n", &[200],
        &[Arrived { body: "hello", ..arrived("POST /a") }]),
    passed("7.1.1", "a chunk's extension in quotes", b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", &[200],
        &[Arrived { body: "hello", ..arrived("POST /a") }]),
    passed("7.1.2", "a trailer is no header", b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n", &[200, 200],
        &[Arrived { lacks: &["x-late"], body: "hello", ..arrived("POST /a") }, arrived("GET /b")]),
    passed("9110 6.5.1", "a trailer that would frame or route", b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 50\r\nHost: evil\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n", &[200, 200],
        &[Arrived { has: &[("host", &["h"])], lacks: &["content-length"], ..arrived("POST /a") }, arrived("GET /b")]),
    passed("7.1", "chunks of nothing", b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n", &[200, 200],
        &[arrived("POST /a"), arrived("GET /b")]),
    passed("9110 9.3.8", "a HEAD, and what follows it", b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n", &[200],
        &[arrived("HEAD /a")]),
];

/// A body that ends too early is none: the origin must never take it for whole.
#[test]
fn a_body_that_breaks_off_never_arrives_whole() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    for cut in [
        &b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello"[..],
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n",
    ] {
        let mut client = edge.connect();
        client.send(cut);
        client.end();
        while client.try_reply("POST").is_ok() {}
    }
    edge.await_metric("lakh_in_flight", 0.0);
    assert_eq!(origin.count(), 0, "{:?}", origin.seen());
}
