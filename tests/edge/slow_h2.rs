//! Slow and silent clients over HTTP/2: the limits are those of HTTP/1.1.

use crate::harness::{Answer, Edge, Http2, Origin, PATIENCE, ask, get};
use crate::raw::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, Event, Frames, HEADERS, PING, RST_STREAM, SETTINGS,
    block,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::scope;
use std::time::Duration;

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

/// While a part of its body waits for a server that takes no more, whose timeouts are long. `server`: reads nothing,
/// and once it has been left, all that there is.
fn uploads_and_cancels(protocol: &str, server: impl FnOnce(TcpStream, Receiver<()>) + Send) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let edge = Edge::start(
        &format!(
            "
limits: {{body_size: 1GiB}}
upstreams: {{app: {{servers: [{address}], protocol: {protocol}, timeouts: {{write: 10m, read: 10m}}}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
"
        ),
        &[],
    );
    let (left, is_left) = channel();
    scope(|scope| {
        let serving = scope.spawn(move || {
            let (stream, _) = listener.accept().expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("an option");
            server(stream, is_left);
        });
        let client = Http2::connect(edge.web);
        let mut upload = client.begin(&ask("POST", "/"));
        // Until nothing more is taken.
        upload.send_for(Duration::from_secs(1), 64 << 20);
        edge.await_metric("lakh_in_flight", 1.0);
        upload.cancel();
        edge.await_metric("lakh_in_flight", 0.0);
        left.send(()).expect("it waits for that");
        serving.join().expect("it is told");
    });
    edge.await_metric(r#"lakh_http_requests_total{route="all",code="499"}"#, 1.0);
}

#[test]
fn who_cancels_an_upload_is_heard_at_once() {
    uploads_and_cancels("http1", |mut server, is_left| {
        is_left.recv().expect("it is left");
        let mut rest = vec![0; 1 << 20];
        loop {
            match server.read(&mut rest) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) => {
                    assert_eq!(e.kind(), ErrorKind::ConnectionReset);
                    break;
                }
            }
        }
    });
}

#[test]
fn who_cancels_an_upload_is_heard_at_once_over_http_2_too() {
    uploads_and_cancels("h2c", |mut server, is_left| {
        // It opens no windows.
        server
            .write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
            .expect("sent");
        is_left.recv().expect("it is left");
        server.read_exact(&mut [0; 24]).expect("the preface");
        loop {
            let mut head = [0; 9];
            server.read_exact(&mut head).expect("a frame");
            if head[3] == RST_STREAM {
                break;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            server
                .read_exact(&mut vec![0; length as usize])
                .expect("all of it");
        }
    });
}
