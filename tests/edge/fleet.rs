//! Limits that several edges share over Redis, and what holds while it is away.

use crate::harness::*;
use std::time::{Duration, Instant};

/// A hundred requests, and then one in ten minutes.
fn yaml(redis: &Redis, limit: &str) -> String {
    let yaml = "
upstreams: {app: {servers: [$0]}}
redis: {url: \"$redis\"}
rate_limits: {shared: {key: client_address, rate: 1/10min, burst: 100, store: redis$limit}}
caches: {pages: {memory: 64MiB}}
routes:
- {name: stored, match: {path: /stored/*}, upstream: app, rate_limits: [shared], cache: {in: pages}}
- {name: all, match: {path: /*}, upstream: app, rate_limits: [shared]}
";
    yaml.replace("$redis", &redis.url())
        .replace("$limit", limit)
}

fn edge(yaml: &str, origin: &Origin) -> Edge {
    let edge = Edge::start(yaml, &[origin]);
    // The first question may come before the connection is there.
    eventually("redis is asked", || {
        let asked = "lakh_redis_command_seconds_count{use=\"limits\"}";
        get("/").from("127.0.0.77").send(&edge);
        edge.metric(asked) > 0.0 && edge.metric("lakh_redis_breaker_open") == 0.0
    });
    edge
}

fn decided(edge: &Edge, decision: &str) -> f64 {
    edge.metric(&format!(
        "lakh_limit_decisions_total{{decision=\"{decision}\"}}"
    ))
}

fn errors(edge: &Edge) -> f64 {
    edge.metric("lakh_limit_store_errors_total{limit=\"shared\"}")
}

/// Asks again and again; the statuses.
fn ask(edge: &Edge, n: usize, target: &str) -> Vec<u16> {
    let mut client = edge.connect();
    (0..n).map(|_| get(target).on(&mut client).status).collect()
}

fn passed(statuses: &[u16]) -> usize {
    assert!(
        statuses.iter().all(|s| [200, 429].contains(s)),
        "{statuses:?}"
    );
    statuses.iter().filter(|status| **status == 200).count()
}

#[test]
fn three_edges_together_let_in_what_one_would() {
    let (redis, origin) = (Redis::start(), Origin::saying("hello"));
    let yaml = yaml(&redis, "");
    let edges = [0; 3].map(|_| edge(&yaml, &origin));
    let before = origin.count();

    let statuses = at_once(6, |n| ask(&edges[n % 3], 40, "/"));

    let passed: usize = statuses.iter().map(|s| passed(s)).sum();
    assert_eq!(passed, 100);
    assert_eq!(origin.count() - before, 100);
    assert!(edges.iter().all(|edge| errors(edge) == 0.0));
    let refused = get("/").send(&edges[0]).expect_problem(429);
    let wait: u64 = refused.the("retry-after").parse().expect("seconds");
    assert!((590..=600).contains(&wait), "{wait}");
    let stands = format!("\"shared\";r=0;t={wait}");
    assert_eq!(refused.the("ratelimit"), stands);
    assert_eq!(
        refused.the("ratelimit-policy"),
        "\"shared\";q=1;w=600;lakh-burst=100"
    );
}

#[test]
fn two_edges_hold_a_shared_rate_within_a_hundredth() {
    let (redis, origin) = (Redis::start(), Origin::saying("hello"));
    let yaml = yaml(&redis, "").replace("rate: 1/10min, burst: 100", "rate: 400/s, burst: 50");
    let edges = [0; 2].map(|_| edge(&yaml, &origin));
    let (before, started) = (origin.count(), Instant::now());
    let limit = Duration::from_secs(3);

    at_once(6, |n| {
        let mut client = edges[n % 2].connect();
        while started.elapsed() < limit {
            get("/").on(&mut client);
        }
    });

    let took = started.elapsed().as_secs_f64();
    let (passed, due) = ((origin.count() - before) as f64, 50.0 + 400.0 * took);
    let refused: f64 = edges.iter().map(|e| decided(e, "refused")).sum();
    assert!(refused > 100.0, "it was the limit that held: {refused}");
    assert!((passed - due).abs() / due < 0.01, "{passed} of {due}");
    assert!(edges.iter().all(|edge| errors(edge) == 0.0));
}

/// A request that waits for Redis goes every way that others go, and is counted once.
#[test]
fn every_way_asks_once() {
    let redis = Redis::start();
    let origin = Origin::start(|_| Answer::of(200, &[("cache-control", "max-age=60")], "hello"));
    let edge = edge(&yaml(&redis, ""), &origin);
    let before = decided(&edge, "allowed");

    get("/a").send(&edge).expect(200);
    get("/stored/a").send(&edge).expect(200);
    let hit = get("/stored/a").send(&edge).expect(200);
    assert!(hit.is_hit());
    assert_eq!(hit.text(), "hello");
    assert!(h2c(edge.web, &get("/stored/a")).expect(200).is_hit());
    head("/stored/a").send(&edge).expect(200);
    post("/a", "x").send(&edge).expect(200);

    assert_eq!(decided(&edge, "allowed") - before, 6.0);
    let stands = get("/stored/a").send(&edge).the("ratelimit").to_owned();
    assert!(stands.starts_with("\"shared\";r=93;t="), "{stands}");
    // Pipelined ones are answered in order.
    let mut client = edge.connect();
    let wire: Vec<u8> = (0..3).flat_map(|_| get("/stored/a").wire()).collect();
    client.send(wire);
    for left in [92, 91, 90] {
        let reply = client.reply("GET").expect(200);
        let stands = format!("\"shared\";r={left};t=");
        assert!(reply.the("ratelimit").starts_with(&stands));
    }
}

#[test]
fn what_one_limit_refuses_takes_nothing_from_another() {
    let (redis, origin) = (Redis::start(), Origin::saying("hello"));
    let yaml = "
upstreams: {app: {servers: [$0]}}
redis: {url: \"$redis\"}
rate_limits:
  wide: {key: route, rate: 1/h, burst: 20, store: redis}
  here: {key: route, rate: 1/h, burst: 30}
  narrow: {key: client_address, rate: 1/h, burst: 2, store: redis}
routes: [{name: all, match: {path: /*}, upstream: app, rate_limits: [wide, here, narrow]}]
";
    let edge = edge(&yaml.replace("$redis", &redis.url()), &origin);
    let left = |reply: Reply| {
        let r = |item: &str| item.split([';', '=']).nth(2).expect("r=").parse::<usize>();
        let items = reply.the("ratelimit").split(", ");
        items
            .map(|item| r(item).expect("a number"))
            .collect::<Vec<_>>()
    };
    let before = left(get("/").from("127.0.0.3").send(&edge).expect(200));

    assert_eq!(passed(&ask(&edge, 12, "/")), 2);

    // What the refused ones took from `wide` is given back behind their backs.
    eventually("it is all there", || {
        left(get("/").send(&edge)) == [before[0] - 2, before[1] - 2, 0]
    });
}

/// Redis hangs, is killed, comes back: no request fails, none waits long, and it is used again.
#[test]
fn without_redis_the_limit_of_each_edge_holds() {
    let (mut redis, origin) = (Redis::start(), Origin::saying("hello"));
    let edge = edge(&yaml(&redis, ""), &origin);
    assert_eq!(passed(&ask(&edge, 120, "/")), 100);

    redis.hang();
    let started = Instant::now();
    assert_eq!(passed(&ask(&edge, 300, "/")), 100, "its own bucket is full");
    // Five timeouts of 50 ms; later questions aren't asked, but for one in a second.
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(errors(&edge), 300.0);
    assert_eq!(edge.metric("lakh_redis_breaker_open{use=\"limits\"}"), 1.0);

    redis.go_on();
    edge.await_recovery();
    assert_eq!(passed(&ask(&edge, 3, "/")), 0, "redis knows the bucket");

    redis.kill();
    get("/").from("127.0.0.4").send(&edge).expect(200);
    eventually("the edge knows", || errors(&edge) > 300.0);
    let redis = Redis::start_on(redis.address);
    edge.await_recovery();
    assert_eq!(
        passed(&ask(&edge, 120, "/")),
        100,
        "a new Redis knows nothing"
    );
    drop(redis);
}

#[test]
fn without_redis_all_are_let_in_or_none_as_configured() {
    let origin = Origin::saying("hello");
    for (word, status) in [("allow", 200), ("refuse", 503)] {
        let mut redis = Redis::start();
        let edge = edge(&yaml(&redis, &format!(", on_store_error: {word}")), &origin);
        assert_eq!(passed(&ask(&edge, 120, "/")), 100);

        redis.kill();
        eventually("the edge knows", || get("/").send(&edge).status == status);

        let statuses = ask(&edge, 50, "/");
        assert!(
            statuses.iter().all(|s| *s == status),
            "{word}: {statuses:?}"
        );
        if status == 503 {
            let reply = get("/").send(&edge).expect_problem(503);
            assert_eq!(reply.the("retry-after"), "1");
            assert_eq!(reply.json()["type"], "urn:lakh:problem:limit-unknown");
        }
        let _back = Redis::start_on(redis.address);
        edge.await_recovery();
        eventually("it is asked again", || passed(&ask(&edge, 1, "/")) == 1);
    }
}

trait Recovery {
    fn await_recovery(&self);
}

impl Recovery for Edge {
    /// Until Redis answers again.
    fn await_recovery(&self) {
        eventually("redis is asked again", || {
            get("/").from("127.0.0.78").send(self);
            let before = errors(self);
            get("/").from("127.0.0.78").send(self);
            errors(self) == before
        });
    }
}
