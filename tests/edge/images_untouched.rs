//! When the original goes out: because the client wants it so, and never in place of what must not be
//! seen. And what asks for a picture and for something else.

use crate::harness::{Answer, Edge, Gate, Origin, eventually, get};
use crate::images::{IMAGES, jpeg, red_and_blue};
use crate::images_ask::{at, ways, yaml};
use std::sync::atomic::{AtomicUsize, Ordering};

/// One file at every path.
fn origin_of(control: &'static str, media: &'static str, file: &[u8]) -> Origin {
    let file = file.to_vec();
    Origin::start(move |_| {
        let fields = [
            ("content-type", media),
            ("cache-control", control),
            ("etag", "\"source\""),
        ];
        Answer::of(200, &fields, &file)
    })
}

#[test]
fn who_wants_nothing_changed_gets_the_original_and_spoils_nothing_for_others() {
    let file = jpeg(&red_and_blue(400, 300));
    let origin = origin_of("max-age=60", "image/jpeg", &file);
    let edge = Edge::start(&yaml(), &[&origin]);
    let original = |way: &str| {
        let ask = at(way).with("cache-control", "no-transform");
        let reply = ask.send(&edge).expect(200);
        assert!(reply.body == file, "{way}: not the original");
        assert_eq!(reply.the("etag"), "\"source\"");
        assert_eq!(reply.the("cache-control"), "no-store", "not for others");
        assert_eq!(reply.cache_status(), "fwd=request; detail=original");
    };

    for way in ways("/a.jpg") {
        original(&way);
    }
    for (at_first, way) in ways("/a.jpg").iter().enumerate() {
        let made = at(way).send(&edge).expect(200);
        let picture = image::load_from_memory(&made.body).expect("a picture");
        assert_eq!(picture.width(), 40, "{way}");
        assert_eq!(made.is_hit(), at_first > 0, "{way}: one for all");
        original(way);
    }
    assert_eq!(origin.count(), 1, "the source is everybody's");
    assert_eq!(
        edge.metric(r#"lakh_image_transforms_total{outcome="transformed"}"#),
        1.0
    );
}

#[test]
fn who_wants_nothing_changed_and_nothing_fetched_gets_what_is_stored() {
    let file = jpeg(&red_and_blue(400, 300));
    let origin = origin_of("max-age=60", "image/jpeg", &file);
    let edge = Edge::start(IMAGES, &[&origin]);
    let stored = || {
        let ask = get("/p?w=40").with("cache-control", "no-transform, only-if-cached");
        ask.send(&edge)
    };

    stored().expect_problem(504);
    assert_eq!(origin.count(), 0);
    get("/p").send(&edge).expect(200);
    assert!(stored().expect(200).body == file);
    assert_eq!(origin.count(), 1);
}

#[test]
fn what_is_for_one_client_goes_out_as_it_is_too() {
    let file = jpeg(&red_and_blue(400, 300));
    let origin = origin_of("private", "image/jpeg", &file);
    let edge = Edge::start(IMAGES, &[&origin]);

    for _ in 0..2 {
        let ask = get("/p?w=40").with("cache-control", "no-transform");
        assert!(ask.send(&edge).expect(200).body == file);
        let made = get("/p?w=40").send(&edge).expect(200);
        assert_eq!(made.cache_status(), "fwd=miss; detail=transformed");
    }
    assert_eq!(origin.count(), 4);
}

#[test]
fn what_must_not_be_seen_is_not_seen_by_who_wants_nothing_changed() {
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let untouched = |target: &str| get(target).with("cache-control", "no-transform");
    for control in ["max-age=60", "private"] {
        let origin = origin_of(control, "image/svg+xml", svg);
        let edge = Edge::start(IMAGES, &[&origin]);
        let problem = untouched("/p?w=40").send(&edge).expect_problem(415);
        assert_eq!(problem.json()["type"], "urn:lakh:problem:not-an-image");
    }
    let origin = origin_of("max-age=60", "image/jpeg", &jpeg(&red_and_blue(400, 300)));
    let edge = Edge::start(IMAGES, &[&origin]);
    let words = untouched("/p?info").send(&edge).expect(200);
    assert_eq!(words.json()["width"], 400, "words about it change nothing");
}

#[test]
fn a_picture_is_no_other_protocol() {
    let origin = origin_of("max-age=60", "image/jpeg", &jpeg(&red_and_blue(400, 300)));
    let edge = Edge::start(IMAGES, &[&origin]);

    for query in ["w=40", "w=50"] {
        let ask = get(&format!("/p?{query}"))
            .with("connection", "upgrade")
            .with("upgrade", "websocket")
            .with("sec-websocket-version", "13")
            .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let made = ask.send(&edge).expect(200);
        let picture = image::load_from_memory(&made.body).expect("a picture");
        assert_eq!(format!("w={}", picture.width()), query);
    }
    assert_eq!(origin.count(), 1, "a source is stored as ever");
    assert_eq!(origin.the_request().field("upgrade"), None);
}

#[test]
fn who_waits_for_a_refresh_that_turns_out_to_be_private_gets_its_own() {
    let gate = Gate::default();
    let (changed, file) = (gate.clone(), jpeg(&red_and_blue(400, 300)));
    let asked = AtomicUsize::new(0);
    let origin = Origin::start(move |_| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        let control = match is_first {
            true => "max-age=10, stale-while-revalidate=60",
            false => "private",
        };
        let fields = [
            ("content-type", "image/jpeg"),
            ("cache-control", control),
            ("age", "20"),
        ];
        let answer = Answer::of(200, &fields, &file);
        match is_first {
            true => answer,
            false => answer.after(&changed),
        }
    });
    let edge = Edge::start(IMAGES, &[&origin]);
    get("/p?w=40").send(&edge).expect(200);

    let stale = get("/p?w=40").send(&edge).expect(200);
    assert!(stale.is_hit(), "{stale:?}");
    eventually("it is made anew behind the answer", || origin.count() == 2);
    let own = std::thread::scope(|scope| {
        let ask = || {
            let ask = get("/p?w=40").with("cache-control", "no-cache");
            ask.send(&edge)
        };
        let asked = scope.spawn(ask);
        eventually("somebody follows", || edge.metric("lakh_in_flight") >= 1.0);
        gate.open();
        asked.join().expect("no thread panics")
    });

    let own = own.expect(200);
    let picture = image::load_from_memory(&own.body).expect("a picture");
    assert_eq!(picture.width(), 40);
    assert_eq!(own.cache_status(), "fwd=miss; detail=transformed");
}
