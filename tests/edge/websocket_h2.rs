//! WebSockets over HTTP/2: RFC 8441. By frames, since whoever opens one there speaks no handshake of HTTP/1.1.

use crate::harness::{Answer, Edge, Http2, Origin, Streaming, ask, eventually, get};
use crate::websocket::Echo;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

const GOING_AWAY: &[u8] = &[0x88, 2, 0x03, 0xe9];

/// A text of up to 64 KiB, masked by zeros.
fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

fn open<'a>(on: &'a Http2, path: &str) -> Streaming<'a> {
    let mut socket = on.websocket(&get(path).with("sec-websocket-version", 13));
    let head = socket.head().expect("an answer");
    assert_eq!(head.status, 200, "{:?}", head.fields);
    for name in [
        "connection",
        "upgrade",
        "sec-websocket-accept",
        "content-length",
    ] {
        assert_eq!(head.field(name), None, "{name}");
    }
    socket
}

/// So many bytes of what comes back.
fn read(socket: &mut Streaming<'_>, n: usize) -> Vec<u8> {
    let mut came = Vec::new();
    while came.len() < n {
        came.extend(socket.part().expect("it is open").expect("it goes on"));
    }
    assert_eq!(came.len(), n);
    came
}

fn says(socket: &mut Streaming<'_>, payload: &[u8]) {
    socket.send(&text(payload)).expect("it is open");
    let head = if payload.len() < 126 { 2 } else { 4 };
    let back = read(socket, head + payload.len());
    assert_eq!(&back[head..], payload);
}

fn ends(socket: &mut Streaming<'_>) {
    while let Some(part) = socket.part().expect("an end in order") {
        assert!(part.is_empty(), "{part:?}");
    }
}

#[test]
fn several_are_carried_on_one_connection() {
    let echo = Echo::start();
    let edge = echo.edge(", websockets: 5");
    let client = Http2::connect(edge.web);
    let mut sockets: Vec<_> = (0..5).map(|_| open(&client, "/")).collect();
    edge.await_metric("lakh_route_websockets", 5.0);
    let mut sixth = client.websocket(&get("/"));
    assert_eq!(sixth.head().expect("an answer").status, 503);
    for n in [0, 1, 100, 5000, 60_000] {
        for socket in &mut sockets {
            says(socket, &vec![b'x'; n]);
        }
    }
    let mut last = sockets.pop().expect("five");
    // A Close with 1000, which the server says too; then that is the end.
    last.send(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])
        .expect("it is open");
    assert_eq!(read(&mut last, 4), [0x88, 2, 0x03, 0xe8]);
    ends(&mut last);
    edge.await_metric("lakh_route_websockets", 4.0);
    sockets.pop().expect("four").cancel();
    edge.await_metric("lakh_route_websockets", 3.0);
    sockets
        .iter_mut()
        .for_each(|socket| says(socket, b"still here"));
    drop(sockets);
    edge.await_metric("lakh_route_websockets", 0.0);
    eventually("the server was told of one end", || {
        echo.ended(Some(CloseCode::Normal)) == 1
    });
    let lines = edge.access_log(6);
    let opened = lines.iter().filter(|line| line["status"] == 200);
    assert_eq!(opened.count(), 5, "{lines:?}");
}

#[test]
fn a_drain_says_so_on_each() {
    let echo = Echo::start();
    let mut edge = echo.edge("");
    let client = Http2::connect(edge.web);
    let mut sockets: Vec<_> = (0..3).map(|_| open(&client, "/")).collect();
    sockets.iter_mut().for_each(|socket| says(socket, b"hello"));
    edge.sigterm();
    for socket in &mut sockets {
        assert_eq!(read(socket, 4), GOING_AWAY);
        // The server may have said so first, and ended it.
        let _ = socket.send(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]);
        ends(socket);
    }
    drop(client);
    assert_eq!(edge.await_exit().code(), Some(0));
    eventually("the server was told of all", || {
        echo.ended(Some(CloseCode::Away)) == 3
    });
}

/// The same rules as for any other request, and no answer that could be taken for a WebSocket.
#[test]
fn who_may_not_have_one_is_told_so() {
    let origin = Origin::start(|seen| match seen.path() {
        "/found" => Answer::ok("no WebSocket"),
        _ => Answer::of(404, &[], b"nothing"),
    });
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
routes:
  - {name: closed, match: {path: /closed/*}, upstream: app, deny: [127.0.0.0/8]}
  - {name: all, match: {path: /*}, upstream: app}
",
        &[&origin],
    );
    let client = Http2::connect(edge.web);
    for (path, status) in [("/closed/", 403), ("/found", 502), ("/missing", 404)] {
        let mut socket = client.websocket(&get(path).with("sec-websocket-version", 13));
        assert_eq!(socket.head().expect("an answer").status, status, "{path}");
        while socket.part().expect("a body").is_some() {}
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    for seen in seen {
        assert_eq!(seen.method, "GET");
        assert_eq!(seen.the("upgrade"), "websocket");
        assert_eq!(seen.the("connection").to_ascii_lowercase(), "upgrade");
        assert_eq!(seen.the("host"), "edge.test");
        assert_eq!(seen.the("sec-websocket-key").len(), 24);
    }
    // Another protocol than that is a CONNECT like any other.
    let mut other = client.begin(&ask("CONNECT", "/"));
    assert!(other.head().map_or(true, |head| head.status == 405));
}
