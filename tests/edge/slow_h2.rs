//! Slow and silent clients over HTTP/2: the limits are those of HTTP/1.1.

use crate::harness::{Answer, Edge, Http2, Origin, ask, get};
use crate::raw::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, Event, Frames, HEADERS, PING, block,
};

const GET: &[u8] = b"\x82\x86\x84\x01\x01h";
const ENHANCE_YOUR_CALM: u32 = 11;

fn edge(origin: &Origin, limits: &str) -> Edge {
    Edge::start(
        &format!(
            "
limits: {{{limits}}}
upstreams: {{app: {{servers: [$0], circuit_breaker: {{failures: 1}}, retry: {{attempts: 1}}, timeouts: {{read: 2s}}}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
"
        ),
        &[origin],
    )
}

/// How the edge ends the connection: what GOAWAY says, and nothing after it.
fn sent_away(frames: &mut Frames) -> u32 {
    loop {
        match frames.event() {
            Event::GoAway { code } => return code,
            Event::Closed | Event::Silence => panic!("it was told nothing"),
            _ => {}
        }
    }
}

#[test]
fn who_asks_nothing_is_sent_away() {
    let origin = Origin::saying("here");
    let edge = edge(&origin, "idle_timeout: 300ms");
    let mut silent = Frames::connect(edge.web);
    assert_eq!(sent_away(&mut silent), 0);
    let client = Http2::connect(edge.web);
    assert_eq!(client.ask(&get("/")).head().expect("an answer").status, 200);
    edge.await_metric("lakh_connections", 0.0);
}

#[test]
fn a_head_has_one_deadline() {
    let origin = Origin::saying("here");
    let edge = edge(&origin, "header_timeout: 300ms");
    let begun: [&dyn Fn(&mut Frames); 4] = [
        &|frames| frames.frame(HEADERS, END_STREAM, 1, GET),
        &|frames| {
            frames.frame(HEADERS, END_STREAM, 1, GET);
            frames.frame(CONTINUATION, 0, 1, &block(&[(b"x-a", b"b")]));
        },
        &|frames| frames.send(&[0, 0, 6, HEADERS, END_HEADERS | END_STREAM, 0, 0, 0, 1, 0x82]),
        &|frames| frames.send(&[0, 0, 8, PING]),
    ];
    for (n, begin) in begun.into_iter().enumerate() {
        let mut frames = Frames::connect(edge.web);
        // What was said by then is acknowledged; nothing may come within a head.
        loop {
            match frames.event() {
                Event::SettingsTaken => break,
                event => assert_ne!(event, Event::Closed),
            }
        }
        begin(&mut frames);
        assert_eq!(sent_away(&mut frames), ENHANCE_YOUR_CALM, "{n}");
    }
    edge.await_metric("lakh_bad_requests_total", begun.len() as f64);
    assert_eq!(origin.count(), 0);
}

/// Neither does it hold a place at the server, nor is the server to blame.
#[test]
fn a_body_that_stalls_is_given_up_and_its_server_not_blamed() {
    let origin = Origin::saying("here");
    let edge = edge(&origin, "body_timeout: 300ms");
    let client = Http2::connect(edge.web);
    let mut call = client.begin(&ask("POST", "/call").with("content-type", "application/grpc"));
    for _ in 0..3 {
        let mut stalled = client.begin(&ask("POST", "/").with("content-type", "text/plain"));
        stalled.send(b"the beginning").expect("it is open");
        assert_eq!(stalled.head().expect("an answer").status, 408);
    }
    // What may be silent has been, for three times as long.
    call.end().expect("it is open");
    call.head().expect("an answer");
    assert_eq!(client.ask(&get("/")).head().expect("an answer").status, 200);
}

/// Where the server gives up first, and over HTTP/1.1 too.
#[test]
fn a_server_that_waits_for_a_stalled_body_is_not_blamed() {
    let origin = Origin::start(|_| Answer::ok("here"));
    let edge = edge(&origin, "body_timeout: 60s");
    let client = Http2::connect(edge.web);
    let mut stalled = client.begin(&ask("POST", "/").with("content-type", "text/plain"));
    stalled.send(b"the beginning").expect("it is open");
    let mut other = edge.connect();
    other.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nthe");
    assert_eq!(stalled.head().expect("an answer").status, 408);
    assert_eq!(other.reply("POST").status, 408);
    get("/").send(&edge).expect(200);
}
