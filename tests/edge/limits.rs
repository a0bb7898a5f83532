//! What any client may cost.

use crate::harness::{Answer, Client, Edge, Gate, Origin, eventually, get, h2c, noise, post};
use std::time::{Duration, Instant};

fn edge_with(limits: &str, origin: &Origin) -> Edge {
    let yaml = "
limits: {LIMITS}
upstreams: {app: {servers: [$0]}}
routes:
- {name: uploads, match: {path: /uploads/*}, upstream: app, body_size: 1MiB}
- {name: all, match: {path: /*}, upstream: app}
";
    Edge::start(&yaml.replace("LIMITS", limits), &[origin])
}

/// Between a quarter of a second and three: the limits here are 300 ms.
#[track_caller]
fn assert_in_time(started: Instant) {
    let took = started.elapsed();
    assert!(
        (Duration::from_millis(250)..Duration::from_secs(3)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn a_body_over_the_limit_is_413() {
    let origin = Origin::start(|seen| Answer::ok(seen.body.len().to_string()));
    let edge = edge_with("body_size: 100KiB", &origin);

    for ask in [
        post("/", noise(102_401, 41)),
        post("/", noise(2 << 20, 42)),
        post("/uploads/x", noise((1 << 20) + 1, 43)),
    ] {
        for ask in [ask.clone(), ask.chunked()] {
            let mut client = edge.connect();
            ask.on(&mut client).expect_problem(413);
            assert!(client.closes(), "what is left of the body is no request");
        }
    }
    assert_eq!(origin.count(), 0, "no whole request got through");

    for ask in [
        post("/", noise(102_400, 44)),
        post("/uploads/x", noise(1 << 20, 45)),
    ] {
        assert_eq!(
            ask.send(&edge).expect(200).text(),
            ask.body.len().to_string()
        );
        assert_eq!(ask.chunked().send(&edge).expect(200).status, 200);
    }
    assert_eq!(
        edge.metric(r#"lakh_refused_total{reason="body_size"}"#),
        6.0
    );
}

#[test]
fn a_body_over_the_limit_is_413_over_h2c() {
    let origin = Origin::saying("hello");
    let edge = edge_with("body_size: 100KiB", &origin);

    h2c(edge.web, &post("/", noise(102_401, 46))).expect_problem(413);
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_head_over_the_limit_is_431() {
    let origin = Origin::saying("hello");
    let edge = edge_with("header_size: 8KiB", &origin);
    let start = "GET / HTTP/1.1\r\nHost: edge.test\r\n";
    let many: String = (0..200)
        .map(|n| format!("x-field-{n}: {}\r\n", "v".repeat(50)))
        .collect();

    for head in [
        format!("{start}x-large: {}\r\n\r\n", "v".repeat(9000)),
        format!("{start}{many}\r\n"),
        // Without an end: nobody waits for it.
        format!("{start}x-endless: {}", "v".repeat(20_000)),
    ] {
        let mut client = edge.connect();
        client.send(head);
        let reply = client.reply("GET").expect_problem(431);
        assert!(!reply.the("x-request-id").is_empty());
        assert!(client.closes());
    }
    let mut client = edge.connect();
    client.send(format!(
        "GET /{} HTTP/1.1\r\nHost: edge.test\r\n\r\n",
        "a".repeat(9000)
    ));
    let status = client.reply("GET").status;
    assert!(matches!(status, 414 | 431), "a target: {status}");
    assert_eq!(origin.count(), 0);
    assert_eq!(edge.metric("lakh_bad_requests_total"), 4.0);

    get("/")
        .with("x-large", "v".repeat(7000))
        .send(&edge)
        .expect(200);
}

#[test]
fn a_head_over_the_limit_is_431_over_h2c() {
    let origin = Origin::saying("hello");
    let edge = edge_with("header_size: 8KiB", &origin);

    h2c(edge.web, &get("/").with("x-large", "v".repeat(9000))).expect_problem(431);
    assert_eq!(origin.count(), 0);
}

/// 408, or closed without a word.
#[track_caller]
fn assert_cut(client: &mut Client) {
    match client.try_reply("GET") {
        Ok(reply) => {
            reply.expect_problem(408);
            assert!(client.closes());
        }
        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::UnexpectedEof, "{e}"),
    }
}

#[test]
fn a_head_that_does_not_end_is_cut() {
    let origin = Origin::saying("hello");
    let edge = edge_with("header_timeout: 300ms, idle_timeout: 20s", &origin);

    let mut silent = edge.connect();
    let started = Instant::now();
    silent.send("GET / HTTP/1.1\r\nHost: edge.te");
    assert_cut(&mut silent);
    assert_in_time(started);

    // One that sends a little now and then gets no more time for it.
    let mut dripping = edge.connect();
    let started = Instant::now();
    dripping.send("GET / HTTP/1.1\r\nHost: edge.test\r\nx-drip: ");
    while !dripping.has_answer_within(Duration::from_millis(40)) {
        assert!(started.elapsed() < Duration::from_secs(5), "it drips on");
        dripping.send("v");
    }
    assert_cut(&mut dripping);
    assert_in_time(started);
    assert_eq!(origin.count(), 0);
}

#[test]
fn an_idle_connection_is_closed() {
    let origin = Origin::saying("hello");
    let edge = edge_with("idle_timeout: 300ms", &origin);

    let mut used = edge.connect();
    get("/").on(&mut used).expect(200);
    let started = Instant::now();
    assert!(used.closes());
    assert_in_time(started);

    let mut unused = edge.connect();
    let started = Instant::now();
    assert!(unused.closes());
    assert_in_time(started);
    edge.await_metric("lakh_connections", 0.0);
}

#[test]
fn a_body_that_stops_coming_is_cut() {
    let origin = Origin::saying("hello");
    let edge = edge_with("body_timeout: 300ms", &origin);

    for start in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut client = edge.connect();
        let started = Instant::now();
        client.send(format!("POST / HTTP/1.1\r\nHost: edge.test\r\n{start}"));
        assert_cut(&mut client);
        assert_in_time(started);
    }
    assert_eq!(origin.count(), 0);
    edge.await_metric("lakh_in_flight", 0.0);
    edge.await_metric("lakh_upstream_active", 0.0);
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let body = noise(32 << 20, 47);
    let origin = Origin::start(move |_| Answer::ok(&body));
    let edge = edge_with("send_timeout: 300ms", &origin);

    let mut client = edge.connect();
    client.send(get("/").wire());
    origin.await_requests(1);

    edge.await_metric("lakh_in_flight", 0.0);
    edge.await_metric("lakh_connections", 0.0);
    edge.await_metric("lakh_upstream_active", 0.0);
    drop(client);
}

#[test]
fn connections_are_bounded() {
    let origin = Origin::saying("hello");
    let edge = edge_with("connections: 6, connections_per_address: 4", &origin);
    let open = |from: &str| {
        let mut client = Client::connect_from(from.parse().expect("an address"), edge.web);
        let served = get("/")
            .try_on(&mut client)
            .is_ok_and(|reply| reply.status == 200);
        (client, served)
    };

    let first: Vec<_> = (0..5).map(|_| open("127.0.0.2")).collect();
    let served = |clients: &[(Client, bool)]| clients.iter().filter(|(_, served)| *served).count();
    assert_eq!(served(&first), 4, "per address");
    let second: Vec<_> = (0..3).map(|_| open("127.0.0.3")).collect();
    assert_eq!(served(&second), 2, "in all");
    assert_eq!(edge.metric("lakh_connections_refused_total"), 2.0);
    assert!(edge.is_ready(), "operators are not crowded out");

    drop(first);
    eventually("there is room again", || open("127.0.0.2").1);
}

#[test]
fn a_hundred_slow_clients_hold_up_nobody() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |seen| match seen.path() {
        "/slow" => Answer::ok("late").after(&held),
        _ => Answer::ok("quick"),
    });
    let edge = edge_with("header_timeout: 20s", &origin);
    let mut slow: Vec<_> = (0..100)
        .map(|n| {
            let mut client = edge.connect();
            client.send(if n % 2 == 0 {
                get("/slow").wire()
            } else {
                b"GET /slow HT".to_vec()
            });
            client
        })
        .collect();
    edge.await_metric("lakh_connections", 100.0);

    let started = Instant::now();
    for _ in 0..20 {
        get("/quick").send(&edge).expect(200);
    }
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    gate.open();
    for client in slow.iter_mut().step_by(2) {
        client.reply("GET").expect(200);
    }
}
