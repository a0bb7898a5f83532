//! HTTP/3's connections and the sockets that they come in by: how long they last, and who has them.

use crate::harness::{Answer, Authority, Gate, Origin, get};
use crate::http3::{connect, start};
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
