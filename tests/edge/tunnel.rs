//! Connections that switch protocols.

use crate::harness::{
    Answer, Ask, Client, Edge, Origin, PATIENCE, Step, at_once, get, noise, post,
};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

fn upgrade(target: &str) -> Ask {
    upgrade_of(get(target))
}

fn upgrade_of(ask: Ask) -> Ask {
    ask.with("connection", "upgrade")
        .with("upgrade", "websocket")
}

fn edge(origin: &Origin) -> Edge {
    Edge::start(
        "
upstreams: {app: {servers: [$0], timeouts: {websocket: 300ms}}}
routes: [{name: all, match: {path: /*}, upstream: app}]
",
        &[origin],
    )
}

fn open(edge: &Edge) -> Client {
    let mut client = edge.connect();
    let switched = upgrade("/").on(&mut client).expect(101);
    assert_eq!(switched.the("upgrade"), "websocket");
    client
}

/// Many at once, so that the server's answer often comes before anything else is done.
#[test]
fn a_tunnel_stays_however_early_the_server_agrees() {
    let origin = Origin::start(|_| Answer::raw(SWITCH).then(Step::Echo));
    let edge = Edge::before(&origin);
    at_once(16, |_| {
        for _ in 0..50 {
            let mut client = open(&edge);
            client.send("still there?");
            let echo = client.read_exactly(12).expect("an echo");
            assert_eq!(echo, b"still there?");
        }
    });
    edge.await_metric("lakh_in_flight", 0.0);
}

#[test]
fn what_comes_with_the_agreement_is_not_lost() {
    let origin = Origin::start(|_| Answer::raw(SWITCH.to_owned() + "first").then(Step::Echo));
    let edge = Edge::before(&origin);
    let mut client = edge.connect();
    client.send(upgrade("/").wire());
    assert_eq!(client.read_head().expect("an answer").status, 101);
    assert_eq!(client.read_exactly(5).expect("the first bytes"), b"first");
    client.send("then");
    assert_eq!(client.read_exactly(4).expect("an echo"), b"then");
}

#[test]
fn much_goes_both_ways_at_once() {
    let origin = Origin::start(|_| Answer::raw(SWITCH).then(Step::Echo));
    let edge = Edge::before(&origin);
    let mut client = open(&edge);
    for n in 0..16 {
        let part = noise(60_000 + n, n as u64);
        client.send(&part);
        assert_eq!(client.read_exactly(part.len()).expect("an echo"), part);
    }
    drop(client);
    let log = &edge.access_log(1)[0];
    assert_eq!(
        (&log["status"], &log["bytes"]),
        (&101.into(), &(60_000 * 16 + 120).into())
    );
}

#[test]
fn a_side_that_ends_ends_the_other() {
    let origin = Origin::start(|_| Answer::raw(SWITCH.to_owned() + "bye").then(Step::Close));
    let edge = Edge::before(&origin);
    let mut client = edge.connect();
    client.send(upgrade("/").wire());
    assert_eq!(client.read_head().expect("an answer").status, 101);
    assert_eq!(client.read_exactly(3).expect("the last bytes"), b"bye");
    assert!(client.closes());
    edge.await_metric("lakh_in_flight", 0.0);
}

#[test]
fn silence_on_both_sides_ends_it_and_silence_on_one_does_not() {
    let origin = Origin::start(|_| Answer::raw(SWITCH).then(Step::Echo));
    let edge = edge(&origin);
    let mut client = open(&edge);
    for _ in 0..5 {
        assert!(!client.has_answer_within(Duration::from_millis(100)));
        client.send("x");
        client.read_exactly(1).expect("an echo");
    }
    assert!(client.closes_within(Duration::from_secs(5)));
}

/// Whoever sends on before the server has agreed may be speaking the other protocol.
#[test]
fn a_refused_upgrade_smuggles_nothing() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let mut client = edge.connect();
    upgrade("/1").on(&mut client).expect(200);
    get("/2").on(&mut client).expect(200);
    client.send([upgrade("/3").wire(), get("/4").wire()].concat());
    client.reply("GET").expect(200);
    assert!(client.closes());
    let targets: Vec<_> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/1", "/2", "/3"]);
}

#[test]
fn any_method_without_a_body_may_switch() {
    let origin = Origin::start(|_| Answer::raw(SWITCH).then(Step::Echo));
    let edge = Edge::before(&origin);
    let mut client = edge.connect();
    client.send("POST /attach HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.read_head().expect("an answer").status, 101);
    client.send("raw");
    assert_eq!(client.read_exactly(3).expect("an echo"), b"raw");
    let seen = origin.the_request();
    assert_eq!((&*seen.method, seen.the("upgrade")), ("POST", "tcp"));
}

/// RFC 9110 §7.8: it is no offer where Connection doesn't list it, and an offer need not be taken. All else
/// that holds for a request holds for that one.
#[test]
fn an_offer_that_is_not_taken_changes_nothing() {
    let origin = Origin::start(|seen| match seen.path() {
        "/stored" => Answer::of(200, &[("cache-control", "max-age=60")], "stored"),
        _ => Answer::ok("here"),
    });
    let edge = Edge::start(
        "
caches: {pages: {memory: 8MiB}}
upstreams: {app: {servers: [$0]}}
routes:
  - {name: stored, match: {path: /stored}, upstream: app, cache: {in: pages}}
  - {name: all, match: {path: /*}, upstream: app, body_size: 1KiB}
",
        &[&origin],
    );
    get("/stored").send(&edge).expect(200);
    let offers: [&[(&str, &str)]; 3] = [
        &[("upgrade", "websocket")],
        &[
            ("upgrade", "h2c"),
            ("connection", "Upgrade, HTTP2-Settings"),
            ("http2-settings", "AAMA"),
        ],
        &[("upgrade", "websocket, h2c"), ("connection", "upgrade")],
    ];
    for offer in offers {
        let with = |ask: Ask| {
            offer
                .iter()
                .fold(ask, |ask, (name, value)| ask.with(name, value))
        };
        assert!(
            with(get("/stored")).send(&edge).expect(200).is_hit(),
            "{offer:?}"
        );
        with(get("/a")).send(&edge).expect(200);
        with(post("/a", "short")).send(&edge).expect(200);
        let long = vec![b'x'; 2000];
        with(post("/a", &long)).send(&edge).expect_problem(413);
        with(post("/a", &long).chunked())
            .send(&edge)
            .expect_problem(413);
    }
    // Behind a body, whatever is offered.
    upgrade_of(post("/a", "short")).send(&edge).expect(200);
    upgrade_of(post("/a", vec![b'x'; 2000]).chunked())
        .send(&edge)
        .expect_problem(413);
    for seen in origin.seen() {
        let said = ["upgrade", "http2-settings"].map(|name| seen.field(name));
        assert_eq!(said, [None, None], "{}", seen.head);
    }
}

/// A server that takes nothing for a while keeps the edge from reading its client, who then can't be
/// heard to answer.
#[test]
fn who_waits_for_the_other_side_is_not_taken_for_gone() {
    const FRAME: usize = 64 << 20;
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let edge = Edge::start(
        &format!(
            "
upstreams: {{app: {{servers: [{}], timeouts: {{websocket_ping: 2s}}}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
",
            server.local_addr().expect("bound")
        ),
        &[],
    );
    let mut client = Client::connect(edge.web);
    client.send(upgrade("/").wire());
    let (mut server, _) = server.accept().expect("the edge");
    let patience = Some(PATIENCE);
    server.set_read_timeout(patience).expect("a timeout");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        server.read_exact(&mut byte).expect("a head");
        head.extend(byte);
    }
    server.write_all(SWITCH.as_bytes()).expect("open");
    assert_eq!(client.read_head().expect("an answer").status, 101);

    let mut head = vec![0x82, 0x80 | 127];
    head.extend((FRAME as u64).to_be_bytes());
    head.extend([0; 4]);
    let sent = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (client, sent) = (&mut client, &sent);
        let client = scope.spawn(move || {
            client.send(&head);
            for part in vec![0; FRAME].chunks(64 << 10) {
                client.send(part);
                sent.fetch_add(part.len(), SeqCst);
            }
            // Among the edge's own frames.
            let mut came = Vec::new();
            while !came.ends_with(b"done") {
                came.push(client.read_exactly(1).expect("the server's answer")[0]);
            }
        });
        // As long as it takes to ask, to wait for an answer, and half as long again.
        let (mut before, mut since) = (0, Instant::now());
        while since.elapsed() < Duration::from_secs(6) {
            std::thread::park_timeout(Duration::from_millis(50));
            let now = sent.load(SeqCst);
            if std::mem::replace(&mut before, now) != now {
                since = Instant::now();
            }
        }
        let (mut came, mut room) = (0, vec![0; 1 << 20]);
        while came < FRAME {
            let part = server.read(&mut room).expect("it is open");
            assert!(part > 0, "closed after {came} bytes");
            came += part;
        }
        server.write_all(b"\x82\x04done").expect("open");
        client.join().expect("it is answered");
    });
}
