//! One of three servers fails, in every way that servers do; no client may see it.

use crate::harness::{Answer, Client, Edge, Gate, Origin, Seen, Step, at_once, get};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const THREE: &str = "
access_log: {to: none}
upstreams:
  app:
    balance: round_robin
    servers: [$0, $1, $2]
    timeouts: {connect: 500ms, read: 500ms}
    health_check: {interval: 100ms, timeout: 150ms, unhealthy_after: 3, healthy_after: 2}
    ejection: {consecutive_failures: 3, for: 60s}
    circuit_breaker: {failures: 6, open_for: 60s}
    retry:
      per_try: 150ms
      on: [connect, timeout, broken, 500, 502, 503, 504]
      backoff: {base: 1ms, max: 10ms}
routes: [{name: all, match: {path: /*}, upstream: app}]
";

const CLIENTS: usize = 4;
const REQUESTS: usize = 250;

/// Timing on a shared machine says nothing below this.
const NOISE: Duration = Duration::from_millis(60);

/// An origin that is well until it is told to fail, probes included or not.
struct Failing {
    origin: Origin,
    fails: Arc<AtomicBool>,
}

impl Failing {
    fn new(fault: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Failing {
        let fails = Arc::new(AtomicBool::new(false));
        let told = fails.clone();
        let origin = Origin::start(move |seen| match told.load(Ordering::SeqCst) {
            true => fault(seen),
            false => Answer::ok("whole"),
        });
        Failing { origin, fails }
    }
}

/// Asks many times over kept connections; the slowest hundredth of the answers took this long.
/// Every answer must be whole and good.
#[track_caller]
fn p99(edge: &Edge) -> Duration {
    let ask_many = |_| {
        let mut client = Client::connect(edge.web);
        let ask = |_| {
            let started = Instant::now();
            let reply = get("/").on(&mut client).expect(200);
            assert_eq!(reply.text(), "whole");
            started.elapsed()
        };
        (0..REQUESTS).map(ask).collect::<Vec<_>>()
    };
    let mut times: Vec<_> = at_once(CLIENTS, ask_many).into_iter().flatten().collect();
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Under this fault no request fails, and once it is found none is slow.
#[track_caller]
fn nobody_notices(failing: &Failing, fail: impl FnOnce()) {
    let (two, three) = (Origin::saying("whole"), Origin::saying("whole"));
    let edge = Edge::start(THREE, &[&failing.origin, &two, &three]);
    let healthy = p99(&edge);

    failing.fails.store(true, Ordering::SeqCst);
    fail();
    let server = failing.origin.address;
    let mut client = edge.connect();
    let found = Instant::now() + Duration::from_secs(15);
    while edge.server(server)["state"] == "up" {
        assert!(Instant::now() < found, "the fault is never found");
        get("/").on(&mut client).expect(200);
    }
    let shown = edge.server(server);
    assert!(shown["why"].is_string(), "it says why: {shown}");

    let found = p99(&edge);
    assert!(
        found <= (healthy * 2).max(NOISE),
        "healthy {healthy:?}, after detection {found:?}, {shown}"
    );
}

#[test]
fn it_hangs_before_the_header() {
    let gate = Gate::default();
    let held = gate.clone();
    let failing = Failing::new(move |_| Answer::ok("late").after(&held));
    nobody_notices(&failing, || {});
    gate.open();
}

#[test]
fn it_hangs_for_requests_while_its_probes_are_well() {
    let gate = Gate::default();
    let held = gate.clone();
    let failing = Failing::new(move |seen| match seen.path() {
        "/health" => Answer::ok("well"),
        _ => Answer::ok("late").after(&held),
    });
    nobody_notices(&failing, || {});
    gate.open();
}

#[test]
fn it_resets_connections() {
    let failing = Failing::new(|_| Answer::reset());
    nobody_notices(&failing, || {});
}

#[test]
fn it_closes_connections_without_an_answer() {
    let failing = Failing::new(|_| Answer::hang_up());
    nobody_notices(&failing, || {});
}

#[test]
fn it_answers_500() {
    let failing = Failing::new(|seen| match seen.path() {
        "/health" => Answer::ok("well"),
        _ => Answer::of(500, &[], "failed"),
    });
    nobody_notices(&failing, || {});
}

#[test]
fn it_answers_what_is_not_http() {
    let failing = Failing::new(|_| Answer::raw("SSH-2.0-OpenSSH_9.6\r\n\r\n").then(Step::Close));
    nobody_notices(&failing, || {});
}

#[test]
fn it_answers_slowly() {
    let failing = Failing::new(|_| Answer::ok("whole").slowly(Duration::from_millis(400)));
    nobody_notices(&failing, || {});
}

#[test]
fn it_refuses_connections() {
    let (mut failing, two, three) = (
        Origin::saying("whole"),
        Origin::saying("whole"),
        Origin::saying("whole"),
    );
    let edge = Edge::start(THREE, &[&failing, &two, &three]);
    let healthy = p99(&edge);

    let address = failing.address;
    failing.stop();
    let during = p99(&edge);
    edge.await_state(address, "down");

    assert!(
        during <= (healthy * 2).max(NOISE),
        "{healthy:?}, then {during:?}"
    );
    let _back = Origin::start_on(address, |_| Answer::ok("whole"));
    edge.await_state(address, "up");
    p99(&edge);
}

#[test]
fn it_comes_and_goes() {
    let (mut flapping, two, three) = (
        Origin::saying("whole"),
        Origin::saying("whole"),
        Origin::saying("whole"),
    );
    let edge = Edge::start(THREE, &[&flapping, &two, &three]);
    let address = flapping.address;
    for _ in 0..5 {
        flapping.stop();
        p99(&edge);
        flapping = Origin::start_on(address, |_| Answer::ok("whole"));
        p99(&edge);
    }
}

/// How an answer that breaks off in its body looks: never like a whole one.
#[track_caller]
fn breaks_visibly(break_off: impl Fn() -> Answer + Send + Sync + 'static) {
    let failing = Origin::start(move |seen| match seen.path() {
        "/health" => Answer::ok("well"),
        _ => break_off(),
    });
    let (two, three) = (Origin::saying("whole"), Origin::saying("whole"));
    let edge = Edge::start(THREE, &[&failing, &two, &three]);

    let mut broken = 0;
    let found = Instant::now() + Duration::from_secs(15);
    while edge.server(failing.address)["state"] == "up" {
        assert!(Instant::now() < found, "the fault is never found");
        let reply = get("/").try_on(&mut edge.connect());
        match reply {
            Ok(reply) => assert_eq!(reply.text(), "whole"),
            Err(_) => broken += 1,
        }
    }
    assert!((3..=6).contains(&broken), "{broken} broken transfers");
    p99(&edge);
}

#[test]
fn a_length_that_is_not_reached_is_a_broken_transfer() {
    breaks_visibly(|| {
        Answer::raw("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort").then(Step::Close)
    });
}

#[test]
fn chunks_without_an_end_are_a_broken_transfer() {
    breaks_visibly(|| {
        let start = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n";
        Answer::raw(start).then(Step::Reset)
    });
}

#[test]
fn a_body_that_hangs_is_a_broken_transfer() {
    breaks_visibly(|| {
        let start = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort";
        Answer::raw(start).then(Step::Dawdle(Duration::from_secs(2)))
    });
}
