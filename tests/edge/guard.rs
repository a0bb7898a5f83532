//! Who is let in, and how often.

use crate::harness::{Answer, Edge, Origin, Reply, ask, at_once, eventually, get, h2c, head, post};

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
        edge.metric(r#"lakh_ratelimit_decisions_total{policy="few",decision="allowed"}"#),
        4.0
    );
    assert_eq!(
        edge.metric(r#"lakh_ratelimit_decisions_total{policy="few",decision="refused"}"#),
        4.0
    );
    assert_eq!(
        edge.metric(r#"lakh_refused_total{route="all",reason="rate_limit"}"#),
        4.0
    );
    assert_eq!(
        edge.metric(r#"lakh_http_requests_total{route="all",code="429"}"#),
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
    // Only of one connection are the lines written in the order of its requests.
    let mut client = edge.connect();

    for _ in 0..5 {
        get("/").on(&mut client).expect(200);
    }
    assert_eq!(
        edge.metric(r#"lakh_ratelimit_decisions_total{decision="dry_run"}"#),
        2.0
    );
    let lines = edge.access_log(5);
    let named = |line: &serde_json::Value| line["dry_limit"].as_str().map(str::to_owned);
    let few = Some("few".to_owned());
    let named: Vec<_> = lines.iter().map(named).collect();
    assert_eq!(named, [None, None, None, few.clone(), few]);
    assert!(lines.iter().all(|line| line["limit"].is_null()));
    let reply = get("/").send(&edge);
    assert_eq!(reply.field("ratelimit"), None, "it is not in force");
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
fn several_things_may_be_one_key() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
rate_limits:
  both: {key: [client_address, header:x-device-id], rate: 1/min, burst: 1}
  session: {key: cookie:session, rate: 1/min, burst: 1}
routes:
- {name: both, match: {path: /both}, upstream: app, rate_limits: [both]}
- {name: session, match: {path: /session}, upstream: app, rate_limits: [session]}
",
        &[&origin],
    );
    let device = |device: &str, from: &str| {
        let ask = get("/both").with("x-device-id", device).from(from);
        ask.send(&edge).status
    };
    assert_eq!(device("a", "127.0.0.1"), 200);
    assert_eq!(device("a", "127.0.0.1"), 429);
    assert_eq!(device("b", "127.0.0.1"), 200);
    assert_eq!(device("a", "127.0.0.2"), 200);
    get("/both").send(&edge).expect(200);
    // Leaving a part out is no way around it.
    expect_refused(get("/both").send(&edge));

    let session = |cookie: &str| get("/session").with("cookie", cookie).send(&edge).status;
    assert_eq!(session("a=1; session=x"), 200);
    assert_eq!(session("session=x; a=2"), 429);
    assert_eq!(session("session=y"), 200);
    assert_eq!(session("xsession=x"), 200, "who has none is not concerned");
    assert_eq!(session("xsession=x"), 200);
}

#[test]
fn the_first_tier_that_fits_holds() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
rate_limits:
  device:
    key: client_address
    rate: 1/h
    tiers:
    - {when: {header:x-plan: gold, cookie:kind: office}, rate: 4/h}
    - {when: {header:x-plan: gold}, rate: 2/h}
routes: [{name: all, match: {path: /*}, upstream: app, rate_limits: [device]}]
",
        &[&origin],
    );
    let passed = |plan: &str, cookie: &str| {
        let ask = get("/").with("x-plan", plan).with("cookie", cookie);
        (0..6).filter(|_| ask.send(&edge).status == 200).count()
    };
    assert_eq!(passed("none", "kind=office"), 1);
    assert_eq!(passed("gold", "kind=truck"), 2);
    assert_eq!(passed("gold", "a=1; kind=office"), 4);
    assert_eq!(
        passed("golden", "kind=office"),
        0,
        "as those without a tier"
    );
    let reply = get("/").with("x-plan", "gold").send(&edge);
    assert_eq!(reply.the("ratelimit-policy"), "\"device\";q=2;w=3600");
}

#[test]
fn methods_cost_what_they_cost() {
    let origin = Origin::saying("hello");
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
rate_limits: {all: {key: route, rate: 1/h, burst: 10, cost: {POST: 5, HEAD: 0, default: 2}}}
routes: [{name: all, match: {path: /*}, upstream: app, rate_limits: [all]}]
",
        &[&origin],
    );
    let left = |reply: &Reply| reply.the("ratelimit").to_owned();
    let reply = post("/", "x").send(&edge).expect(200);
    assert_eq!(left(&reply), "\"all\";r=5;t=3600");
    let reply = ask("DELETE", "/").send(&edge).expect(200);
    assert!(
        left(&reply).starts_with("\"all\";r=3;t=3"),
        "{}",
        left(&reply)
    );
    let reply = head("/").send(&edge).expect(200);
    assert_eq!(reply.field("ratelimit"), None, "not counted");
    let reply = post("/", "x").send(&edge).expect_problem(429);
    // Two units are missing: nearly two hours.
    let wait: u64 = reply.the("retry-after").parse().expect("seconds");
    assert!((7190..=7200).contains(&wait), "{wait}");
    assert_eq!(left(&reply), format!("\"all\";r=3;t={wait}"));
    get("/").send(&edge).expect(200);
    assert_eq!(get("/").send(&edge).status, 429);
}

/// Stored or not, whole or not, over HTTP/1.1 or HTTP/2, passed or refused.
#[test]
fn every_answer_says_how_the_limits_stand() {
    let origin = Origin::start(|seen| {
        let stored = seen.target.starts_with("/stored");
        let fields = [
            (
                "cache-control",
                if stored { "max-age=60" } else { "no-store" },
            ),
            ("etag", "\"1\""),
            ("ratelimit", "\"own\";r=5"),
        ];
        Answer::of(200, &fields, "hello")
    });
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
rate_limits:
  minute: {key: client_address, rate: 10/min}
  hour: {key: client_address, rate: 100/h, burst: 50}
  quiet: {key: client_address, rate: 100/h, fields: false}
caches: {pages: {memory: 64MiB}}
routes:
- {name: stored, match: {path: /stored/*}, upstream: app, rate_limits: [minute, hour, quiet], cache: {in: pages}}
- {name: free, match: {path: /free}, upstream: app}
- {name: all, match: {path: /*}, upstream: app, rate_limits: [minute, hour, quiet]}
",
        &[&origin],
    );
    let says = |reply: Reply, left: u32, wait: &str| {
        let policy = "\"minute\";q=10;w=60, \"hour\";q=100;w=3600;lakh-burst=50";
        assert_eq!(reply.the("ratelimit-policy"), policy);
        let hour = 40 + left;
        let own = reply.all("ratelimit").pop().expect("ours").to_owned();
        let expected = format!("\"minute\";r={left};t={wait}, \"hour\";r={hour};t=");
        assert!(own.starts_with(&expected), "{own}");
        reply
    };
    let stored = get("/stored/a");
    let fill = says(stored.send(&edge).expect(200), 9, "6");
    assert_eq!(
        fill.all("ratelimit")[0],
        "\"own\";r=5",
        "the server's is kept"
    );
    assert!(says(stored.send(&edge).expect(200), 8, "6").is_hit());
    says(get("/").send(&edge).expect(200), 7, "6");
    says(h2c(edge.web, &stored).expect(200), 6, "6");
    says(h2c(edge.web, &get("/")).expect(200), 5, "6");
    let known = get("/stored/a").with("if-none-match", "\"1\"");
    says(known.send(&edge).expect(304), 4, "6");
    says(post("/", "x").send(&edge).expect(200), 3, "6");
    let part = get("/stored/a").with("range", "bytes=0-1");
    says(part.send(&edge).expect(206), 2, "6");
    says(head("/stored/a").send(&edge).expect(200), 1, "6");
    says(stored.send(&edge).expect(200), 0, "6");

    let refused = stored.send(&edge).expect_problem(429);
    let wait = refused.the("retry-after").to_owned();
    says(refused, 0, &wait);
    let refused = h2c(edge.web, &get("/")).expect_problem(429);
    let wait = refused.the("retry-after").to_owned();
    says(refused, 0, &wait);
    let lines = edge.access_log(12);
    let refused = lines.iter().filter(|line| line["status"] == 429);
    let limits: Vec<_> = refused.map(|line| &line["limit"]).collect();
    assert_eq!(limits, ["minute"; 2]);

    let free = get("/free").send(&edge).expect(200);
    assert_eq!(free.all("ratelimit"), ["\"own\";r=5"]);
    assert_eq!(free.field("ratelimit-policy"), None);
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
