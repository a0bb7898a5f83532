//! How it ends, and how it does not begin.

use crate::harness::{Answer, Edge, Gate, Origin, Step, eventually, get, lakh};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const DRAINING: &str = "
process: {drain: 20s}
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB, max_object: 1MiB}}
routes:
- {name: cached, match: {path: /cached/*}, upstream: app, cache: {in: pages}}
- {name: all, match: {path: /*}, upstream: app}
";

#[test]
fn a_request_in_flight_is_finished_and_nobody_else_is_let_in() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen| match seen.path() {
        "/cached/slow" => {
            Answer::of(200, &[("cache-control", "max-age=60")], "finished").after(&held)
        }
        "/begun" => Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nfini")
            .then(Step::Wait(held.clone()))
            .then_send("shed"),
        _ => Answer::ok("finished").after(&held),
    });
    let mut edge = Edge::start(DRAINING, &[&origin]);
    let mut clients = ["/slow", "/cached/slow", "/begun"].map(|target| {
        let mut client = edge.connect();
        client.send(get(target).wire());
        client
    });
    origin.await_requests(3);
    let mut idle = edge.connect();

    edge.sigterm();

    eventually("nobody is let in", || TcpStream::connect(edge.web).is_err());
    assert_eq!(
        edge.admin("/readyz")
            .expect("operators may still look")
            .status,
        503
    );
    assert_eq!(
        edge.admin("/healthz")
            .expect("operators may still look")
            .status,
        200
    );
    assert!(idle.closes(), "an idle connection is closed");
    gate.open();
    for client in &mut clients {
        assert_eq!(client.reply("GET").expect(200).text(), "finished");
        assert!(client.closes(), "it takes no second request");
    }
    assert_eq!(edge.await_exit().code(), Some(0));
}

#[test]
fn with_nothing_open_it_ends_at_once() {
    let origin = Origin::saying("hello");
    let mut edge = Edge::start(DRAINING, &[&origin]);
    let mut kept = edge.connect();
    get("/").on(&mut kept).expect(200);
    let started = Instant::now();

    edge.sigterm();

    assert_eq!(edge.await_exit().code(), Some(0));
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
    assert!(kept.closes());
}

#[test]
fn the_drain_has_an_end() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::ok("never").after(&held));
    let mut edge = Edge::start(&DRAINING.replace("20s", "500ms"), &[&origin]);
    let mut client = edge.connect();
    client.send(get("/").wire());
    origin.await_requests(1);
    let started = Instant::now();

    edge.sigterm();

    assert_eq!(edge.await_exit().code(), Some(0));
    let took = started.elapsed();
    assert!(
        (Duration::from_millis(450)..Duration::from_secs(4)).contains(&took),
        "{took:?}"
    );
    assert!(client.closes());
    gate.open();
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::ok("never").after(&held));
    let mut edge = Edge::start(DRAINING, &[&origin]);
    let mut client = edge.connect();
    client.send(get("/").wire());
    origin.await_requests(1);
    let started = Instant::now();

    edge.sigterm();
    eventually("it drains", || TcpStream::connect(edge.web).is_err());
    edge.sigterm();

    edge.await_exit();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    gate.open();
}

#[test]
fn a_busy_address_is_told_within_a_second() {
    let (busy, free) = (Origin::saying("busy"), crate::harness::free_address());
    let other = crate::harness::free_address();
    for (web, admin) in [(busy.address, free), (free, busy.address)] {
        let (output, took) = lakh(
            "run",
            &format!(
                "
listeners: {{web: {{address: \"{web}\"}}}}
admin: {{address: \"{admin}\"}}
upstreams: {{app: {{servers: [\"{other}\"]}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
"
            ),
        );

        assert_eq!(output.status.code(), Some(1));
        assert!(took < Duration::from_secs(1), "{took:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            stderr.contains(&busy.address.to_string()) && stderr.contains("in use"),
            "{stderr}"
        );
        assert!(!stderr.contains("panic"), "{stderr}");
    }
}

#[test]
fn an_address_is_free_again_right_after_a_stop() {
    let origin = Origin::saying("hello");
    let mut edge = Edge::start(DRAINING, &[&origin]);
    let web = edge.web;
    get("/").send(&edge).expect(200);
    edge.sigterm();
    edge.await_exit();

    let again = Edge::start(
        &format!(
            "
listeners: {{web: {{address: \"{web}\"}}}}
upstreams: {{app: {{servers: [$0]}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
"
        ),
        &[&origin],
    );
    get("/")
        .on(&mut crate::harness::Client::connect(web))
        .expect(200);
    drop(again);
}
