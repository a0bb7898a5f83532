//! Hits over HTTP/1.1, which are answered on the connection itself, among requests that are not.

use crate::harness::{Answer, Edge, Origin, Reply, Seen, eventually, get, h2c, head, noise, post};
use std::time::Duration;

const EDGE: &str = "
limits: {send_timeout: 1s}
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB, max_object: 32MiB}}
rate_limits: {few: {key: 'header:x-who', rate: 1/h, burst: 3}}
routes:
  - {name: limited, match: {path: /limited/*}, upstream: app, cache: {in: pages}, rate_limits: [few]}
  - name: edited
    match: {path: /edited/*}
    upstream: app
    cache: {in: pages}
    response_headers: {set: {x-set: '1'}, remove: [x-own]}
  - {name: all, match: {path: /*}, upstream: app, cache: {in: pages}}
";

const MEDIUM: usize = 100 << 10;
const LARGE: usize = 16 << 20;

fn edge() -> (Edge, Origin) {
    let origin = Origin::start(answer);
    (Edge::start(EDGE, &[&origin]), origin)
}

fn answer(seen: &Seen) -> Answer {
    let fields = [
        ("cache-control", "max-age=60"),
        ("etag", "\"1\""),
        ("x-own", "1"),
        ("x-request-id", "the origin's"),
        ("last-modified", "Sat, 01 Jan 2000 00:00:00 GMT"),
    ];
    match seen.path() {
        "/none" => Answer::of(204, &fields, "").without_body(),
        "/gone" => Answer::of(410, &fields, "gone"),
        "/medium" => Answer::of(200, &fields, noise(MEDIUM, 2)),
        "/large" => Answer::of(200, &fields, noise(LARGE, 1)),
        "/private" => Answer::of(200, &[("cache-control", "private")], "private"),
        path => Answer::of(200, &fields, path),
    }
}

#[test]
fn hits_and_others_are_answered_in_order() {
    let (edge, _origin) = edge();
    for stored in ["/a", "/medium", "/large"] {
        get(stored).send(&edge).expect(200);
    }
    let asks = [
        get("/a"),
        head("/a"),
        get("/medium"),
        get("/large"),
        get("/a").with("if-none-match", "\"1\""),
        get("/new"),
        get("/a").with("range", "bytes=1-"),
        post("/a/write", "body"),
        get("/private"),
        get("/a").with("connection", "close"),
    ];
    let mut client = edge.connect();
    client.send(asks.iter().flat_map(|ask| ask.wire()).collect::<Vec<_>>());

    let replies: Vec<_> = [
        "GET", "HEAD", "GET", "GET", "GET", "GET", "GET", "POST", "GET", "GET",
    ]
    .map(|method| client.reply(method))
    .into();

    let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 304, 200, 206, 200, 200, 200]);
    let bodies: Vec<_> = replies.iter().map(|reply| reply.body.len()).collect();
    assert_eq!(bodies, [2, 0, MEDIUM, LARGE, 0, 4, 1, 8, 7, 2]);
    assert_eq!(replies[1].the("content-length"), "2");
    assert_eq!(replies[2].body, noise(MEDIUM, 2));
    assert_eq!(replies[3].body, noise(LARGE, 1));
    assert!(client.closes());
}

#[test]
fn a_hit_says_the_same_on_every_way() {
    let (edge, _origin) = edge();
    let paths = ["/a", "/none", "/gone", "/edited/a"];
    let age = |reply: &Reply| reply.the("age").parse::<u64>().expect("seconds");
    for path in paths {
        eventually("it is stored", || {
            get(path).send(&edge).cache_status().starts_with("hit")
        });
        let here = get(path).send(&edge);
        // Neither is for the express lane.
        let ways = [
            get(path).with("te", "trailers").send(&edge),
            h2c(edge.web, &get(path)),
        ];
        for other in ways {
            assert_eq!(here.status, other.status, "{path}");
            assert_eq!(here.body, other.body, "{path}");
            let names = [
                "cache-control",
                "content-length",
                "content-type",
                "etag",
                "last-modified",
                "via",
                "x-own",
                "x-set",
            ];
            for name in names {
                assert_eq!(here.all(name), other.all(name), "{path} {name}");
            }
            assert!(here.is_hit() && other.is_hit(), "{here:?} {other:?}");
            assert!((age(&here)..=age(&here) + 60).contains(&age(&other)));
            assert_eq!(here.all("date").len(), 1);
            assert_eq!(
                other.the("x-request-id").len(),
                here.the("x-request-id").len()
            );
        }
    }
}

#[test]
fn who_goes_on_to_the_origin_is_counted_once() {
    let (edge, _origin) = edge();
    let ask = |path| get(path).with("x-who", "me");
    ask("/limited/1").send(&edge).expect(200);
    ask("/limited/2").send(&edge).expect(200);
    ask("/limited/2").send(&edge).expect(200);
    ask("/limited/2").send(&edge).expect_problem(429);
    get("/limited/3")
        .with("cache-control", "no-store")
        .send(&edge)
        .expect(200);
    for (series, value) in [
        (r#"lakh_cache_requests_total{status="miss"}"#, 2.0),
        (r#"lakh_cache_requests_total{status="hit"}"#, 1.0),
        (r#"lakh_cache_requests_total{status="bypass"}"#, 1.0),
        (
            r#"lakh_http_requests_total{route="limited",code="200"}"#,
            4.0,
        ),
        (
            r#"lakh_http_requests_total{route="limited",code="429"}"#,
            1.0,
        ),
        ("lakh_in_flight", 0.0),
    ] {
        edge.await_metric(series, value);
    }
}

#[test]
fn who_does_not_read_is_given_up_and_holds_up_nobody() {
    let (edge, _origin) = edge();
    get("/large").send(&edge).expect(200);
    let mut idle = edge.connect();
    idle.send(get("/large").wire());
    assert!(idle.has_answer_within(Duration::from_secs(5)));

    get("/large").send(&edge).expect(200);

    edge.await_metric("lakh_connections", 0.0);
}

#[test]
fn a_name_that_is_asked_for_in_any_way_is_one() {
    let (edge, origin) = edge();
    get("/a").send(&edge).expect(200);
    get("http://edge.test/a").send(&edge).expect(200);
    assert_eq!(origin.count(), 1);
}
