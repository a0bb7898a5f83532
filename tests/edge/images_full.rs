//! Pictures under load: what is done once, what comes instead when no more can be done, and what is
//! too late for whoever asked first.

use crate::harness::{Answer, Edge, Gate, Origin, Reply, at_once, eventually, get};
use crate::images::{IMAGES, jpeg, photo, red_and_blue};
use std::collections::BTreeMap;

/// One thread and one place before it.
fn narrow(policy: &str) -> String {
    let time = match policy.contains("max_time") {
        true => "",
        // A picture may take long beside much else.
        false => "max_time: 60s, ",
    };
    let words = format!("images: {{workers: 1, queue: 1, {time}{policy}, presets");
    IMAGES.replace("images: {presets", &words)
}

fn fields() -> [(&'static str, &'static str); 2] {
    [
        ("content-type", "image/jpeg"),
        ("cache-control", "max-age=60"),
    ]
}

/// Many renditions at once, more than there is room for.
fn crowd(edge: &Edge) -> Vec<Reply> {
    at_once(16, |i| get(&format!("/p?w={}&f=webp", 900 + i)).send(edge))
}

#[test]
fn five_hundred_requests_for_fifty_variants_of_five_originals() {
    let gate = Gate::default();
    let held = gate.clone();
    let file = jpeg(&red_and_blue(320, 240));
    let origin = Origin::start(move |_| Answer::of(200, &fields(), &file).after(&held));
    let edge = Edge::start(IMAGES, &[&origin]);
    let ask = |i: usize| {
        let (original, width) = (i % 5, 20 + i % 50 / 5);
        get(&format!("/{original}.jpg?w={width}&f=jpeg")).send(&edge)
    };

    let replies = std::thread::scope(|scope| {
        let asked = scope.spawn(move || at_once(500, ask));
        eventually("all of them wait", || {
            edge.metric("lakh_in_flight") >= 500.0
        });
        gate.open();
        asked.join().expect("no thread panics")
    });

    let mut bodies = BTreeMap::new();
    for (i, reply) in replies.iter().enumerate() {
        assert_eq!(reply.status, 200);
        let body = bodies.entry(i % 50).or_insert(&reply.body);
        assert_eq!(*body, &reply.body, "one rendition for all who ask for it");
    }
    assert_eq!(origin.count(), 5);
    assert_eq!(
        edge.metric(r#"lakh_image_transforms_total{outcome="transformed"}"#),
        50.0
    );
    assert_eq!(edge.metric("lakh_image_transforms_total"), 50.0);
}

#[test]
fn renditions_that_wait_for_one_source_are_made_of_one_decoding() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |request| {
        let answer = Answer::of(200, &fields(), photo());
        match request.path() {
            "/first" => answer,
            _ => answer.after(&held),
        }
    });
    let patient = "images: {workers: 1, max_time: 60s, presets";
    let patient = IMAGES.replace("images: {presets", patient);
    let edge = Edge::start(&patient, &[&origin]);
    let alone = Edge::start(&patient, &[&origin]);
    let queries = ["w=1000&f=jpeg", "w=400&f=jpeg", "w=200&f=webp"];
    let ask = |edge: &Edge, at: usize| {
        let reply = get(&format!("/p?{}", queries[at])).send(edge).expect(200);
        reply.body
    };

    let together = std::thread::scope(|scope| {
        let asked = scope.spawn(|| at_once(3, |at| ask(&edge, at)));
        eventually("they wait", || edge.metric("lakh_in_flight") == 3.0);
        // Takes the only thread for as long as the others need to come behind it.
        let first = scope.spawn(|| get("/first?w=2000&f=webp").send(&edge).status);
        edge.await_metric("lakh_image_running", 1.0);
        gate.open();
        assert_eq!(first.join().expect("no thread panics"), 200);
        asked.join().expect("no thread panics")
    });

    assert_eq!(edge.metric("lakh_image_decodes_total"), 2.0);
    let made = edge.metric(r#"lakh_image_transforms_total{outcome="transformed"}"#);
    assert_eq!((made, origin.count()), (4.0, 2));
    for (at, body) in together.iter().enumerate() {
        assert!(*body == ask(&alone, at), "{}", queries[at]);
    }
}

