//! HTTP/3's connections and the sockets that they come in by: how long they last, and who has them.

use crate::announced::Peeler;
use crate::harness::{Answer, Authority, Edge, Gate, Http3, Origin, Trust, eventually, get};
use crate::http3::{connect, start, start_with, with_http3};
use crate::upgrade::upgraded;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What is held until the gate opens, and what is not.
fn holding(gate: &Gate) -> Origin {
    let held = gate.clone();
    Origin::start(move |seen| match seen.path() {
        "/held" => Answer::ok("at last").after(&held),
        _ => Answer::ok("hello"),
    })
}

/// RFC 9114 §5.1: who waits for an answer is not idle.
#[test]
fn who_waits_for_an_answer_for_longer_than_idle_timeout_gets_it() {
    let (gate, authority) = (Gate::default(), Authority::new());
    let origin = holding(&gate);
    let edge = start(&origin, &authority, "limits: {idle_timeout: 3s}");
    let mut client = connect(&edge, &authority);
    let mut asked = client.begin(&get("/held"));
    asked.finish().expect("no body");
    origin.await_requests(1);
    let asked_at = Instant::now();
    while asked_at.elapsed() < Duration::from_secs(7) {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    gate.open();
    assert_eq!(asked.reply().expect("an answer").text(), "at last");
    drop(asked);
    // But who asks for nothing is closed.
    client.ended();
}

/// From one address to all, and back.
#[test]
fn a_listener_may_take_in_its_own_port_on_other_addresses() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let one = with_http3("", "");
    let edge = start_with(&origin, &authority, &one);
    let port = edge.web.port();
    let all = one.replace("$web,", &format!("'0.0.0.0:{port}',"));
    assert_ne!(all, one);
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], port));
    let trust = Trust::of(&authority);
    let ask = |address| {
        // Who waits in the queue of one that closes has to come again.
        eventually("an answer over TCP", || {
            let client = trust.try_connect(address, "edge.test");
            let reply = client.and_then(|mut client| get("/").try_on(&mut client));
            reply.is_ok_and(|reply| reply.status == 200)
        });
        let mut client = Http3::connect(address, &trust, "edge.test");
        client.send(&get("/")).expect(200);
    };
    let mut client = connect(&edge, &authority);
    for _ in 0..2 {
        edge.reload(&all);
        ask(edge.web);
        ask(elsewhere);
        client.send(&get("/")).expect(200);
        edge.reload(&one);
        ask(edge.web);
        client.send(&get("/")).expect(200);
        eventually("nobody listens on others", || {
            std::net::TcpStream::connect(elsewhere).is_err()
        });
    }
}

fn drains_slowly(authority: &Authority, origin: &Origin) -> Edge {
    start(origin, authority, "process: {drain: 120s}")
}

fn alternative(edge: &Edge, authority: &Authority) -> Option<String> {
    let mut tcp = Trust::of(authority).connect(edge, "edge.test");
    let reply = get("/").on(&mut tcp).expect(200);
    reply.field("alt-svc").map(str::to_owned)
}

/// Who drains lets go of the address that nobody uses any more, however long it drains.
#[test]
fn after_an_upgrade_the_new_process_speaks_it_as_soon_as_it_can() {
    let (tcp_gate, quic_gate, authority) = (Gate::default(), Gate::default(), Authority::new());
    let held = [tcp_gate.clone(), quic_gate.clone()];
    let origin = Origin::start(move |seen| match seen.path() {
        "/tcp" => Answer::ok("at last").after(&held[0]),
        "/quic" => Answer::ok("at last").after(&held[1]),
        _ => Answer::ok("hello"),
    });
    let mut edge = drains_slowly(&authority, &origin);
    let mut over_tcp = Trust::of(&authority).connect(&edge, "edge.test");
    over_tcp.send(get("/tcp").wire());
    let mut client = connect(&edge, &authority);
    let mut asked = client.begin(&get("/quic"));
    asked.finish().expect("no body");
    origin.await_requests(2);
    assert!(alternative(&edge, &authority).is_some());

    upgraded(&mut edge);
    eventually(
        "the new process does not announce what the old one still has",
        || alternative(&edge, &authority).is_none(),
    );
    quic_gate.open();
    assert_eq!(asked.reply().expect("an answer").text(), "at last");
    drop(asked);
    drop(client);
    eventually("it is announced", || {
        alternative(&edge, &authority).is_some()
    });
    connect(&edge, &authority).send(&get("/")).expect(200);
    tcp_gate.open();
    assert_eq!(over_tcp.reply("GET").expect(200).text(), "at last");
    assert_eq!(edge.await_end().code(), Some(0));
}

#[test]
fn servers_are_told_where_a_client_came_to() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let peeler = Peeler::before(origin.address);
    let yaml =
        with_http3("", "").replace("[$0]", &format!("[{}], proxy_protocol: v1", peeler.address));
    let edge = start_with(&origin, &authority, &yaml);
    connect(&edge, &authority).send(&get("/")).expect(200);
    let told = peeler.of_clients().concat();
    let told = String::from_utf8(told).expect("text");
    let ends = format!(" {}\r\n", edge.web.port());
    assert!(
        told.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 ") && told.ends_with(&ends),
        "{told}"
    );
}
