//! What becomes of a stored answer when it is no longer fresh.
//!
//! No test waits for time to pass: the origin says that an answer was old when it was sent.

use crate::harness::{Answer, Edge, Gate, Origin, Reply, Seen, Step, at_once, eventually, get};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const CACHED: &str = "
upstreams: {app: {servers: [$0], retry: {attempts: 1}}}
caches: {pages: {memory: 64MiB, max_object: 1MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages}}]
";

const MINUTE: (&str, &str) = ("cache-control", "max-age=60");

/// Stored, and stale at once.
fn stale(more: &str, body: &str) -> Answer {
    let control = format!("max-age=10{more}");
    Answer::of(
        200,
        &[
            ("cache-control", &control),
            ("age", "20"),
            ("etag", "\"v1\""),
        ],
        body,
    )
}

/// `first` for the first request, `then` for those after it.
fn in_turn(
    first: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
    then: impl Fn(&Seen) -> Answer + Send + Sync + 'static,
) -> Origin {
    let asked = Arc::new(AtomicUsize::new(0));
    Origin::start(move |seen| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => first(seen),
        _ => then(seen),
    })
}

/// The first request, and its fill done.
#[track_caller]
fn fill(edge: &Edge) -> Reply {
    let reply = get("/").send(edge).expect(200);
    edge.await_metric(r#"lakh_cache_fills_total{outcome="stored"}"#, 1.0);
    eventually("the fill is done", || {
        edge.metric("lakh_cache_objects") == 1.0
    });
    reply
}

#[test]
fn what_is_stale_is_asked_for_by_its_validators() {
    let changed = ("last-modified", "Wed, 01 Jan 2025 10:00:00 GMT");
    let origin = in_turn(
        move |_| {
            let fields = [
                ("cache-control", "max-age=10"),
                ("age", "20"),
                ("etag", "\"v1\""),
                changed,
                ("x-n", "1"),
            ];
            Answer::of(200, &fields, "hello")
        },
        |_| {
            Answer::of(
                304,
                &[
                    ("cache-control", "max-age=60"),
                    ("etag", "\"v1\""),
                    ("x-n", "2"),
                ],
                "",
            )
        },
    );
    let edge = Edge::start(CACHED, &[&origin]);

    fill(&edge);
    let revalidated = get("/").send(&edge).expect(200);
    let hit = get("/").send(&edge).expect(200);

    let asked = &origin.seen()[1];
    assert_eq!(asked.the("if-none-match"), "\"v1\"");
    assert_eq!(asked.the("if-modified-since"), changed.1);
    assert!(
        revalidated.cache_status().starts_with("fwd=stale"),
        "{revalidated:?}"
    );
    assert!(
        revalidated.cache_status().contains("fwd-status=304"),
        "{revalidated:?}"
    );
    assert!(hit.is_hit());
    assert_eq!(origin.count(), 2);
    for reply in [&revalidated, &hit] {
        assert_eq!(reply.text(), "hello");
        assert_eq!(reply.the("x-n"), "2", "304 brings the fields up to date");
        assert!(reply.the("age").parse::<u64>().expect("seconds") < 10);
    }
    assert_eq!(
        edge.metric(r#"lakh_cache_requests_total{status="revalidated"}"#),
        1.0
    );
}

#[test]
fn a_304_about_another_version_confirms_nothing() {
    let origin = in_turn(
        |_| stale("", "old"),
        |seen| match seen.field("if-none-match") {
            Some(_) => Answer::of(304, &[MINUTE, ("etag", "\"v2\"")], ""),
            None => Answer::of(200, &[MINUTE, ("etag", "\"v2\"")], "new"),
        },
    );
    let edge = Edge::start(CACHED, &[&origin]);

    assert_eq!(fill(&edge).text(), "old");
    assert_eq!(get("/").send(&edge).expect(200).text(), "new");
    let hit = get("/").send(&edge);
    assert!(hit.is_hit() && hit.text() == "new", "{hit:?}");
    assert_eq!(hit.the("etag"), "\"v2\"");
    assert_eq!(origin.count(), 3);
}

#[test]
fn a_304_that_answers_no_condition_is_no_answer() {
    let origin = in_turn(
        |_| stale("", "old"),
        |_| Answer::of(304, &[MINUTE, ("etag", "\"v2\"")], ""),
    );
    let edge = Edge::start(CACHED, &[&origin]);

    fill(&edge);
    get("/").send(&edge).expect_problem(502);
    assert_eq!(origin.count(), 3);
}

/// Who asks past what is stored and fresh, and is told something alone.
fn asks_past(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> (Edge, Origin, Reply) {
    let origin = in_turn(
        |_| Answer::of(200, &[MINUTE, ("etag", "\"v1\"")], "shared"),
        answer,
    );
    let edge = Edge::start(CACHED, &[&origin]);
    fill(&edge);
    let past = get("/").with("cache-control", "no-cache").send(&edge);
    (edge, origin, past)
}

#[test]
fn what_one_client_is_told_takes_nothing_fresh_from_the_others() {
    for status in [200, 302, 403, 429] {
        let fields = [MINUTE, ("set-cookie", "a=1")];
        let fields = if status == 200 { &fields[..] } else { &[] };
        let fields = fields.to_vec();
        let (edge, origin, past) = asks_past(move |_| Answer::of(status, &fields, "own"));
        assert_eq!(past.expect(status).text(), "own");
        for _ in 0..3 {
            let hit = get("/").send(&edge).expect(200);
            assert!(hit.is_hit() && hit.text() == "shared", "{status}: {hit:?}");
        }
        assert_eq!(origin.count(), 2);
    }
}

#[test]
fn a_304_for_one_client_takes_nothing_fresh_from_the_others() {
    let (edge, origin, past) = asks_past(|_| Answer::of(304, &[("set-cookie", "a=1")], ""));
    assert_eq!(past.the("set-cookie"), "a=1");
    let status = past.cache_status();
    assert!(!status.contains("stored"), "{status}");
    let hit = get("/").send(&edge).expect(200);
    assert!(hit.is_hit() && hit.field("set-cookie").is_none(), "{hit:?}");
    assert_eq!(origin.count(), 2);
}

#[test]
fn what_has_changed_is_replaced() {
    let origin = in_turn(
        |_| stale("", "old"),
        |_| {
            Answer::of(
                200,
                &[("cache-control", "max-age=60"), ("etag", "\"v2\"")],
                "new",
            )
        },
    );
    let edge = Edge::start(CACHED, &[&origin]);

    assert_eq!(fill(&edge).text(), "old");
    assert_eq!(get("/").send(&edge).text(), "new");
    let hit = get("/").send(&edge);
    assert!(hit.is_hit() && hit.text() == "new", "{hit:?}");
}

#[test]
fn no_cache_is_stored_and_always_asked_about() {
    let origin = in_turn(
        |_| {
            Answer::of(
                200,
                &[("cache-control", "no-cache"), ("etag", "\"v1\"")],
                "hello",
            )
        },
        |seen| {
            assert_eq!(seen.the("if-none-match"), "\"v1\"");
            Answer::of(
                304,
                &[("cache-control", "no-cache"), ("etag", "\"v1\"")],
                "",
            )
        },
    );
    let edge = Edge::start(CACHED, &[&origin]);

    assert_eq!(fill(&edge).text(), "hello");
    for n in 2..=4 {
        assert_eq!(get("/").send(&edge).expect(200).text(), "hello");
        assert_eq!(origin.count(), n);
    }
}

#[test]
fn a_client_may_ask_for_something_fresher() {
    let origin = Origin::start(|_| {
        Answer::of(
            200,
            &[("cache-control", "max-age=60"), ("age", "20")],
            "hello",
        )
    });
    let edge = Edge::start(CACHED, &[&origin]);
    fill(&edge);

    for (control, hit) in [
        ("max-age=30", true),
        ("max-age=10", false),
        ("no-cache", false),
        ("max-age=0", false),
        ("min-fresh=10", true),
        ("min-fresh=50", false),
    ] {
        assert_eq!(
            get("/").with("cache-control", control).send(&edge).is_hit(),
            hit,
            "{control}"
        );
    }
    assert!(!get("/").with("pragma", "no-cache").send(&edge).is_hit());
}

#[test]
fn stale_while_revalidate_answers_at_once_and_refreshes_behind_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = in_turn(
        |_| stale(", stale-while-revalidate=60", "old"),
        move |_| Answer::of(200, &[("cache-control", "max-age=60")], "new").after(&held),
    );
    let edge = Edge::start(CACHED, &[&origin]);
    fill(&edge);

    // The origin has not answered the refresh, and nobody waits for it.
    for _ in 0..5 {
        let reply = get("/").send(&edge).expect(200);
        assert_eq!(reply.text(), "old");
        assert!(reply.is_hit());
    }
    origin.await_requests(2);
    gate.open();

    eventually("the new one is there", || {
        get("/").send(&edge).text() == "new"
    });
    assert_eq!(origin.count(), 2, "one refresh for all of them");
    assert!(edge.metric(r#"lakh_cache_requests_total{status="stale"}"#) >= 5.0);
}

#[test]
fn stale_if_error_hides_an_origin_that_fails() {
    for failure in ["hang up", "500", "503"] {
        let fail = move |_: &Seen| match failure {
            "hang up" => Answer::hang_up(),
            status => Answer::of(status.parse().expect("a status"), &[], "failed"),
        };
        let origin = in_turn(|_| stale(", stale-if-error=60", "old"), fail);
        let edge = Edge::start(CACHED, &[&origin]);

        fill(&edge);
        let reply = get("/").send(&edge).expect(200);

        assert_eq!(reply.text(), "old", "{failure}");
        assert!(reply.is_hit(), "{failure}: {reply:?}");
        assert!(origin.count() >= 2, "{failure}: the origin was asked");
    }
}

#[test]
fn a_routes_stale_if_error_does_the_same() {
    let mut origin = Origin::start(|_| stale("", "old"));
    let edge = Edge::start(
        &CACHED.replace("in: pages", "in: pages, stale_if_error: 1h"),
        &[&origin],
    );
    fill(&edge);

    origin.stop();

    assert_eq!(get("/").send(&edge).expect(200).text(), "old");
    get("/never-seen").send(&edge).expect_problem(502);
}

#[test]
fn without_it_a_failure_is_told() {
    for (more, failure) in [
        ("", "500"),
        (", must-revalidate, stale-if-error=60", "500"),
        ("", "hang up"),
    ] {
        let fail = move |_: &Seen| match failure {
            "500" => Answer::of(500, &[], "failed"),
            _ => Answer::raw("HTTP/1.1 200").then(Step::Close),
        };
        let origin = in_turn(move |_| stale(more, "old"), fail);
        let edge = Edge::start(CACHED, &[&origin]);

        fill(&edge);
        let status = get("/").send(&edge).status;

        assert_eq!(status, if failure == "500" { 500 } else { 502 }, "{more}");
    }
}

#[test]
fn a_failure_does_not_cost_what_is_stored() {
    let asked = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |seen| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => stale("", "old"),
        1 => Answer::of(500, &[], "failed"),
        _ => {
            assert_eq!(seen.the("if-none-match"), "\"v1\"");
            Answer::of(
                304,
                &[("cache-control", "max-age=60"), ("etag", "\"v1\"")],
                "",
            )
        }
    });
    let edge = Edge::start(CACHED, &[&origin]);

    fill(&edge);
    get("/").send(&edge).expect(500);
    assert_eq!(get("/").send(&edge).expect(200).text(), "old");
}

#[test]
fn nobody_joins_a_fill_whose_answer_is_stale_already() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = in_turn(
        move |_| {
            let start = "HTTP/1.1 200 OK\r\ncache-control: no-cache\r\netag: \"v1\"\r\ncontent-length: 20000\r\n\r\n";
            let wait = Step::Wait(held.clone());
            Answer::raw(start)
                .then_send([b'1'; 19_000])
                .then(wait)
                .then_send([b'1'; 1000])
        },
        |_| {
            Answer::of(
                200,
                &[("cache-control", "no-cache"), ("etag", "\"v2\"")],
                "changed since",
            )
        },
    );
    let edge = Edge::start(CACHED, &[&origin]);
    let mut first = edge.connect();
    first.send(get("/").wire());
    first.read_head().expect("the head");

    // It asks after that answer was given; what has changed since must show.
    assert_eq!(get("/").send(&edge).expect(200).text(), "changed since");
    gate.open();
    assert_eq!(first.read_exactly(20_000).expect("the whole").len(), 20_000);
}

/// RFC 9111 §4.3.4: a 304 can come from another cache, old.
#[test]
fn the_age_of_a_304_counts() {
    let old = [("cache-control", "max-age=60"), ("age", "40")];
    let origin = in_turn(|_| stale("", "hello"), move |_| Answer::of(304, &old, ""));
    let edge = Edge::start(CACHED, &[&origin]);
    fill(&edge);

    let revalidated = get("/").send(&edge).expect(200);
    let hit = get("/").send(&edge).expect(200);

    for reply in [revalidated, hit] {
        let age: u64 = reply.the("age").parse().expect("a number");
        assert!((40..55).contains(&age), "{age}");
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_cookie_in_a_304_is_for_one_client_alone() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = in_turn(
        |_| stale("", "hello"),
        move |seen| match seen.field("if-none-match") {
            Some(_) => Answer::of(304, &[("set-cookie", "for=one")], "").after(&held),
            None => Answer::of(200, &[("cache-control", "private")], "own"),
        },
    );
    let edge = Edge::start(CACHED, &[&origin]);
    fill(&edge);

    let replies = std::thread::scope(|scope| {
        let asked = scope.spawn(|| at_once(5, |_| get("/").send(&edge).expect(200)));
        eventually("all of them wait", || edge.metric("lakh_in_flight") >= 5.0);
        gate.open();
        asked.join().expect("no thread panics")
    });

    let with_cookie = replies.iter().filter(|r| r.field("set-cookie").is_some());
    assert_eq!(with_cookie.count(), 1);
    let own = replies.iter().filter(|reply| reply.text() == "own");
    assert_eq!(own.count(), 4, "{replies:?}");
}
