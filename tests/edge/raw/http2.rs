//! Over HTTP/2: what can't be said in HTTP/1.1 must not become something else there.
//! RFC 9113 §8.

use super::frames::{End, Event, Frames, SETTINGS};
use crate::harness::{Answer, Edge, Origin};

type Fields = &'static [(&'static [u8], &'static [u8])];

const M: (&[u8], &[u8]) = (b":method", b"GET");
const S: (&[u8], &[u8]) = (b":scheme", b"http");
const P: (&[u8], &[u8]) = (b":path", b"/a");
const A: (&[u8], &[u8]) = (b":authority", b"h");

#[rustfmt::skip]
const MALFORMED: &[(&str, &str, Fields)] = &[
    ("8.2.1", "a name in capital letters", &[M, S, P, A, (b"X-A", b"1")]),
    ("8.2.1", "an empty name", &[M, S, P, A, (b"", b"1")]),
    ("8.2.1", "a colon in a name", &[M, S, P, A, (b"x:a", b"1")]),
    ("8.2.1", "a space in a name", &[M, S, P, A, (b"x a", b"1")]),
    ("8.2.1", "a line end in a name", &[M, S, P, A, (b"x\r\na", b"1")]),
    ("8.2.1", "a line end in a value", &[M, S, P, A, (b"x-a", b"1\r\nx-b: 2")]),
    ("8.2.1", "a LF in a value", &[M, S, P, A, (b"x-a", b"1\nx-b: 2")]),
    ("8.2.1", "a NUL in a value", &[M, S, P, A, (b"x-a", b"a\0b")]),
    ("8.2.2", "Connection", &[M, S, P, A, (b"connection", b"close")]),
    ("8.2.2", "Keep-Alive", &[M, S, P, A, (b"keep-alive", b"5")]),
    ("8.2.2", "Proxy-Connection", &[M, S, P, A, (b"proxy-connection", b"close")]),
    ("8.2.2", "Transfer-Encoding", &[M, S, P, A, (b"transfer-encoding", b"chunked")]),
    ("8.2.2", "Upgrade", &[M, S, P, A, (b"upgrade", b"websocket")]),
    ("8.2.2", "TE other than trailers", &[M, S, P, A, (b"te", b"gzip")]),
    ("8.3.1", "no method", &[S, P, A]),
    ("8.3.1", "no scheme", &[M, P, A]),
    ("8.3.1", "no path", &[M, S, A]),
    ("8.3.1", "an empty path", &[M, S, (b":path", b""), A]),
    ("8.3.1", "two methods", &[M, M, S, P, A]),
    ("8.3.1", "two paths", &[M, S, P, P, A]),
    ("8.3.1", "two authorities", &[M, S, P, A, A]),
    ("8.3", "a field before the path", &[M, S, A, (b"x-a", b"1"), P]),
    ("8.3", "a pseudo-field nobody knows", &[M, S, P, A, (b":x", b"1")]),
    ("8.3", "a status", &[M, S, P, A, (b":status", b"200")]),
    ("8.3.1", "a path with a line end", &[M, S, (b":path", b"/ HTTP/1.1\r\nX: y"), A]),
    ("8.3.1", "a path with a space", &[M, S, (b":path", b"/a b"), A]),
    ("8.3.1", "a path with a NUL", &[M, S, (b":path", b"/a\0b"), A]),
    ("8.3.1", "a path that is none", &[M, S, (b":path", b"a"), A]),
    ("8.3.1", "a method with a space", &[(b":method", b"GET / HTTP/1.1"), S, P, A]),
    ("8.3.1", "a method with a line end", &[(b":method", b"GET\r\nX: y"), S, P, A]),
    ("8.3.1", "an authority with a line end", &[M, S, P, (b":authority", b"h\r\nX: y")]),
    ("8.3.1", "an authority with a user", &[M, S, P, (b":authority", b"u@h")]),
    ("8.3.1", "an authority with a path", &[M, S, P, (b":authority", b"h/x")]),
    ("8.3.1", "a Host that differs from the authority", &[M, S, P, A, (b"host", b"other")]),
    ("8.3.1", "neither authority nor Host", &[M, S, P]),
    ("9110 8.6", "two lengths that differ", &[M, S, P, A, (b"content-length", b"0"), (b"content-length", b"1")]),
];

#[test]
fn what_is_malformed_is_refused_and_never_passed_on() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let mut wrong = Vec::new();
    for (rfc, what, fields) in MALFORMED {
        let mut frames = Frames::connect(edge.web);
        let stream = frames.request(fields, None);
        let end = frames.end(stream);
        if !matches!(end, End::Refused | End::Status(400)) {
            wrong.push(format!("{what} (§{rfc}): {end:?}"));
        }
    }
    let seen: Vec<_> = origin.seen().into_iter().map(|seen| seen.head).collect();
    assert!(wrong.is_empty() && seen.is_empty(), "{wrong:#?}\n{seen:#?}");
}

