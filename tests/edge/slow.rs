//! Clients that hold connections by doing everything slowly, as an outside tool plays them:
//! <https://github.com/shekyan/slowhttptest>, of Debian.

use crate::harness::{Answer, Client, Edge, Origin, at_once, eventually, get, post};
use socket2::{Domain, Socket, Type};
use std::process::Command;
use std::thread::park_timeout;
use std::time::Duration;

/// 500 of them come at once. Each mode runs until all are gone, or 30 s have passed.
const CROWD: &str = "-c 500 -r 500 -l 30 -p 3";

fn origin() -> Origin {
    // More than the kernel holds for a client that hardly reads.
    let large = vec![b'x'; 1 << 20];
    let fresh = [("cache-control", "max-age=600")];
    Origin::start(move |seen| match seen.path() {
        "/large" => Answer::of(200, &fresh, &large),
        _ => Answer::ok("here"),
    })
}

fn edge(origin: &Origin) -> Edge {
    Edge::start(
        "
limits: {header_timeout: 2s, body_timeout: 3s, send_timeout: 3s, idle_timeout: 3s, connections_per_address: 2000}
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 10MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages}}]
",
        &[origin],
    )
}

/// What it says at its end, and whether the service went on being available all the time.
fn attack(edge: &Edge, mode: &str, target: &str) -> (String, bool) {
    let url = format!("http://{}{target}", edge.web);
    let run = Command::new("slowhttptest")
        .args(CROWD.split(' '))
        .args(mode.split(' '))
        .args(["-u", &url])
        .output()
        .expect("slowhttptest is installed: scripts/need slowhttptest");
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let end = said.lines().rfind(|line| line.contains("Exit status"));
    let end = end.unwrap_or_else(|| panic!("it did not end well: {said}"));
    // The colours of a terminal are between the words.
    let down = said
        .lines()
        .any(|line| line.contains("available") && line.contains("NO"));
    (end.to_owned(), !down)
}

fn all_are_closed(edge: &Edge, (end, available): (String, bool)) {
    assert!(available, "somebody was not served");
    assert!(end.contains("No open connections left"), "{end}");
    edge.await_metric("lakh_in_flight", 0.0);
}

/// A field every second, and never the last.
#[test]
fn slow_heads_are_closed() {
    let origin = origin();
    let edge = edge(&origin);
    all_are_closed(&edge, attack(&edge, "-H -i 1 -x 24 -t GET", "/"));
    assert!(origin.count() < 50, "only the tool's own looks get through");
}

/// Some bytes every second, of 8 KiB.
#[test]
fn slow_bodies_are_closed() {
    let origin = origin();
    let edge = edge(&origin);
    all_are_closed(&edge, attack(&edge, "-B -i 1 -s 8192 -x 10", "/"));
}

/// A hundred bytes a second, with hardly any window. What its kernel has, the tool reads to the end.
#[test]
fn slow_readers_are_closed() {
    let origin = origin();
    let edge = edge(&origin);
    all_are_closed(
        &edge,
        attack(&edge, "-X -n 1 -w 10 -y 20 -z 100 -k 1", "/large"),
    );
}

/// A thousand that say nothing, or never end what they say, are nobody else's trouble.
#[test]
fn the_others_are_served_meanwhile() {
    let origin = origin();
    let edge = edge(&origin);
    let mut slow: Vec<_> = (0..1000).map(|_| edge.connect()).collect();
    for (i, client) in slow.iter_mut().enumerate() {
        match i % 3 {
            0 => client.send("GET / HTTP/1.1\r\nhost: edge.test\r\nx-a: "),
            1 => client.send("POST / HTTP/1.1\r\nhost: edge.test\r\ncontent-length: 9\r\n\r\nx"),
            _ => {}
        }
    }
    let mut client = edge.connect();
    for _ in 0..100 {
        get("/").on(&mut client).expect(200);
        post("/", "text").on(&mut client).expect(200);
    }
    eventually("all the slow are closed", || {
        edge.metric("lakh_connections") <= 2.0
    });
}

/// For longer than a client may take nothing: what is stored, what is being fetched, and what passes.
#[test]
fn who_reads_steadily_is_served_to_the_end() {
    // More than the kernel holds.
    let body = vec![b'x'; 8 << 20];
    let origin = Origin::start(move |seen| match seen.path() {
        "/passes" => Answer::of(200, &[], &body),
        _ => Answer::of(200, &[("cache-control", "max-age=600")], &body),
    });
    let edge = Edge::start(
        "
limits: {send_timeout: 3s}
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 100MiB}}
routes:
- {name: passes, match: {path: /passes}, upstream: app}
- {name: all, match: {path: /*}, upstream: app, cache: {in: pages}}
",
        &[&origin],
    );
    get("/stored").send(&edge).expect(200);
    let paths = ["/stored", "/fetched", "/passes"];
    let got = at_once(paths.len(), |i| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(64 << 10).expect("an option");
        socket.connect(&edge.web.into()).expect("a connection");
        let mut client = Client::new(socket.into());
        client.send(get(paths[i]).wire());
        client.read_head().expect("a head");
        let parts = (0..16).map(|_| {
            park_timeout(Duration::from_millis(300));
            client.read_exactly(512 << 10).map_or(0, |part| part.len())
        });
        parts.sum::<usize>()
    });
    assert_eq!(got, [8 << 20; 3]);
}