#[test]
fn when_no_more_may_wait_the_policy_says_what_is_sent() {
    let origin = Origin::start(|_| Answer::of(200, &fields(), photo()));
    let cases = [
        ("on_full: refuse", 503, ""),
        ("on_full: original, small_original: 1KiB", 503, ""),
        (
            "on_full: original, small_original: 64MiB",
            200,
            "detail=original",
        ),
        (
            "on_full: nearest, small_original: 64MiB",
            200,
            "detail=nearest",
        ),
    ];
    for (policy, status, detail) in cases {
        let edge = Edge::start(&narrow(policy), &[&origin]);
        let first = get("/p?w=880&f=webp").send(&edge).expect(200);
        let replies = crowd(&edge);
        let made = |reply: &&Reply| {
            reply
                .field("cache-status")
                .is_some_and(|s| s.ends_with("detail=transformed"))
        };
        let (made, other): (Vec<_>, Vec<_>) = replies.iter().partition(made);
        assert!(
            !made.is_empty() && !other.is_empty(),
            "{policy}: {} made",
            made.len()
        );
        for reply in other {
            assert_eq!(reply.status, status, "{policy}");
            if status == 503 {
                assert_eq!(reply.json()["type"], "urn:lakh:problem:images-busy");
                reply.the("retry-after");
                continue;
            }
            assert!(
                reply.cache_status().ends_with(detail),
                "{policy}: {}",
                reply.cache_status()
            );
            assert_eq!(
                reply.the("cache-control"),
                "no-store",
                "{policy}: it is for now"
            );
            if detail.ends_with("nearest") {
                assert_eq!(reply.body, first.body);
            } else {
                assert!(reply.body == photo(), "not the original");
            }
        }
        assert!(edge.metric(r#"lakh_image_transforms_total{outcome="queue_full"}"#) > 0.0);
        assert!(edge.metric("lakh_image_stand_ins_total") > 0.0);
    }
}

#[test]
fn a_route_with_many_does_not_keep_one_with_few_waiting() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::of(200, &fields(), photo()).after(&held));
    let two = narrow("on_full: refuse").replace("queue: 1", "queue: 8").replace(
        "routes: [",
        "routes: [{name: few, match: {path: /few/*}, upstream: app, cache: {in: images}, images: true}, ",
    );
    let edge = Edge::start(&two, &[&origin]);

    let (many, few) = std::thread::scope(|scope| {
        let many = scope.spawn(|| {
            at_once(40, |i| {
                get(&format!("/p?w={}&f=webp", 300 + i)).send(&edge).status
            })
        });
        eventually("many wait", || edge.metric("lakh_in_flight") >= 40.0);
        let few = scope.spawn(|| {
            at_once(3, |i| {
                get(&format!("/few/p?w={}&f=webp", 300 + i))
                    .send(&edge)
                    .status
            })
        });
        eventually("few wait", || edge.metric("lakh_in_flight") >= 43.0);
        gate.open();
        (
            many.join().expect("no panic"),
            few.join().expect("no panic"),
        )
    });

    assert!(many.contains(&503), "there are too many");
    assert_eq!(few, [200; 3]);
}

#[test]
fn what_is_too_late_is_there_the_next_time() {
    let origin = Origin::start(|_| Answer::of(200, &fields(), photo()));
    let edge = Edge::start(&narrow("max_time: 1ms, small_original: 64MiB"), &[&origin]);

    let first = get("/p?w=700&f=webp").send(&edge).expect(200);
    assert!(
        first.cache_status().ends_with("detail=original"),
        "{}",
        first.cache_status()
    );
    edge.await_metric("lakh_image_late_total", 1.0);
}

#[test]
fn what_nobody_waits_for_is_not_begun() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| Answer::of(200, &fields(), photo()).after(&held));
    let edge = Edge::start(IMAGES, &[&origin]);
    let mut client = edge.connect();
    client.send(get("/p?w=700&f=webp").wire());
    eventually("it waits", || origin.count() == 1);

    drop(client);
    eventually("it has left", || edge.metric("lakh_in_flight") == 0.0);
    gate.open();

    edge.await_metric(r#"lakh_image_transforms_total{outcome="cancelled"}"#, 1.0);
    assert_eq!(
        edge.metric(r#"lakh_image_transforms_total{outcome="transformed"}"#),
        0.0
    );
}

#[test]
fn little_memory_makes_transforms_wait_for_each_other_and_no_more() {
    let origin = Origin::start(|_| Answer::of(200, &fields(), photo()));
    let yaml = IMAGES.replace(
        "images: {presets",
        "images: {workers: 4, max_memory: 1MiB, presets",
    );
    let edge = Edge::start(&yaml, &[&origin]);

    let made = at_once(6, |i| {
        get(&format!("/p?w={}&f=webp", 100 + i)).send(&edge).status
    });

    assert_eq!(made, [200; 6]);
    edge.await_metric("lakh_image_memory_bytes", 0.0);
}

#[test]
fn who_would_wait_too_long_for_avif_gets_webp_and_the_next_one_avif() {
    let origin = Origin::start(|_| Answer::of(200, &fields(), photo()));
    let yaml = IMAGES.replace(
        "images: {presets",
        "images: {workers: 1, avif: true, avif_wait: 1ms, presets",
    );
    let edge = Edge::start(&yaml, &[&origin]);
    let ask = || {
        get("/p?w=800")
            .with("accept", "image/avif,image/webp,*/*")
            .send(&edge)
            .expect(200)
    };

    let first = ask();
    assert_eq!(first.the("content-type"), "image/webp");
    assert!(
        first.cache_status().ends_with("detail=webp"),
        "{}",
        first.cache_status()
    );
    assert_eq!(first.the("cache-control"), "no-store");
    eventually("AVIF is there", || {
        ask().the("content-type") == "image/avif"
    });
    let webp = get("/p?w=800")
        .with("accept", "image/webp")
        .send(&edge)
        .expect(200);
    assert!(
        webp.is_hit() && webp.body == first.body,
        "what was made meanwhile is for others too"
    );
    assert_eq!(
        edge.metric(r#"lakh_image_transforms_total{format="auto-avif",outcome="transformed"}"#),
        1.0
    );
    assert_eq!(origin.count(), 1);
}
