//! Limits that several edges share over Redis, and what holds while it is away.

use crate::harness::*;
use std::time::{Duration, Instant};

/// So long that a busy machine is no error; and so short that many are waited for.
const PATIENT: &str = "2s";
const BRIEF: &str = "100ms";

/// A hundred requests, and then one in ten minutes.
fn yaml(redis: &Redis, limit: &str) -> String {
    let yaml = "
upstreams: {app: {servers: [$0]}}
redis: {url: \"$redis\", timeout: $timeout}
rate_limits: {shared: {key: client_address, rate: 1/10min, burst: 100, store: redis$limit}}
caches: {pages: {memory: 64MiB}}
routes:
- {name: stored, match: {path: /stored/*}, upstream: app, rate_limits: [shared], cache: {in: pages}}
- {name: all, match: {path: /*}, upstream: app, rate_limits: [shared]}
";
    yaml.replace("$redis", &redis.url())
        .replace("$limit", limit)
        .replace("$timeout", PATIENT)
}

fn edge(yaml: &str, origin: &Origin) -> Edge {
    let edge = Edge::start(yaml, &[origin]);
    // The first question may come before the connection is there.
    edge.await_recovery();
    edge
}

fn decided(edge: &Edge, decision: &str) -> f64 {
    edge.metric(&format!(
        "lakh_ratelimit_decisions_total{{decision=\"{decision}\"}}"
    ))
}

/// Times that Redis didn't answer.
fn errors(edge: &Edge) -> f64 {
    edge.metric("lakh_ratelimit_store_errors_total")
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
    let (before, errors) = (origin.count(), edges.each_ref().map(errors));

    let statuses = at_once(6, |n| ask(&edges[n % 3], 40, "/"));

    let passed: usize = statuses.iter().map(|s| passed(s)).sum();
    assert_eq!(passed, 100);
    assert_eq!(origin.count() - before, 100);
    assert_eq!(edges.each_ref().map(self::errors), errors);
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
    let errors = edges.each_ref().map(errors);
    // What passed in three seconds, and what was due, for a client with a bucket of its own.
    let round = |client: u8| {
        let source = [127, 0, 0, client].into();
        let (before, started) = (origin.count(), Instant::now());
        at_once(6, |n| {
            let mut client = Client::connect_from(source, edges[n % 2].web);
            while started.elapsed() < Duration::from_secs(3) {
                get("/").on(&mut client);
            }
        });
        let took = started.elapsed().as_secs_f64();
        ((origin.count() - before) as f64, 50.0 + 400.0 * took)
    };

    // On a machine with other things to do, the clients may ask too seldom.
    let held = (10..15).map(round).any(|(passed, due)| {
        assert!(passed <= due * 1.01, "{passed} of {due}");
        passed >= due * 0.99
    });

    assert!(held, "less than was due, five times");
    let refused: f64 = edges.iter().map(|e| decided(e, "refused")).sum();
    assert!(refused > 100.0, "it was the limit that held: {refused}");
    assert_eq!(edges.each_ref().map(self::errors), errors);
}

/// A request that waits for Redis goes every way that others go, and is counted once.
#[test]
fn every_way_asks_once() {
    let redis = Redis::start();
    let origin = Origin::start(|seen| {
        let fields = [
            ("cache-control", "max-age=60"),
            ("content-type", "text/plain"),
        ];
        let size = if seen.target.ends_with("long") {
            1000
        } else {
            1
        };
        Answer::of(200, &fields, "hello".repeat(size))
    });
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

    let coded = get("/stored/long").with("accept-encoding", "gzip");
    for asked in [&get("/stored/long"), &coded, &coded] {
        asked.send(&edge).expect(200);
    }

    assert_eq!(decided(&edge, "allowed") - before, 9.0);
    let stands = get("/stored/a").send(&edge).the("ratelimit").to_owned();
    assert!(stands.starts_with("\"shared\";r=90;t="), "{stands}");
    // Pipelined ones are answered in order.
    let mut client = edge.connect();
    let wire: Vec<u8> = (0..3).flat_map(|_| get("/stored/a").wire()).collect();
    client.send(wire);
    for left in [89, 88, 87] {
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
redis: {url: \"$redis\", timeout: 2s}
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

/// The same limit, in Redis and here: its script counts as `governor` does.
#[test]
fn a_shared_limit_says_what_one_of_its_own_says() {
    let (redis, origin) = (Redis::start(), Origin::saying("hello"));
    let limit = "key: [route, header:x-device-id], rate: 7/h, burst: 20, \
                 cost: {POST: 6, DELETE: 0, default: 1}, tiers: [{when: {header:x-plan: gold}, rate: 3/min, burst: 9}]";
    let yaml = "
upstreams: {app: {servers: [$0]}}
redis: {url: \"$redis\", timeout: 2s}
rate_limits: {here: {$limit}, there: {$limit, store: redis}, asked: {key: client_address, rate: 1000/s, store: redis}}
routes:
- {name: here, match: {path: /here}, upstream: app, rate_limits: [here]}
- {name: there, match: {path: /there}, upstream: app, rate_limits: [there]}
- {name: asked, match: {path: /*}, upstream: app, rate_limits: [asked]}
";
    let yaml = yaml.replace("$limit", limit);
    let edge = edge(&yaml.replace("$redis", &redis.url()), &origin);
    let left = |reply: &Reply| {
        let field = reply.field("ratelimit")?.to_owned();
        let (left, wait) = field.split_once("r=")?.1.split_once(";t=")?;
        let number = |text: &str| text.parse::<i64>().expect("a number");
        Some((number(left), number(wait)))
    };
    let (steps, before) = (noise(80, 7), errors(&edge));
    for (n, step) in steps.iter().enumerate() {
        let method = ["GET", "POST", "DELETE", "HEAD"][usize::from(step % 4)];
        let plan = ["gold", "none"][usize::from(step / 4 % 2)];
        let device = step / 8 % 3;
        let [here, there] = ["/here", "/there"].map(|target| {
            let ask = crate::harness::ask(method, target).with("x-plan", plan);
            ask.with("x-device-id", device).send(&edge)
        });
        assert_eq!(here.status, there.status, "{n}: {method} {plan} {device}");
        let (here, there) = (left(&here), left(&there));
        assert_eq!(here.map(|h| h.0), there.map(|t| t.0), "{n}");
        let apart = here
            .zip(there)
            .map_or(0, |(here, there)| (here.1 - there.1).abs());
        assert!(apart <= 1, "{n}: {here:?} {there:?}");
        if n == 40 {
            // It is sent again.
            redis.say(&[b"SCRIPT", b"FLUSH"]);
        }
    }
    assert_eq!(errors(&edge) - before, 0.0);
}

/// Redis hangs, is killed, comes back: no request fails, none waits long, and it is used again.
#[test]
fn without_redis_the_limit_of_each_edge_holds() {
    let (mut redis, origin) = (Redis::start(), Origin::saying("hello"));
    let edge = edge(&yaml(&redis, "").replace(PATIENT, BRIEF), &origin);
    assert_eq!(passed(&ask(&edge, 120, "/")), 100);
    let before = errors(&edge);

    redis.hang();
    let started = Instant::now();
    assert_eq!(passed(&ask(&edge, 300, "/")), 100, "its own bucket is full");
    // Five timeouts; later questions aren't asked, but for one in a second.
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(errors(&edge) - before, 300.0);
    assert_eq!(edge.metric("lakh_redis_breaker_open{use=\"limits\"}"), 1.0);

    redis.go_on();
    edge.await_recovery();
    assert_eq!(passed(&ask(&edge, 3, "/")), 0, "redis knows the bucket");

    redis.kill();
    let before = errors(&edge);
    get("/").from("127.0.0.4").send(&edge).expect(200);
    eventually("the edge knows", || {
        get("/").from("127.0.0.77").send(&edge);
        errors(&edge) > before
    });
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
