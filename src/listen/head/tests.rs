//! Heads as clients, and those who are none, write them.

use super::*;
use proptest::prelude::*;

fn with(fields: &str) -> Result<Framing, Malformed> {
    check(format!("POST /x HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes())
        .map(|checked| checked.framing)
}

#[test]
fn plain_is_what_wants_nothing_of_the_connection_or_another_protocol() {
    let plain = |head: &str| check(format!("{head}\r\n\r\n").as_bytes()).map(|c| c.plain);
    for head in [
        "GET / HTTP/1.1\r\nHost: h",
        "HEAD /a?b HTTP/1.1\r\nHost: h\r\nConnection: Keep-Alive\r\nContent-Length: 0",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket",
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: a, Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0",
    ] {
        assert_eq!(plain(head), Ok(true), "{head}");
    }
    for head in [
        "POST / HTTP/1.1\r\nHost: h",
        "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, x",
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1",
        "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 1",
        "POST / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket",
        "GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue",
        "GET / HTTP/1.1\r\nHost: h\r\nTE: trailers",
    ] {
        assert_eq!(plain(head), Ok(false), "{head}");
    }
}

#[test]
fn a_head_is_read_over_and_over() {
    let mut head = Head::default();
    for (method, field) in [("GET", "A: 1\r\na:  2 "), ("HEAD", "b: 3")] {
        let text = format!("{method} /x?y HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n");
        head.read(text.as_bytes()).expect("a head");
        assert_eq!(
            (head.method.as_str(), &head.target[..]),
            (method, &b"/x?y"[..])
        );
    }
    let fields: Vec<_> = head.fields.iter().map(|(n, v)| (n.as_str(), v)).collect();
    let text = HeaderValue::from_static;
    assert_eq!(fields, [("host", &text("h")), ("b", &text("3"))]);
}

#[test]
fn framing_is_read_as_everybody_reads_it() {
    assert_eq!(with(""), Ok(Framing::Length(0)));
    assert_eq!(with("Content-Length: 12\r\n"), Ok(Framing::Length(12)));
    assert_eq!(with("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
    assert_eq!(
        with("Connection: upgrade\r\nUpgrade: websocket\r\n"),
        Ok(Framing::Upgrade)
    );
}

/// RFC 9110 §7.8, RFC 9113 §3.1.
#[test]
fn what_is_offered_and_not_taken_is_left_out() {
    for (fields, framing) in [
        ("Upgrade: websocket\r\n", Framing::Length(0)),
        ("Connection: close\r\nUpgrade: x\r\n", Framing::Length(0)),
        (
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
            Framing::Length(0),
        ),
        (
            "Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n",
            Framing::Length(0),
        ),
        (
            "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n",
            Framing::Length(0),
        ),
        (
            "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n",
            Framing::Length(0),
        ),
        ("Connection: Upgrade\r\nUpgrade: \r\n", Framing::Length(0)),
        (
            "Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 3\r\n",
            Framing::Length(3),
        ),
        (
            "Connection: Upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n",
            Framing::Chunked,
        ),
        (
            "Connection: Upgrade\r\nUpgrade: x\r\nExpect: 100-continue\r\n",
            Framing::Length(0),
        ),
    ] {
        let head = format!("POST /x HTTP/1.1\r\nHost: h\r\n{fields}a: b\r\n\r\n");
        let checked = check(head.as_bytes()).expect("a head");
        assert_eq!(
            (checked.framing, checked.declined),
            (framing, true),
            "{fields}"
        );
        let without = without_offer(head.as_bytes()).expect("a head");
        let checked = check(&without).expect("still a head");
        assert_eq!(
            (checked.framing, checked.declined),
            (framing, false),
            "{fields}"
        );
        let without = String::from_utf8(without).expect("text");
        assert!(
            !without.contains("HTTP2-Settings:") && without.ends_with("\r\na: b\r\n\r\n"),
            "{without}"
        );
    }
    let taken = with("Connection: x , uPgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n");
    assert_eq!(taken, Ok(Framing::Upgrade));
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    for fields in [
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: \r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: other\r\n",
        "Space : 1\r\n",
        " folded: 1\r\n",
        "na\u{1}me: 1\r\n",
        "nul: a\u{0}b\r\n",
    ] {
        assert!(with(fields).is_err(), "{fields:?}");
    }
}

#[test]
fn request_lines() {
    for line in [
        "GET /a?b=c HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET http://h/x HTTP/1.1",
    ] {
        assert!(
            check(format!("{line}\r\nHost: h\r\n\r\n").as_bytes()).is_ok(),
            "{line}"
        );
    }
    for line in [
        "GET x HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET /\"x\" HTTP/1.1",
        "GET /#x HTTP/1.1",
        "GET / HTTP/2.0",
        "G@T",
        "",
    ] {
        assert!(
            check(format!("{line}\r\nHost: h\r\n\r\n").as_bytes()).is_err(),
            "{line}"
        );
    }
}

#[test]
fn hosts() {
    for host in ["h:80", "[::1]:80", "[::1]", "h:", "a.b-c.example", ""] {
        assert!(
            check(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).is_ok(),
            "{host}"
        );
    }
    for host in [
        "a b", "a/b", "a,b", "a:1:2", "u@h", "h:abc", "h:-1", "[::1", "[x]", "[::1]x", "[]", "::1",
        "h:123456", "a[b]",
    ] {
        assert!(
            check(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).is_err(),
            "{host}"
        );
    }
    assert!(check(b"GET / HTTP/1.1\r\n\r\n").is_err());
    assert!(check(b"GET / HTTP/1.0\r\n\r\n").is_ok());
}

#[test]
fn a_url_for_a_target_becomes_a_path() {
    let origin_form = |line: &str| -> Result<_, Malformed> {
        let head = format!("{line} HTTP/1.1\r\nA: b\r\nHost: other\r\n\r\n");
        let changed = to_origin_form(head.as_bytes())?;
        Ok(changed.map(|head| String::from_utf8(head).expect("text")))
    };
    let as_path = |line: &str| {
        Ok(Some(format!(
            "{line} HTTP/1.1\r\nHost: h:81\r\nA: b\r\n\r\n"
        )))
    };
    assert_eq!(origin_form("GET http://h:81/a?b"), as_path("GET /a?b"));
    assert_eq!(origin_form("GET HTTP://h:81"), as_path("GET /"));
    assert_eq!(origin_form("GET http://h:81?b"), as_path("GET /?b"));
    assert_eq!(origin_form("OPTIONS http://h:81"), as_path("OPTIONS *"));
    assert_eq!(origin_form("CONNECT h:81"), as_path("CONNECT /"));
    assert_eq!(origin_form("GET /http://h/"), Ok(None));
    assert_eq!(origin_form("OPTIONS *"), Ok(None));
    for line in ["GET http:///a", "GET http://u@h/", "GET http://h:1:2/"] {
        assert!(origin_form(line).is_err(), "{line}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = check(&bytes);
    }
}
