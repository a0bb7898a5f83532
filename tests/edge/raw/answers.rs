//! What an origin may send, what it may not, and what the client gets of it.

use crate::harness::{Answer, Client, Edge, Origin, Step, get, head, post};

/// What a client gets for an answer.
enum Gets {
    /// This status and body, whole; and the connection serves on.
    Whole(u16, &'static str),
    /// 502: it is no answer.
    Bad,
    /// A transfer that breaks off.
    Broken,
}
use Gets::{Bad, Broken, Whole};

/// The section is of RFC 9112 where it names none.
#[rustfmt::skip]
const ANSWERS: &[(&str, &str, &[u8], Gets)] = &[
    ("6.3", "a length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Whole(200, "hello")),
    ("6.3", "chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", Whole(200, "hello")),
    ("6.3", "neither: to the connection's end", b"HTTP/1.1 200 OK\r\n\r\nhello", Whole(200, "hello")),
    ("6.3", "HTTP/1.0, to the connection's end", b"HTTP/1.0 200 OK\r\n\r\nhello", Whole(200, "hello")),
    ("6.3", "a body shorter than its length", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Broken),
    ("7.1", "a chunk that breaks off", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", Broken),
    ("7.1", "chunks without the last", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Broken),
    ("7.1", "a last chunk without its end", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Broken),
    ("7.1", "a chunk size that is none", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxx\r\n\r\n", Broken),
    ("7.1.2", "a trailer", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n", Whole(200, "hello")),
    ("7.1.1", "a chunk's extension", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", Whole(200, "hello")),
    ("6.3", "two lengths that differ", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", Bad),
    ("6.3", "two lengths in a list", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!", Bad),
    ("6.3", "two lengths that are one", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", Whole(200, "hello")),
    ("6.3", "a negative length", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", Bad),
    ("6.3", "a length that is no number", b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello", Bad),
    ("4", "no reason", b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", Whole(200, "hello")),
    ("4", "a status nobody knows", b"HTTP/1.1 299 What\r\nContent-Length: 5\r\n\r\nhello", Whole(299, "hello")),
    ("4", "a status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello", Bad),
    ("4", "a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello", Bad),
    ("4", "no status", b"HTTP/1.1 OK\r\nContent-Length: 5\r\n\r\nhello", Bad),
    ("2.3", "another protocol", b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Bad),
    ("4", "no status line", b"hello, world\r\n\r\n", Bad),
    ("5", "a NUL in a value", b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 5\r\n\r\nhello", Bad),
    ("5", "a CR in a value", b"HTTP/1.1 200 OK\r\nX-A: a\rSet-Cookie: b\r\nContent-Length: 5\r\n\r\nhello", Bad),
    ("5", "an empty name", b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 5\r\n\r\nhello", Bad),
    ("9110 15.2.1", "100 that nobody waits for", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Whole(200, "hello")),
    ("9110 15.2.2", "101 that nobody asked for", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello", Bad),
    ("6.3", "204 has no body", b"HTTP/1.1 204 No Content\r\n\r\n", Whole(204, "")),
    ("9110 8.6", "204 has no length", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Whole(204, "")),
    ("6.1", "204 has no chunks", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", Whole(204, "")),
    ("6.3", "304 has no body", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Whole(304, "")),
    ("6.3", "what follows a 204 is nobody's answer", b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", Whole(204, "")),
    ("6.3", "what follows a body is nobody's answer", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", Whole(200, "hello")),
    ("6.3", "what follows the last chunk is nobody's answer", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", Whole(200, "hello")),
];

#[test]
fn a_client_gets_a_whole_answer_or_sees_that_it_is_none() {
    let origin = Origin::start(|seen| match seen.target.strip_prefix("/raw/") {
        None => Answer::ok("mine"),
        Some(n) => {
            let (_, _, bytes, _) = ANSWERS[n.parse::<usize>().expect("a number")];
            Answer::raw(bytes).then(Step::Close)
        }
    });
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0], retry: {attempts: 1}, circuit_breaker: {failures: 1000}}}
routes: [{name: all, match: {path: /*}, upstream: app}]
",
        &[&origin],
    );
    let mut wrong = Vec::new();
    for (n, (rfc, what, _, gets)) in ANSWERS.iter().enumerate() {
        for method in ["GET", "POST"] {
            let target = format!("/raw/{n}");
            let asked = match method {
                "POST" => post(&target, "x"),
                _ => get(&target),
            };
            let mut client = edge.connect();
            if let Err(how) = gets.check(asked.try_on(&mut client), &mut client) {
                wrong.push(format!("{method}: {what} (§{rfc}): {how}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

impl Gets {
    fn check(
        &self,
        got: std::io::Result<crate::harness::Reply>,
        client: &mut Client,
    ) -> Result<(), String> {
        match (self, got) {
            (Whole(status, body), Ok(reply)) => {
                let got = (reply.status, reply.text());
                if got != (*status, (*body).to_owned()) {
                    return Err(format!("got {got:?}"));
                }
                let framed = ["content-length", "transfer-encoding"];
                if framed.iter().all(|name| reply.field(name).is_some()) {
                    return Err("framed twice".into());
                }
                if *status == 204 && framed.iter().any(|name| reply.field(name).is_some()) {
                    return Err("a 204 that is framed".into());
                }
                let length = reply.field("content-length");
                if length.is_some_and(|length| length.parse::<u64>().is_err()) {
                    return Err(format!("a length of {length:?}"));
                }
                match get("/mine").try_on(client) {
                    Ok(next) if next.text() == "mine" => Ok(()),
                    next => Err(format!("and then {next:?}")),
                }
            }
            (Bad, Ok(reply)) if reply.status == 502 => Ok(()),
            (Broken, Err(_)) => Ok(()),
            (_, got) => Err(format!("got {got:?}")),
        }
    }
}

/// RFC 9110 §15.2.
#[test]
fn answers_before_the_answer_are_passed_on() {
    let origin = Origin::start(|_| {
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\ncontent-length: 5\r\n\r\n";
        let again = "HTTP/1.1 102 Processing\r\n\r\n";
        Answer::raw(
            [
                hints,
                again,
                "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
            ]
            .concat(),
        )
    });
    let edge = Edge::before(&origin);
    let mut client = edge.connect();
    for _ in 0..2 {
        client.send(get("/").wire());
        let hints = client.read_head().expect("hints");
        assert_eq!((hints.status, hints.the("link")), (103, "</a.css>"));
        assert_eq!(hints.field("content-length"), None, "RFC 9110 §8.6");
        assert_eq!(client.read_head().expect("another").status, 102);
        assert_eq!(client.reply("GET").expect(200).text(), "hello");
    }
}

/// RFC 9110 §15.2.
#[test]
fn who_speaks_http_1_0_gets_only_the_answer() {
    let origin = Origin::start(|_| {
        Answer::raw(
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        )
    });
    let edge = Edge::before(&origin);
    for request in [
        "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let mut client = edge.connect();
        client.send(request);
        assert_eq!(
            client.read_head().expect("the answer").status,
            200,
            "{request}"
        );
    }
}

/// RFC 9110 §9.3.2: whatever an origin does, the next answer begins after the head.
#[test]
fn a_head_never_has_a_body() {
    let origin = Origin::start(|seen| match seen.method.as_str() {
        "HEAD" => {
            Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").then(Step::Close)
        }
        _ => Answer::ok("mine"),
    });
    let edge = Edge::before(&origin);
    let mut client = edge.connect();
    let reply = head("/").on(&mut client).expect(200);
    assert_eq!(reply.the("content-length"), "5");
    assert_eq!(get("/").on(&mut client).expect(200).text(), "mine");
}
