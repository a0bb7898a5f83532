//! Purging from the side of the traffic: the PURGE method, and what an origin's answer says.

use crate::harness::{Answer, Ask, Edge, Origin, ask, get, post};

const PURGEABLE: &str = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB, invalidate_header: cache-tag-invalidate}}
routes:
- name: writes
  match: {path: /*, methods: [POST]}
  upstream: app
- name: open
  match: {path: /open/*}
  upstream: app
  cache: {in: pages}
- name: pages
  match: {path: /*, methods: [GET, HEAD]}
  upstream: app
  cache: {in: pages, stale_if_error: 1h, key: {query: {ignore: [utm_*]}}, purge_from: [127.0.0.2, 10.0.0.0/8]}
";

/// Cacheable, with its path as a tag; a write names the tags in its body.
fn origin() -> Origin {
    Origin::start(|seen| {
        let tag = seen.path().trim_matches('/').replace('/', "-");
        match seen.method.as_str() {
            "POST" => {
                let status = if seen.path() == "/fails" { 400 } else { 200 };
                let tags = String::from_utf8_lossy(&seen.body).into_owned();
                Answer::of(status, &[("cache-tag-invalidate", &tags)], "written")
            }
            "PURGE" => Answer::ok("the origin's own"),
            _ => {
                let language = seen.field("accept-language").unwrap_or("none");
                let fields = [
                    ("cache-control", "max-age=60"),
                    ("vary", "accept-language"),
                    ("cache-tag", &tag),
                    ("cache-tag-invalidate", "b"),
                ];
                Answer::of(200, &fields, language)
            }
        }
    })
}

fn is_hit(edge: &Edge, target: &str) -> bool {
    get(target).send(edge).expect(200).is_hit()
}

#[track_caller]
fn store(edge: &Edge, targets: &[&str]) {
    for target in targets {
        is_hit(edge, target);
        assert!(is_hit(edge, target), "{target}");
    }
}

fn purge(target: &str) -> Ask {
    ask("PURGE", target).from("127.0.0.2")
}

#[test]
fn an_allowed_client_takes_a_url_back_with_all_its_variants() {
    let origin = origin();
    let edge = Edge::start(PURGEABLE, &[&origin]);
    store(&edge, &["/a?x=1", "/a?x=2"]);
    let german = get("/a?x=1").with("accept-language", "de");
    german.send(&edge).expect(200);

    let done = purge("/a?utm_x=9&x=1").send(&edge).expect(200);

    assert_eq!(done.the("content-type"), "application/json");
    assert_eq!(done.json()["purged"], "edge.test/a?utm_x=9&x=1");
    assert_eq!(done.json()["soft"], false);
    assert!(!german.send(&edge).is_hit());
    assert!(!is_hit(&edge, "/a?x=1") && is_hit(&edge, "/a?x=2"));
    assert_eq!(edge.metric("lakh_cache_purges_total"), 1.0);
    assert!(
        origin.seen().iter().all(|seen| seen.method == "GET"),
        "no purge reaches it"
    );
    edge.await_metric(r#"lakh_http_requests_total{route="pages",code="200"}"#, 9.0);
}

#[test]
fn a_soft_purge_leaves_what_may_be_needed() {
    let mut origin = origin();
    let edge = Edge::start(PURGEABLE, &[&origin]);
    store(&edge, &["/a", "/b"]);
    let soft = purge("/a").with("x-purge", "soft").send(&edge).expect(200);
    assert_eq!(soft.json()["soft"], true);
    purge("/b").send(&edge).expect(200);
    purge("/a")
        .with("x-purge", "sofft")
        .send(&edge)
        .expect_problem(400);

    origin.stop();

    let stale = get("/a").send(&edge).expect(200);
    assert!(
        stale.cache_status().ends_with("stale-if-error"),
        "{stale:?}"
    );
    get("/b").send(&edge).expect_problem(502);
}

#[test]
fn others_are_refused_and_nothing_reaches_the_origin() {
    let origin = origin();
    let edge = Edge::start(PURGEABLE, &[&origin]);
    store(&edge, &["/a"]);
    let before = origin.count();

    ask("PURGE", "/a").send(&edge).expect_problem(403);
    // Nobody trusts it, so it can say what it likes.
    let forged = ask("PURGE", "/a").with("x-forwarded-for", "127.0.0.2");
    forged.send(&edge).expect_problem(403);

    assert!(is_hit(&edge, "/a"));
    assert_eq!(origin.count(), before);
    assert_eq!(edge.metric("lakh_cache_purges_total"), 0.0);
}

#[test]
fn where_no_route_takes_purges_they_are_the_origins() {
    let origin = origin();
    let edge = Edge::start(PURGEABLE, &[&origin]);
    let reply = purge("/open/a").send(&edge).expect(200);
    assert_eq!(reply.text(), "the origin's own");
    assert_eq!(reply.cache_status(), "fwd=method");
}

#[test]
fn an_origins_answer_to_a_write_purges_the_tags_that_it_names() {
    let origin = origin();
    let edge = Edge::start(PURGEABLE, &[&origin]);
    let all = ["/a", "/b", "/c/1", "/d"];
    store(&edge, &all);

    let written = post("/write", "a, c-1  d").send(&edge).expect(200);

    assert_eq!(written.field("cache-tag-invalidate"), None);
    let left: Vec<_> = all
        .into_iter()
        .filter(|target| is_hit(&edge, target))
        .collect();
    assert_eq!(left, ["/b"]);
}

#[test]
fn a_failed_write_and_a_read_purge_nothing() {
    let origin = origin();
    let edge = Edge::start(PURGEABLE, &[&origin]);
    store(&edge, &["/a", "/b"]);

    let failed = post("/fails", "a").send(&edge).expect(400);
    let miss = get("/new").send(&edge).expect(200);
    let hit = get("/new").send(&edge).expect(200);

    for reply in [&failed, &miss, &hit] {
        assert_eq!(reply.field("cache-tag-invalidate"), None);
    }
    assert!(is_hit(&edge, "/a") && is_hit(&edge, "/b"));
}
