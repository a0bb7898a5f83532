//! Server-sent events and long polls: what a server says is with its client before it says more.

use crate::harness::{
    Answer, Ask, Authority, Client, Edge, Gate, Http2, Http3, Origin, Step, Streaming, Trust,
    eventually, free_address, get,
};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

const EVENTS: usize = 4;

/// One opens when its event has been read: then the origin says the next.
type Gates = [Gate; EVENTS];

/// Those of each target.
#[derive(Clone, Default)]
struct Talks(Arc<Mutex<HashMap<String, Gates>>>);

impl Talks {
    fn of(&self, target: &str) -> Gates {
        let mut talks = self.0.lock().expect("nobody panics with it");
        talks.entry(target.to_owned()).or_default().clone()
    }
}

fn event(i: usize) -> String {
    format!("id: {i}\ndata: {}\n\n", "x".repeat(i * 300))
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// Says its events one after the other, each when the one before was heard.
fn talk(gates: &Gates, more: &str) -> Answer {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{more}transfer-encoding: chunked\r\n\r\n"
    );
    let mut answer = Answer::raw(head + &chunk(&event(0)));
    for i in 1..EVENTS {
        let next = chunk(&event(i));
        answer = answer
            .then(Step::Wait(gates[i - 1].clone()))
            .then_send(next);
    }
    let last = gates[EVENTS - 1].clone();
    answer.then(Step::Wait(last)).then_send("0\r\n\r\n")
}

/// An edge that speaks everything, `talks` behind it, and a listener without TLS.
struct World {
    edge: Edge,
    origin: Origin,
    plain: SocketAddr,
    trust: Trust,
    talks: Talks,
}

fn world() -> World {
    let (authority, plain, talks) = (Authority::new(), free_address(), Talks::default());
    let told = talks.clone();
    let origin = Origin::start(move |seen| {
        let more = match seen.target.contains("no-cache") {
            true => "cache-control: no-cache\r\n",
            false => "",
        };
        talk(&told.of(&seen.target), more)
    });
    let yaml = format!(
        "
listeners:
  web: {{address: $web, http3: true, tls: {{certificates: [{{cert_file: $dir/site.pem, key_file: $dir/site.key}}]}}}}
  plain: {{address: {plain}}}
upstreams: {{app: {{servers: [$0]}}}}
caches: {{pages: {{memory: 10MiB}}}}
routes:
  - {{name: all, match: {{path: /*}}, upstream: app}}
  - {{name: cached, match: {{path: /cached/*}}, upstream: app, cache: {{in: pages, ttl: 60s}}}}
"
    );
    let edge = Edge::start_with(&yaml, &[&origin], |dir| {
        authority.sign("edge.test").write(dir, "site");
        authority.write(dir);
    });
    World {
        edge,
        origin,
        plain,
        trust: Trust::of(&authority),
        talks,
    }
}

/// Hears every event before the next is said, and the end.
fn hear(mut next: impl FnMut() -> Vec<u8>, gates: &Gates) {
    for (i, gate) in gates.iter().enumerate() {
        let (event, mut heard) = (event(i), Vec::new());
        while heard.len() < event.len() {
            heard.extend(next());
        }
        assert_eq!(String::from_utf8_lossy(&heard), event);
        gate.open();
    }
    assert_eq!(next(), b"");
}

fn hear_http1(mut client: Client, ask: &Ask, gates: &Gates) {
    client.send(ask.wire());
    let head = client.read_head().expect("a head").expect(200);
    assert_eq!(head.field("content-encoding"), None);
    hear(|| client.read_chunk().expect("an event"), gates);
}

fn hear_http2(mut asked: Streaming<'_>, gates: &Gates) {
    let head = asked.head().expect("a head").expect(200);
    assert_eq!(head.field("content-encoding"), None);
    let next = || asked.part().expect("an event").unwrap_or_default().to_vec();
    hear(next, gates);
}

fn hear_http3(mut client: Http3, ask: &Ask, gates: &Gates) {
    let mut asked = client.begin(ask);
    asked.finish().expect("no body");
    asked.head().expect("a head").expect(200);
    let next = || asked.part().expect("an event").unwrap_or_default().to_vec();
    hear(next, gates);
}

#[test]
fn each_event_arrives_before_the_next_is_sent() {
    let world = world();
    let (edge, plain, trust) = (&world.edge, world.plain, &world.trust);
    for folder in ["/passed", "/cached/silent", "/cached/no-cache"] {
        let ask = |way: &str| {
            let target = format!("{folder}/{way}");
            let ask = get(&target).with("accept-encoding", "gzip, br, zstd");
            (
                ask.with("accept", "text/event-stream"),
                world.talks.of(&target),
            )
        };
        let (request, gates) = ask("h1");
        hear_http1(Client::connect(plain), &request, &gates);
        let (request, gates) = ask("h1-tls");
        hear_http1(trust.connect(edge, "edge.test"), &request, &gates);
        let (request, gates) = ask("h2c");
        hear_http2(Http2::connect(plain).ask(&request), &gates);
        let (request, gates) = ask("h2-tls");
        let http2 = Http2::connect_tls(edge.web, trust, "edge.test");
        hear_http2(http2.ask(&request), &gates);
        let (request, gates) = ask("h3");
        let http3 = Http3::connect(edge.web, trust, "edge.test");
        hear_http3(http3, &request, &gates);
    }
}

/// What a route's `ttl` lets be kept is not what happens to somebody else.
#[test]
fn everybody_hears_a_stream_of_their_own() {
    let world = world();
    let (ask, gates) = (get("/cached/all"), world.talks.of("/cached/all"));
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(world.plain)).collect();
    for client in &mut clients {
        client.send(ask.wire());
        client.read_head().expect("a head").expect(200);
        assert_eq!(client.read_chunk().expect("an event"), event(0).as_bytes());
    }
    for gate in &gates {
        gate.open();
    }
    for client in &mut clients {
        for i in 1..EVENTS {
            assert_eq!(client.read_chunk().expect("an event"), event(i).as_bytes());
        }
        assert_eq!(client.read_chunk().expect("the end"), b"");
    }
    assert_eq!(world.origin.count(), 3);
}

#[test]
fn a_long_poll_waits_for_its_own_answer_alone() {
    let gates: [Gate; 2] = Default::default();
    let held = gates.clone();
    let origin = Origin::start(move |seen| {
        let answer = Answer::of(200, &[("cache-control", "no-store")], &seen.target);
        match seen.field("x-poll").map(|n| n.parse::<usize>()) {
            Some(Ok(n)) => answer.after(&held[n]),
            _ => answer,
        }
    });
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 10MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages}}]
",
        &[&origin],
    );
    // From here on it is known that these can't be shared.
    get("/poll").send(&edge).expect(200);
    let mut clients: Vec<_> = (0..2)
        .map(|n| {
            let mut client = edge.connect();
            client.send(get("/poll").with("x-poll", n).wire());
            client
        })
        .collect();
    eventually("both are asked", || origin.count() == 3);
    get("/else").send(&edge).expect(200);

    gates[1].open();
    assert_eq!(clients[1].reply("GET").expect(200).text(), "/poll");
    assert!(!gates[0].is_open());
    gates[0].open();
    assert_eq!(clients[0].reply("GET").expect(200).text(), "/poll");
}
