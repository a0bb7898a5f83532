//! HTTP/3's connections and the sockets that they come in by: how long they last, and who has them.

use crate::announced::Peeler;
use crate::harness::{Answer, Authority, Gate, Origin, get};
use crate::http3::{connect, start, start_with, with_http3};
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
