//! Refusals and failures: what of them is kept, and what is shown instead of them.

use crate::harness::{Answer, Edge, Gate, Origin, Step, get};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn edge(cache: &str, origins: &[&Origin]) -> Edge {
    let yaml = format!(
        "
upstreams: {{app: {{servers: [$0], retry: {{attempts: 1}}}}}}
caches: {{pages: {{memory: 64MiB}}}}
routes: [{{name: all, match: {{path: /*}}, upstream: app, timeout: 2s, cache: {{in: pages, {cache}}}}}]
"
    );
    Edge::start(&yaml, origins)
}

/// `/404` is answered with 404; `/404/60` says how long it may be kept.
fn as_asked() -> Origin {
    Origin::start(|seen| {
        let mut words = seen.path().split('/').skip(1);
        let status = words.next().and_then(|s| s.parse().ok()).expect("a status");
        match words.next() {
            Some(age) => Answer::of(
                status,
                &[("cache-control", &format!("max-age={age}"))],
                "no",
            ),
            None => Answer::of(status, &[], "no"),
        }
    })
}

/// Whether the second of two is a hit.
fn is_kept(edge: &Edge, target: &str) -> bool {
    let first = get(target).send(edge);
    let second = get(target).send(edge).expect(first.status);
    second.text() == "no" && second.is_hit()
}

#[test]
fn refusals_are_kept_for_as_long_as_the_route_says() {
    let origin = as_asked();
    let edge = edge("negative_ttl: 60s", &[&origin]);
    for status in [404, 405, 410, 414, 501] {
        assert!(is_kept(&edge, &format!("/{status}")), "{status}");
    }
    for status in [400, 401, 403, 500, 502, 503, 504] {
        assert!(!is_kept(&edge, &format!("/{status}")), "{status}");
    }
    let kept = get("/404").send(&edge);
    assert!(kept.cache_status().contains("hit; ttl="), "{kept:?}");
    assert!(
        !is_kept(&edge, "/404/0"),
        "the origin's word goes before it"
    );
}

#[test]
fn without_it_only_the_origins_word_keeps_them() {
    let origin = as_asked();
    let edge = edge("ttl: 60s", &[&origin]);
    for (target, kept) in [
        ("/404", false),
        ("/404/60", true),
        ("/500", false),
        ("/503/60", true),
    ] {
        assert_eq!(is_kept(&edge, target), kept, "{target}");
    }
}

/// An answer that was made a day ago, stored, and stale ever since.
fn a_day_old(control: &'static str) -> Answer {
    let fields = [
        ("cache-control", control),
        ("age", "86000"),
        ("etag", "\"1\""),
    ];
    Answer::of(200, &fields, "0123456789")
}

/// First the answer of yesterday; then what becomes of its origin.
fn then(control: &'static str, fails: impl Fn() -> Answer + Send + Sync + 'static) -> Origin {
    let asked = Arc::new(AtomicUsize::new(0));
    Origin::start(move |seen| match seen.path() {
        "/health" => Answer::ok("well"),
        _ if asked.fetch_add(1, Ordering::SeqCst) == 0 => a_day_old(control),
        _ => fails(),
    })
}

#[test]
fn what_the_operator_allowed_is_served_when_the_origin_was_down_all_day() {
    let never = Gate::default();
    let held = never.clone();
    let origins = [
        ("500", then("max-age=10", || Answer::of(500, &[], "failed"))),
        (
            "503 that may be kept",
            then("max-age=10", || {
                Answer::of(503, &[("cache-control", "max-age=9")], "x")
            }),
        ),
        ("hangs up", then("max-age=10", Answer::hang_up)),
        (
            "breaks off",
            then("max-age=10", || {
                Answer::raw("HTTP/1.1 200").then(Step::Close)
            }),
        ),
        (
            "hangs",
            then("max-age=10", move || Answer::ok("late").after(&held)),
        ),
    ];
    for (failure, origin) in &origins {
        let edge = edge("stale_if_error: 30d, x_cache: true", &[origin]);
        get("/").send(&edge).expect(200);
        for _ in 0..2 {
            let stale = get("/").send(&edge).expect(200);
            assert_eq!(stale.text(), "0123456789", "{failure}");
            let status = stale.cache_status();
            assert!(status.starts_with("hit; ttl=-"), "{failure}: {status}");
            assert!(
                status.ends_with("detail=stale-if-error"),
                "{failure}: {status}"
            );
            assert_eq!(stale.the("x-cache"), "STALE");
            assert!(stale.the("age").parse::<u64>().expect("seconds") >= 86000);
        }
        let part = get("/").with("range", "bytes=2-4").send(&edge).expect(206);
        assert_eq!(part.text(), "234", "{failure}");
        assert!(edge.metric(r#"lakh_cache_requests_total{status="stale"}"#) >= 3.0);
    }
    never.open();
}

#[test]
fn it_is_served_when_every_server_is_down() {
    let mut origin = then("max-age=10", Answer::hang_up);
    let yaml = "
upstreams:
  app: {servers: [$0], health_check: {interval: 50ms, timeout: 1s, unhealthy_after: 1}}
caches: {pages: {memory: 64MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages, stale_if_error: 30d}}]
";
    let edge = Edge::start(yaml, &[&origin]);
    get("/").send(&edge).expect(200);
    origin.stop();
    edge.await_metric("lakh_upstream_up", 0.0);

    assert_eq!(get("/").send(&edge).expect(200).text(), "0123456789");
    assert!(get("/other").send(&edge).status >= 500);
}

#[test]
fn what_the_origin_forbids_is_not_served_whatever_the_route_says() {
    for control in [
        "max-age=10, must-revalidate",
        "max-age=10, proxy-revalidate",
        "no-cache",
    ] {
        let mut origin = then(control, Answer::hang_up);
        let edge = edge("stale_if_error: 30d", &[&origin]);
        get("/").send(&edge).expect(200);
        origin.stop();
        get("/").send(&edge).expect_problem(502);
    }
}

#[test]
fn what_is_never_stored_is_not_waited_for() {
    let origin = as_asked();
    let edge = edge("", &[&origin]);
    for status in [302, 400, 401, 403, 429] {
        let ask = get(&format!("/{status}"));
        ask.send(&edge).expect(status);
        let second = ask.send(&edge).expect(status);
        let said = second.cache_status();
        assert!(said.contains("hit-for-pass"), "{status}: {said}");
    }
    // A failure is of this moment.
    for status in [500, 503] {
        let ask = get(&format!("/{status}"));
        ask.send(&edge).expect(status);
        let said = ask.send(&edge).expect(status);
        assert!(!said.cache_status().contains("hit-for-pass"), "{said:?}");
    }
}
