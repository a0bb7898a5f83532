//! Too much at once: who is refused, how fast, and who is not.

use crate::harness::{Answer, Client, Edge, Gate, Origin, Step, at_once, eventually, get};
use std::sync::atomic::{AtomicBool, Ordering};

/// Answers once the gate is open; `/quick` at once.
fn slow(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |seen| match seen.path() {
        "/quick" => Answer::ok("quick"),
        _ => Answer::raw("")
            .then(Step::Wait(gate.clone()))
            .then(Step::Send(
                b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow".to_vec(),
            )),
    })
}

fn start(edge: &Edge, origin: &Origin, path: &str, n: usize) -> Vec<Client> {
    let before = origin.count();
    let mut clients: Vec<_> = (0..n).map(|_| edge.connect()).collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(get(path).wire()));
    eventually("all are at the origin", || origin.count() == before + n);
    clients
}

#[test]
fn a_route_takes_so_many_at_once() {
    let gate = Gate::default();
    let origin = slow(&gate);
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
routes:
- {name: few, match: {path: /few/*}, upstream: app, concurrency: 3}
- {name: all, match: {path: /*}, upstream: app}
",
        &[&origin],
    );
    let mut running = start(&edge, &origin, "/few/1", 3);

    let refused = get("/few/2").send(&edge).expect_problem(503);
    assert_eq!(refused.json()["type"], "urn:lakh:problem:route-busy");
    assert_eq!(refused.the("retry-after"), "1");
    get("/quick").send(&edge).expect(200);
    assert_eq!(
        edge.metric(r#"lakh_refused_total{route="few",reason="concurrency"}"#),
        1.0
    );
    assert_eq!(edge.metric(r#"lakh_route_running{route="few"}"#), 3.0);

    gate.open();
    for client in &mut running {
        assert_eq!(client.reply("GET").expect(200).text(), "slow");
    }
    edge.await_metric(r#"lakh_route_running{route="few"}"#, 0.0);
    get("/few/2").send(&edge).expect(200);
}

#[test]
fn a_client_has_so_many_at_once_whatever_connections_they_come_on() {
    let gate = Gate::default();
    let origin = slow(&gate);
    let edge = Edge::start(
        "
limits: {requests_per_address: 2}
upstreams: {app: {servers: [$0]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
",
        &[&origin],
    );
    let mut running = start(&edge, &origin, "/slow", 2);

    let refused = get("/quick").send(&edge).expect_problem(429);
    assert_eq!(refused.json()["type"], "urn:lakh:problem:too-many-at-once");
    get("/quick").from("127.0.0.2").send(&edge).expect(200);

    gate.open();
    for client in &mut running {
        client.reply("GET").expect(200);
    }
    edge.await_metric("lakh_in_flight", 0.0);
    get("/quick").send(&edge).expect(200);
}

#[test]
fn what_matters_least_is_shed_first() {
    let gate = Gate::default();
    let origin = slow(&gate);
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0], concurrency: {max: 10, queue: 0}}}
routes:
- {name: reports, match: {path: /reports}, upstream: app, priority: low}
- {name: checkout, match: {path: /checkout}, upstream: app, priority: high}
- {name: all, match: {path: /*}, upstream: app}
",
        &[&origin],
    );
    let _running = start(&edge, &origin, "/reports", 8);

    get("/reports").send(&edge).expect_problem(503);
    let _more = start(&edge, &origin, "/other", 2);
    let refused = get("/other").send(&edge).expect_problem(503);
    assert_eq!(refused.the("retry-after"), "1");
    gate.open();
}

/// A server that slows down under more than it can do: the limit goes down to what it can, and up
/// again when it is well.
#[test]
fn an_adaptive_limit_follows_what_the_server_can_do() {
    let origin = Origin::start(|_| {
        Answer::raw("")
            .then(Step::Dawdle(std::time::Duration::from_millis(2)))
            .then(Step::Send(
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec(),
            ))
    });
    let edge = Edge::start(
        "
access_log: {to: none}
upstreams: {app: {servers: [$0], concurrency: {max: 500, min: 4, queue: 1000, adaptive: true}}}
routes: [{name: all, match: {path: /*}, upstream: app}]
",
        &[&origin],
    );
    let limit = || edge.metric(r#"lakh_upstream_concurrency{upstream="app"}"#);
    let first = limit();
    assert!((4.0..=500.0).contains(&first));
    let learnt = AtomicBool::new(false);
    at_once(40, |n| {
        let mut client = edge.connect();
        for _ in 0..5_000 {
            get("/").on(&mut client).expect(200);
            if n == 0 && limit() != first {
                learnt.store(true, Ordering::SeqCst);
            }
            if learnt.load(Ordering::SeqCst) {
                return;
            }
        }
    });
    assert_ne!(limit(), first, "it has been learnt");
    assert!((4.0..=500.0).contains(&limit()));
}
