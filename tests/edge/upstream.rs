//! Which server gets a request, and what happens when it fails.

use crate::harness::{
    Answer, Ask, Client, Edge, Gate, Origin, Reply, Step, at_once, eventually, free_address, get,
    post,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const TWO: &str = "
upstreams: {app: {servers: [$0, $1]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";

const STICKY: &str = "
upstreams: {app: {servers: [$0, $1, $2], sticky: {cookie: lakh_affinity, max_age: 24h}}}
routes: [{name: all, match: {path: /*}, upstream: app}]
";

const CHECKED: &str = "
upstreams:
  app:
    servers: [$0, $1]
    health_check: {path: /health, interval: 50ms, timeout: 2s, unhealthy_after: 2, healthy_after: 2, status: [200]}
routes: [{name: all, match: {path: /*}, upstream: app}]
";

/// An address where nobody listens.
struct Nobody(std::net::SocketAddr);

fn counted(replies: impl IntoIterator<Item = Reply>) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for reply in replies {
        *counts.entry(reply.expect(200).text()).or_insert(0) += 1;
    }
    counts
}

#[test]
fn weights_share_out_the_requests() {
    for balance in ["least_connections", "round_robin", "random_two"] {
        let (small, large) = (Origin::saying("small"), Origin::saying("large"));
        let edge = Edge::start(
            &format!(
                "
upstreams: {{app: {{balance: {balance}, servers: [$0, {{address: $1, weight: 3}}]}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
"
            ),
            &[&small, &large],
        );
        let mut client = edge.connect();

        let counts = counted((0..400).map(|_| get("/").on(&mut client)));

        // A random choice is within five standard deviations of its share.
        let spread = if balance == "random_two" { 44 } else { 8 };
        let large = counts["large"];
        assert!(large.abs_diff(300) <= spread, "{balance}: {counts:?}");
    }
}

#[test]
fn a_server_of_weight_zero_gets_nothing() {
    let (on, off) = (Origin::saying("on"), Origin::saying("off"));
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0, {address: $1, weight: 0}]}}
routes: [{name: all, match: {path: /*}, upstream: app}]
",
        &[&on, &off],
    );
    let mut client = edge.connect();

    let counts = counted((0..20).map(|_| get("/").on(&mut client)));

    assert_eq!(counts["on"], 20);
    assert_eq!(off.count(), 0);
}

#[test]
fn the_server_with_fewer_requests_in_flight_is_picked() {
    let gate = Gate::default();
    let slow = |gate: Gate| {
        move |seen: &crate::harness::Seen| match seen.path() {
            "/slow" => Answer::ok("slow").after(&gate),
            _ => Answer::ok("quick"),
        }
    };
    let (one, two) = (
        Origin::start(slow(gate.clone())),
        Origin::start(slow(gate.clone())),
    );
    let edge = Edge::start(TWO, &[&one, &two]);
    let mut waiting = edge.connect();
    waiting.send(get("/slow").wire());
    eventually("one of them has the slow request", || {
        one.count() + two.count() == 1
    });
    let (busy, idle) = if one.count() == 1 {
        (&one, &two)
    } else {
        (&two, &one)
    };

    let mut client = edge.connect();
    for _ in 0..20 {
        get("/").on(&mut client).expect(200);
    }

    assert_eq!((busy.count(), idle.count()), (1, 20));
    assert_eq!(
        edge.metric(&format!(
            "lakh_upstream_active{{server=\"{}\"}}",
            busy.address
        )),
        1.0
    );
    gate.open();
    waiting.reply("GET").expect(200);
    edge.await_metric("lakh_upstream_active", 0.0);
}

#[test]
fn a_request_in_flight_is_given_back_when_the_client_leaves() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::ok("late").after(&held));
    let edge = Edge::before(&origin);

    let mut client = edge.connect();
    client.send(get("/").wire());
    origin.await_requests(1);
    edge.await_metric("lakh_upstream_active", 1.0);
    drop(client);
    // Some proxies notice at once, some when the answer can't be delivered; none later.
    gate.open();

    edge.await_metric("lakh_upstream_active", 0.0);
    edge.await_metric("lakh_in_flight", 0.0);
}

#[test]
fn a_connect_failure_is_tried_on_another_server() {
    let (nobody, alive) = (Nobody(free_address()), Origin::saying("alive"));
    let edge = Edge::start(
        &format!(
            "
upstreams: {{app: {{balance: round_robin, servers: [\"{}\", $0]}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
",
            nobody.0
        ),
        &[&alive],
    );
    let mut client = edge.connect();

    for n in 0..10 {
        get("/").on(&mut client).expect(200);
        post("/", format!("body {n}")).on(&mut client).expect(200);
    }

    assert_eq!(alive.count(), 20);
    assert!(edge.metric("lakh_upstream_retries_total") >= 1.0);
    assert!(
        edge.metric(&format!(
            "lakh_upstream_failures_total{{server=\"{}\"}}",
            nobody.0
        )) >= 1.0
    );
    assert_eq!(alive.seen()[1].body, b"body 0");
}

#[test]
fn a_get_that_broke_is_tried_again_and_a_post_is_not() {
    let break_off = |seen: &crate::harness::Seen| match seen.path() {
        "/broken" => Answer::hang_up(),
        _ => Answer::ok("fine"),
    };
    let (one, two) = (Origin::start(break_off), Origin::start(break_off));
    let edge = Edge::start(TWO, &[&one, &two]);

    post("/broken", "an order").send(&edge).expect_problem(502);
    assert_eq!(one.count() + two.count(), 1, "an order is placed once");

    get("/broken").send(&edge).expect_problem(502);
    assert_eq!(one.count() + two.count(), 3, "both servers were asked");
    get("/").send(&edge).expect(200);
}

#[test]
fn a_kept_connection_that_the_origin_closed_fails_nobody() {
    let origin = Origin::start(|seen| match seen.path() {
        "/last" => Answer::ok("bye").then(Step::Close),
        _ => Answer::ok("hello"),
    });
    let edge = Edge::before(&origin);

    // The next request may meet the connection that is just being closed.
    for _ in 0..30 {
        get("/last").send(&edge).expect(200);
        get("/").send(&edge).expect(200);
    }
}

#[test]
fn connections_to_servers_are_kept() {
    let origin = Origin::start(|_| Answer::ok("hello"));
    let edge = Edge::before(&origin);
    let mut client = edge.connect();

    for _ in 0..50 {
        get("/").on(&mut client).expect(200);
    }

    assert_eq!(origin.count(), 50);
    assert!(
        origin.connections() <= 5,
        "{} connections for 50 requests",
        origin.connections()
    );
}

#[test]
fn attempts_bound_how_many_servers_are_tried() {
    let hang_up = || Origin::start(|_| Answer::hang_up());
    let origins = [hang_up(), hang_up(), hang_up()];
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0, $1, $2], retry: {attempts: 2}}}
routes: [{name: all, match: {path: /*}, upstream: app}]
",
        &[&origins[0], &origins[1], &origins[2]],
    );

    get("/").send(&edge).expect_problem(502);

    assert_eq!(origins.iter().map(Origin::count).sum::<usize>(), 2);
}

fn with_cookie(ask: Ask, cookie: &str) -> Ask {
    ask.with("cookie", format!("other=1; {cookie}"))
}

/// `NAME=VALUE` of the answer's Set-Cookie.
fn cookie_of(reply: &Reply) -> String {
    let cookie = reply.the("set-cookie");
    assert!(cookie.starts_with("lakh_affinity="), "{cookie}");
    cookie
        .split(';')
        .next()
        .expect("split gives one at least")
        .to_owned()
}

#[test]
fn a_sticky_cookie_keeps_a_client_with_its_server() {
    let origins = ["a", "b", "c"].map(Origin::saying);
    let edge = Edge::start(STICKY, &[&origins[0], &origins[1], &origins[2]]);

    let first = get("/").send(&edge).expect(200);
    let attributes = first.the("set-cookie").to_lowercase();
    for attribute in ["httponly", "path=/", "max-age=86400", "samesite="] {
        assert!(
            attributes.contains(attribute),
            "{attribute} in {attributes}"
        );
    }
    let cookie = cookie_of(&first);

    for _ in 0..20 {
        let reply = with_cookie(get("/"), &cookie).send(&edge).expect(200);
        assert_eq!(reply.text(), first.text());
        assert_eq!(reply.field("set-cookie"), None, "it has one already");
    }
    edge.reload(&format!("{STICKY}access_log: {{to: none}}\n"));
    let reply = with_cookie(get("/"), &cookie).send(&edge).expect(200);
    assert_eq!(reply.text(), first.text(), "a reload does not move clients");
}

#[test]
fn a_sticky_cookie_keeps_a_client_with_its_server_on_a_route_that_stores() {
    let sharing = |name: &'static str| {
        Origin::start(move |seen| match seen.path() {
            "/shared" => Answer::of(200, &[("cache-control", "max-age=60")], name),
            _ => Answer::of(200, &[("cache-control", "private")], name),
        })
    };
    let origins = ["a", "b", "c"].map(sharing);
    let cached = STICKY.replace("upstream: app}]", "upstream: app, cache: {in: pages}}]");
    let edge = Edge::start(
        &format!("{cached}caches: {{pages: {{memory: 64MiB}}}}\n"),
        &[&origins[0], &origins[1], &origins[2]],
    );

    let first = get("/me").send(&edge).expect(200);
    let cookie = cookie_of(&first);
    for n in 0..20 {
        // Those of one URL wait for each other at first, and are remembered as one client's own then.
        let ask = with_cookie(get(&format!("/me/{}", n / 2)), &cookie);
        let reply = ask.send(&edge).expect(200);
        assert_eq!(reply.text(), first.text());
        assert_eq!(reply.field("set-cookie"), None, "it has one already");
    }
    for _ in 0..2 {
        let shared = get("/shared").send(&edge).expect(200);
        assert_eq!(shared.field("set-cookie"), None, "{shared:?}");
    }
}

#[test]
fn a_forged_sticky_cookie_chooses_nothing() {
    let origins = ["a", "b", "c"].map(Origin::saying);
    let edge = Edge::start(STICKY, &[&origins[0], &origins[1], &origins[2]]);
    let good = cookie_of(&get("/").send(&edge).expect(200));
    let value = good.strip_prefix("lakh_affinity=").expect("its name");

    let changed = |at: usize| {
        let other = if &value[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &value[..at], &value[at + 1..])
    };
    let mut forged: Vec<_> = (0..value.len() - 1).map(changed).collect();
    forged.extend([
        "".into(),
        "x".into(),
        "%00".into(),
        value[1..].into(),
        format!("{value}A"),
    ]);
    let mut client = edge.connect();
    for forged in forged {
        let reply = with_cookie(get("/"), &format!("lakh_affinity={forged}"))
            .on(&mut client)
            .expect(200);
        // Believed, it would not be issued again.
        assert!(reply.field("set-cookie").is_some(), "{forged} was believed");
    }
}

#[test]
fn a_sticky_cookie_is_issued_anew_when_its_server_is_gone() {
    let mut origins = ["a", "b", "c"].map(Origin::saying);
    let edge = Edge::start(STICKY, &[&origins[0], &origins[1], &origins[2]]);
    let first = get("/").send(&edge).expect(200);
    let old = cookie_of(&first);

    origins
        .iter_mut()
        .find(|o| o.count() == 1)
        .expect("one had it")
        .stop();
    let moved = with_cookie(get("/"), &old).send(&edge).expect(200);

    assert_ne!(moved.text(), first.text());
    let new = cookie_of(&moved);
    for _ in 0..10 {
        assert_eq!(
            with_cookie(get("/"), &new).send(&edge).expect(200).text(),
            moved.text()
        );
    }
}

#[test]
fn a_health_check_takes_a_server_out_and_back() {
    let well = Arc::new(AtomicBool::new(true));
    let healthy = well.clone();
    let one = Origin::start(move |seen| match seen.path() {
        "/health" if !healthy.load(Ordering::SeqCst) => Answer::of(503, &[], "ill"),
        _ => Answer::ok("one"),
    });
    let two = Origin::saying("two");
    let edge = Edge::start(CHECKED, &[&one, &two]);
    let up = format!("lakh_upstream_up{{server=\"{}\"}}", one.address);
    let ask_many = || counted(at_once(10, |_| get("/").send(&edge)));

    edge.await_metric(&up, 1.0);
    well.store(false, Ordering::SeqCst);
    edge.await_metric(&up, 0.0);
    let before = one.count();
    assert_eq!(ask_many()["two"], 10);
    assert_eq!(one.count(), before, "an ill server gets no requests");

    well.store(true, Ordering::SeqCst);
    edge.await_metric(&up, 1.0);
    let mut client = edge.connect();
    eventually("it gets requests again", || {
        get("/").on(&mut client).expect(200).text() == "one"
    });
}

#[test]
fn a_health_check_finds_a_server_that_hangs_or_is_gone() {
    let gate = Gate::default();
    let held = gate.clone();
    let hangs = Origin::start(move |_| Answer::ok("late").after(&held));
    let mut gone = Origin::saying("gone");
    let address = gone.address;
    let edge = Edge::start(
        &CHECKED.replace("timeout: 2s", "timeout: 100ms"),
        &[&hangs, &gone],
    );

    edge.await_metric(
        &format!("lakh_upstream_up{{server=\"{}\"}}", hangs.address),
        0.0,
    );
    get("/").send(&edge).expect(200);
    gone.stop();
    edge.await_metric(&format!("lakh_upstream_up{{server=\"{address}\"}}"), 0.0);

    let _back = Origin::start_on(address, |_| Answer::ok("back"));
    edge.await_metric(&format!("lakh_upstream_up{{server=\"{address}\"}}"), 1.0);
    assert_eq!(get("/").send(&edge).expect(200).text(), "back");
    gate.open();
}

#[test]
fn one_bad_probe_takes_nobody_out() {
    let probes = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = probes.clone();
    let origin = Origin::start(move |seen| match seen.path() {
        "/health" if counted.fetch_add(1, Ordering::SeqCst) % 2 == 1 => Answer::of(500, &[], ""),
        _ => Answer::ok("hello"),
    });
    let other = Origin::saying("other");
    let edge = Edge::start(CHECKED, &[&origin, &other]);

    eventually("ten probes, half of them bad", || {
        assert_eq!(edge.metric("lakh_upstream_up"), 2.0);
        probes.load(Ordering::SeqCst) >= 10
    });
}

#[test]
fn all_servers_down_is_said_quickly() {
    let (one, two) = (free_address(), free_address());
    let edge = Edge::start(
        &format!(
            "
upstreams: {{app: {{servers: [\"{one}\", \"{two}\"]}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
"
        ),
        &[],
    );

    for ask in [get("/"), post("/", "x")] {
        let started = Instant::now();
        let reply = ask.send(&edge);
        assert!(matches!(reply.status, 502 | 503), "{reply:?}");
        let status = reply.status;
        reply.expect_problem(status);
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{:?}",
            started.elapsed()
        );
    }
}

#[test]
fn a_server_that_comes_back_gets_requests_without_a_health_check() {
    let mut origin = Origin::saying("before");
    let address = origin.address;
    let edge = Edge::before(&origin);
    get("/").send(&edge).expect(200);

    origin.stop();
    let down = get("/").send(&edge);
    assert!(matches!(down.status, 502 | 503), "{down:?}");
    let _back = Origin::start_on(address, |_| Answer::ok("after"));

    eventually("it is tried again", || {
        get("/").send(&edge).text() == "after"
    });
}

#[test]
fn a_server_that_does_not_answer_is_504_in_time() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::ok("late").after(&held));
    let edge = Edge::start(
        "
upstreams:
  hasty: {servers: [$0], timeouts: {read: 200ms}, retry: {attempts: 1}}
  patient: {servers: [$0]}
routes:
- {name: hasty, match: {path: /hasty}, upstream: hasty}
- {name: route, match: {path: /route}, upstream: patient, timeout: 200ms}
",
        &[&origin],
    );

    for path in ["/hasty", "/route"] {
        let started = Instant::now();
        get(path).send(&edge).expect_problem(504);
        let took = started.elapsed();
        assert!(
            (Duration::from_millis(190)..Duration::from_secs(3)).contains(&took),
            "{path}: {took:?}"
        );
    }
    gate.open();
}

#[test]
fn a_server_may_answer_before_it_has_read_the_body() {
    let origin = Origin::start(|_| Answer::ok("never asked"));
    let early = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = early.local_addr().expect("its address");
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = early.accept().expect("a connection");
        let mut some = [0; 1024];
        assert!(stream.read(&mut some).expect("the head") > 0);
        stream
            .write_all(b"HTTP/1.1 403 No\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
            .expect("sent");
        // What still comes is read, so that the answer is not lost to a reset.
        while stream.read(&mut some).is_ok_and(|n| n > 0) {}
    });
    let edge = Edge::start(
        &format!(
            "
upstreams: {{app: {{servers: [\"{address}\"]}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app}}]
"
        ),
        &[&origin],
    );
    let mut client = Client::connect(edge.web);

    client.send(
        "POST / HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 1000000\r\n\r\nonly the start",
    );

    assert_eq!(client.reply("POST").expect(403).text(), "no");
    drop(client);
    answering.join().expect("it does not panic");
}
