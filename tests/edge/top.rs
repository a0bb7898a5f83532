//! What is asked for most: how it is shown, and kept from getting stale.

use crate::harness::{Answer, Edge, Gate, Origin, eventually, get};
use serde_json::Value;

const CACHED: &str = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 1MiB}, other: {memory: 64MiB}}
routes:
- {name: other, match: {path: /other/*}, upstream: app, cache: {in: other, key: {scheme: false}}}
- {name: all, match: {path: /*}, upstream: app, cache: {in: pages, x_cache: true, key: {query: {ignore: [utm_*]}}}}
";

fn pages(size: usize) -> Origin {
    Origin::start(move |_| Answer::of(200, &[("cache-control", "max-age=60")], vec![b'x'; size]))
}

/// One miss and `hits` hits.
fn ask(edge: &Edge, target: &str, hits: usize) {
    get(target).send(edge).expect(200);
    for _ in 0..hits {
        assert!(get(target).send(edge).expect(200).is_hit());
    }
}

fn top(edge: &Edge, query: &str) -> Vec<Value> {
    let reply = edge
        .admin(&format!("/api/v1/cache/top{query}"))
        .expect("the admin listener");
    let answer = reply.expect(200).json();
    answer["objects"].as_array().expect("a list").clone()
}

#[test]
fn the_admin_api_tells_what_is_asked_for_most() {
    let origin = pages(100);
    let edge = Edge::start(CACHED, &[&origin]);
    ask(&edge, "/seldom", 1);
    ask(&edge, "/often?a=1&utm_x=2", 9);
    ask(&edge, "/other/x", 5);

    let all = top(&edge, "");
    let paths: Vec<_> = all
        .iter()
        .map(|hot| hot["path"].as_str().expect("text"))
        .collect();
    assert_eq!(paths, ["/often", "/other/x", "/seldom"]);
    let first = &all[0];
    for (name, value) in [
        ("zone", "pages"),
        ("upstream", "app"),
        ("scheme", "http"),
        ("host", "edge.test"),
        ("query", "a=1"),
    ] {
        assert_eq!(first[name], value, "{first}");
    }
    assert!(
        first["hits"].as_u64().is_some_and(|hits| hits >= 9),
        "{first}"
    );
    assert_eq!(
        (&first["bytes"], &first["status"]),
        (&100.into(), &200.into())
    );
    assert!(
        first["ttl"]
            .as_i64()
            .is_some_and(|ttl| (1..=60).contains(&ttl)),
        "{first}"
    );
    assert!(all[1].get("scheme").is_none(), "{}", all[1]);

    assert_eq!(top(&edge, "?zone=pages&limit=1").len(), 1);
    assert_eq!(top(&edge, "?zone=other")[0]["path"], "/other/x");
}

#[test]
fn a_bad_question_is_told() {
    let origin = pages(1);
    let edge = Edge::start(CACHED, &[&origin]);
    for (query, why) in [
        (
            "?zone=pgaes",
            "no cache is named `pgaes`; there are pages, other",
        ),
        ("?limit=0", "from 1 to 1000"),
        ("?top=3", "`top` is unknown"),
    ] {
        let reply = edge
            .admin(&format!("/api/v1/cache/top{query}"))
            .expect("the admin listener");
        let text = reply.expect(400).text();
        assert!(text.contains(why), "{query}: {text}");
    }
}

#[test]
fn what_has_no_room_is_counted() {
    let origin = pages(100_000);
    let edge = Edge::start(CACHED, &[&origin]);
    for n in 0..30 {
        get(&format!("/{n}")).send(&edge).expect(200);
    }
    eventually("objects have gone", || {
        let kept = edge.metric(r#"lakh_cache_objects{cache="pages"}"#);
        let evicted = edge.metric(r#"lakh_cache_evictions_total{cache="pages"}"#);
        kept <= 10.0 && kept + evicted == 30.0
    });
    assert_eq!(
        edge.metric(r#"lakh_cache_evictions_total{cache="other"}"#),
        0.0
    );
}

#[test]
fn x_cache_says_in_a_word_what_cache_status_says_at_length() {
    let origin = Origin::start(|seen| match seen.path() {
        "/private" => Answer::of(200, &[("cache-control", "private")], "mine"),
        _ if seen.field("if-none-match").is_some() => Answer::of(304, &[], ""),
        _ => Answer::of(
            200,
            &[("cache-control", "max-age=60"), ("etag", "\"1\"")],
            "x",
        ),
    });
    let edge = Edge::start(CACHED, &[&origin]);
    let asked = |ask: crate::harness::Ask| {
        let reply = ask.send(&edge).expect(200);
        (
            reply.the("x-cache").to_owned(),
            reply.cache_status().to_owned(),
        )
    };
    let said = |word: &str, status: &str| (word.to_owned(), status.to_owned());
    assert_eq!(asked(get("/a")), said("MISS", "fwd=miss; stored"));
    assert_eq!(asked(get("/a")).0, "HIT");
    let anew = get("/a").with("cache-control", "no-cache");
    assert_eq!(
        asked(anew),
        said("REVALIDATED", "fwd=request; fwd-status=304; stored")
    );
    assert_eq!(
        asked(get("/private")),
        said("PASS", "fwd=miss; detail=private")
    );
    let plain = get("/other/a").send(&edge).expect(200);
    assert_eq!(plain.field("x-cache"), None);
}

#[test]
fn what_is_hot_is_fetched_anew_before_it_is_stale() {
    let gate = Gate::default();
    let held = gate.clone();
    // Of 1000 seconds, 50 are left.
    let origin = Origin::start(move |seen| match seen.field("if-none-match") {
        Some(_) => Answer::of(200, &[("cache-control", "max-age=1000")], "new").after(&held),
        None => {
            let old = [
                ("cache-control", "max-age=1000"),
                ("age", "950"),
                ("etag", "\"1\""),
            ];
            Answer::of(200, &old, "old")
        }
    });
    let ahead = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages, refresh_ahead: 10%}}]
";
    let edge = Edge::start(ahead, &[&origin]);
    ask(&edge, "/cold", 1);
    ask(&edge, "/hot", 6);

    // Nobody has waited for it, and there is one only.
    origin.await_requests(3);
    gate.open();
    eventually("the new one is there", || {
        let reply = get("/hot").send(&edge).expect(200);
        assert!(reply.is_hit());
        reply.text() == "new"
    });
    let targets: Vec<_> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/cold", "/hot", "/hot"]);
}

#[test]
fn without_refresh_ahead_nothing_is_fetched_before_its_end() {
    let origin = Origin::start(|_| {
        Answer::of(
            200,
            &[("cache-control", "max-age=1000"), ("age", "950")],
            "old",
        )
    });
    let edge = Edge::start(CACHED, &[&origin]);
    ask(&edge, "/hot", 8);
    assert_eq!(origin.count(), 1);
}