/// §8.1.1: a length that the body doesn't have.
#[test]
fn a_body_of_another_length_than_it_says_never_arrives_whole() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    for length in [&b"9"[..], b"1"] {
        let mut frames = Frames::connect(edge.web);
        let post = (&b":method"[..], &b"POST"[..]);
        let stream = frames.request(
            &[post, S, P, A, (b"content-length", length)],
            Some(b"hello"),
        );
        assert_ne!(frames.end(stream), End::Status(200));
    }
    edge.await_metric("lakh_in_flight", 0.0);
    let seen: Vec<_> = origin.seen().into_iter().map(|seen| seen.head).collect();
    assert!(seen.is_empty(), "{seen:#?}");
}

/// §8.2.3: a cookie comes in crumbs, and HTTP/1.1 knows one line of it.
#[test]
fn what_is_right_arrives() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let mut frames = Frames::connect(edge.web);
    let cookie = |crumb: &'static [u8]| (&b"cookie"[..], crumb);
    let te = (&b"te"[..], &b"trailers"[..]);
    let stream = frames.request(&[M, S, P, A, cookie(b"a=1"), te, cookie(b"b=2")], None);
    assert_eq!(frames.end(stream), End::Status(200));
    let seen = origin.seen();
    let seen = seen.first().expect("one request");
    assert_eq!(seen.the("cookie"), "a=1; b=2");
    assert_eq!(seen.the("host"), "h");
    assert_eq!(seen.field("te"), None);
    assert_eq!(seen.field("transfer-encoding"), None);

    let post = (&b":method"[..], &b"POST"[..]);
    let stream = frames.request(&[post, S, P, A], Some(b"hello"));
    assert_eq!(frames.end(stream), End::Status(200));
    assert_eq!(origin.seen()[1].body, b"hello");
}

/// An answer that its client's window never lets through is given up; its connection goes on.
#[test]
fn who_takes_nothing_of_an_answer_for_too_long_gets_no_more_of_it() {
    const NO_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 0];
    let origin = Origin::start(|seen| match seen.path() {
        "/none" => Answer::of(204, &[], ""),
        _ => Answer::ok([b'x'; 100_000]),
    });
    let yaml = "
limits: {send_timeout: 1s}
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";
    let edge = Edge::start(yaml, &[&origin]);
    let mut frames = Frames::connect(edge.web);
    frames.frame(SETTINGS, 0, 0, NO_WINDOW);
    let large = frames.request(&[M, S, P, A], None);
    loop {
        match frames.event() {
            Event::Reset { stream, .. } if stream == large => break,
            Event::Closed | Event::Silence => panic!("the stream alone ends"),
            _ => {}
        }
    }
    let none = frames.request(&[M, S, (b":path", b"/none"), A], None);
    assert_eq!(frames.end(none), End::Status(204));
    edge.await_metric("lakh_in_flight", 0.0);
}

/// §8.5 has it: it has neither a scheme nor a path.
#[test]
fn connect_is_refused_and_the_connection_goes_on() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let mut frames = Frames::connect(edge.web);
    let connect = (&b":method"[..], &b"CONNECT"[..]);
    let stream = frames.request(&[connect, (b":authority", b"bank.example:443")], None);
    // Which status that is, the log says: it is none that these tests can read.
    assert!(matches!(frames.end(stream), End::Status(_)));
    let stream = frames.request(&[M, S, P, A], None);
    assert_eq!(frames.end(stream), End::Status(200));
    let counted = r#"lakh_http_requests_total{code="405",method="CONNECT",route="-"}"#;
    edge.await_metric(counted, 1.0);
    let lines = edge.access_log(2);
    let line = lines.iter().find(|line| line["method"] == "CONNECT");
    let line = line.expect("a line");
    assert_eq!(
        (&line["host"], &line["status"]),
        (&"bank.example:443".into(), &405.into())
    );
    assert_eq!(line["path"], "/");
    assert_eq!(origin.count(), 1);
}

/// RFC 9113 §10.5: one is a mistake, many are none.
#[test]
fn who_sends_what_is_malformed_again_and_again_is_sent_away() {
    const ENHANCE_YOUR_CALM: u32 = 11;
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let mut frames = Frames::connect(edge.web);
    for _ in 0..31 {
        let stream = frames.request(&[M, S, P, A, (b"host", b"other")], None);
        assert_eq!(frames.end(stream), End::Refused);
    }
    let stream = frames.request(&[M, S, P, A], None);
    assert_eq!(frames.end(stream), End::Status(200));
    frames.request(&[M, S, P, A, (b"host", b"other")], None);
    loop {
        match frames.event() {
            Event::GoAway { code } => break assert_eq!(code, ENHANCE_YOUR_CALM),
            Event::Closed | Event::Silence => panic!("it is told why"),
            _ => {}
        }
    }
    assert_eq!(edge.metric("lakh_bad_requests_total"), 32.0);
    let counted = r#"lakh_http_requests_total{code="400",method="other",route="-"}"#;
    assert_eq!(edge.metric(counted), 32.0);
    let lines = edge.access_log(33);
    let refused = lines.iter().filter(|line| line["status"] == 400);
    assert!(refused.clone().all(|line| line["version"] == "HTTP/2"));
    assert_eq!(refused.count(), 32);
}
