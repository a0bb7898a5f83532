//! Who is let in, and how often.

use crate::harness::{Edge, Origin, Reply, at_once, eventually, get, h2c};

/// Three requests at once, then one in a minute.
const THREE: &str = "
upstreams: {app: {servers: [$0]}}
rate_limits: {few: {key: client_address, rate: 1/min, burst: 3}}
routes: [{name: all, match: {path: /*}, upstream: app, rate_limits: [few]}]
";

#[track_caller]
fn expect_refused(reply: Reply) {
    let reply = reply.expect_problem(429);
    let seconds: u64 = reply.the("retry-after").parse().expect("whole seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
}

#[test]
fn after_a_burst_comes_429() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(THREE, &[&origin]);
    let mut client = edge.connect();

    for _ in 0..3 {
        get("/").on(&mut client).expect(200);
    }
    expect_refused(get("/").on(&mut client));
    expect_refused(get("/other").on(&mut client));
    expect_refused(get("/").send(&edge));
    expect_refused(h2c(edge.web, &get("/")));

    assert_eq!(origin.count(), 3);
    get("/").from("127.0.0.2").send(&edge).expect(200);
    assert_eq!(
        edge.metric(r#"lakh_limit_decisions_total{limit="few",decision="allowed"}"#),
        4.0
    );
    assert_eq!(
        edge.metric(r#"lakh_limit_decisions_total{limit="few",decision="refused"}"#),
        4.0
    );
    assert_eq!(
        edge.metric(r#"lakh_refused_total{route="all",reason="rate_limit"}"#),
        4.0
    );
    assert_eq!(
        edge.metric(r#"lakh_requests_total{route="all",class="4xx"}"#),
        4.0
    );
}

#[test]
fn a_burst_at_once_lets_no_more_in() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(THREE, &[&origin]);

    let statuses = at_once(30, |_| get("/").send(&edge).status);

    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        3,
        "{statuses:?}"
    );
    assert_eq!(origin.count(), 3);
}

#[test]
fn tokens_come_back() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        &THREE.replace("rate: 1/min, burst: 3", "rate: 5/s, burst: 1"),
        &[&origin],
    );

    get("/").send(&edge).expect(200);
    eventually("it is refused", || get("/").send(&edge).status == 429);
    eventually("it is let in again", || get("/").send(&edge).status == 200);
}

#[test]
fn a_dry_run_refuses_nobody() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        &THREE.replace("burst: 3", "burst: 3, dry_run: true"),
        &[&origin],
    );

    for _ in 0..5 {
        get("/").send(&edge).expect(200);
    }
    assert_eq!(
        edge.metric(r#"lakh_limit_decisions_total{decision="dry_run"}"#),
        2.0
    );
}

#[test]
fn a_limit_may_be_of_a_field_or_of_the_route() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
rate_limits:
  device: {key: 'header:X-Device-Id', rate: 1/min, burst: 1}
  route: {key: route, rate: 1/min, burst: 2}
routes:
- {name: device, match: {path: /device}, upstream: app, rate_limits: [device]}
- {name: one, match: {path: /one}, upstream: app, rate_limits: [route]}
- {name: two, match: {path: /two}, upstream: app, rate_limits: [route]}
",
        &[&origin],
    );

    get("/device")
        .with("x-device-id", "a")
        .send(&edge)
        .expect(200);
    expect_refused(
        get("/device")
            .with("x-device-id", "a")
            .from("127.0.0.2")
            .send(&edge),
    );
    get("/device")
        .with("x-device-id", "b")
        .send(&edge)
        .expect(200);

    get("/one").send(&edge).expect(200);
    get("/one").from("127.0.0.2").send(&edge).expect(200);
    expect_refused(get("/one").from("127.0.0.3").send(&edge));
    get("/two").send(&edge).expect(200);
}

#[test]
fn all_limits_of_a_route_hold() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
rate_limits:
  wide: {key: route, rate: 1/min, burst: 4}
  narrow: {key: client_address, rate: 1/min, burst: 2}
routes: [{name: all, match: {path: /*}, upstream: app, rate_limits: [wide, narrow]}]
",
        &[&origin],
    );

    for _ in 0..2 {
        get("/").send(&edge).expect(200);
    }
    expect_refused(get("/").send(&edge));
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_claimed_address_counts_only_from_a_trusted_proxy() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        &format!("trusted_proxies: [127.0.0.5/32]\n{THREE}"),
        &[&origin],
    );
    let through_proxy = |client: &str| {
        get("/")
            .with("x-forwarded-for", client)
            .from("127.0.0.5")
            .send(&edge)
    };

    for _ in 0..3 {
        through_proxy("203.0.113.1").expect(200);
    }
    expect_refused(through_proxy("203.0.113.1"));
    // The last hop counts: what stands before it any client can write.
    expect_refused(through_proxy("198.51.100.1, 203.0.113.1"));
    through_proxy("203.0.113.2").expect(200);

    for n in 0..3 {
        get("/")
            .with("x-forwarded-for", format!("198.51.100.{n}"))
            .send(&edge)
            .expect(200);
    }
    expect_refused(get("/").with("x-forwarded-for", "198.51.100.9").send(&edge));
}

#[test]
fn addresses_are_denied_and_allowed() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
routes:
- {name: denies, match: {path: /denies}, upstream: app, deny: [127.0.0.2/32]}
- {name: allows, match: {path: /allows}, upstream: app, allow: [127.0.0.0/30, 10.0.0.0/8]}
- {name: both, match: {path: /both}, upstream: app, allow: [127.0.0.0/8], deny: [127.0.0.2/32]}
",
        &[&origin],
    );

    for (path, from, let_in) in [
        ("/denies", "127.0.0.1", true),
        ("/denies", "127.0.0.2", false),
        ("/allows", "127.0.0.2", true),
        ("/allows", "127.0.0.9", false),
        ("/both", "127.0.0.1", true),
        ("/both", "127.0.0.2", false),
    ] {
        let reply = get(path).from(from).send(&edge);
        if let_in {
            reply.expect(200);
        } else {
            reply.expect_problem(403);
        }
    }
    assert_eq!(origin.count(), 3);
    assert_eq!(edge.metric(r#"lakh_refused_total{reason="address"}"#), 3.0);
}

#[test]
fn limits_keep_their_count_over_a_reload() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(THREE, &[&origin]);
    for _ in 0..3 {
        get("/").send(&edge).expect(200);
    }

    edge.reload(&THREE.replace("path: /*", "path: /new/*"));

    get("/").send(&edge).expect(404);
    expect_refused(get("/new/x").send(&edge));
}
