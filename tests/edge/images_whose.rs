//! For whom a rendition is: for those whom its source is for, and nobody else.

use crate::harness::{Answer, Edge, Gate, Origin, Reply, at_once, eventually, get};
use crate::images::{IMAGES, jpeg, red_and_blue};
use image::{Rgb, RgbImage};

const RED: [u8; 3] = [230, 10, 10];
const BLUE: [u8; 3] = [10, 10, 230];

/// One picture for `a`, another one for everybody else.
fn by_tenant(vary: &'static str) -> Origin {
    let of = |colour| jpeg(&RgbImage::from_pixel(80, 60, Rgb(colour)));
    let (red, blue) = (of(RED), of(BLUE));
    Origin::start(move |seen| {
        let fields = [
            ("content-type", "image/jpeg"),
            ("cache-control", "max-age=60"),
            ("vary", vary),
        ];
        let whose = seen.field("x-tenant").or(seen.field("cookie"));
        let file = match whose {
            Some("a" | "u=a") => &red,
            _ => &blue,
        };
        Answer::of(200, &fields, file)
    })
}

#[track_caller]
fn is_red(reply: &Reply) -> bool {
    let made = image::load_from_memory(&reply.body).expect("a picture");
    assert_eq!(made.width(), 40);
    made.to_rgb8().get_pixel(20, 10).0[0] > 128
}

#[test]
fn a_rendition_varies_as_its_source_does() {
    for (vary, name, values) in [
        ("X-Tenant", "x-tenant", ["a", "b"]),
        ("Cookie", "cookie", ["u=a", "u=b"]),
    ] {
        let origin = by_tenant(vary);
        let edge = Edge::start(IMAGES, &[&origin]);
        for round in 0..3 {
            for value in values {
                let reply = get("/p?w=40").with(name, value).send(&edge).expect(200);
                assert_eq!(is_red(&reply), value.ends_with('a'), "{vary}, {value}");
                assert_eq!(reply.is_hit(), round > 0, "{vary}, {value}: {reply:?}");
                let told = reply.all("vary").join(", ");
                assert_eq!(
                    told.to_lowercase(),
                    format!("{}, accept", vary.to_lowercase())
                );
            }
        }
        assert_eq!(origin.count(), 2, "each source is fetched once");
    }
}

#[test]
fn who_waits_for_anothers_picture_gets_its_own() {
    let gate = Gate::default();
    let held = gate.clone();
    let of = |colour| jpeg(&RgbImage::from_pixel(80, 60, Rgb(colour)));
    let (red, blue) = (of(RED), of(BLUE));
    let origin = Origin::start(move |seen| {
        let fields = [
            ("content-type", "image/jpeg"),
            ("cache-control", "max-age=60"),
            ("vary", "x-tenant"),
        ];
        let file = match seen.field("x-tenant") {
            Some("a") => &red,
            _ => &blue,
        };
        Answer::of(200, &fields, file).after(&held)
    });
    let edge = Edge::start(IMAGES, &[&origin]);

    // Two ways to make each, so that sources are shared as well as renditions.
    let replies = std::thread::scope(|scope| {
        let ask = |i: usize| {
            let tenant = ["a", "b"][i % 2];
            let quality = [70, 80][i / 2 % 2];
            let target = format!("/p?w=40&q={quality}");
            get(&target).with("x-tenant", tenant).send(&edge)
        };
        let asked = scope.spawn(move || at_once(12, ask));
        eventually("all of them wait", || edge.metric("lakh_in_flight") >= 12.0);
        gate.open();
        asked.join().expect("no thread panics")
    });

    for (i, reply) in replies.iter().enumerate() {
        assert_eq!(reply.status, 200);
        assert_eq!(is_red(reply), i % 2 == 0, "number {i}: {reply:?}");
    }
}

#[test]
fn who_waits_for_what_is_not_shared_gets_its_own() {
    let gate = Gate::default();
    let held = gate.clone();
    let of = |colour| jpeg(&RgbImage::from_pixel(80, 60, Rgb(colour)));
    let (red, blue) = (of(RED), of(BLUE));
    let origin = Origin::start(move |seen| {
        let fields = [("content-type", "image/jpeg"), ("cache-control", "private")];
        let file = match seen.field("cookie") {
            Some("u=a") => &red,
            _ => &blue,
        };
        Answer::of(200, &fields, file).after(&held)
    });
    let edge = Edge::start(IMAGES, &[&origin]);

    let replies = std::thread::scope(|scope| {
        let ask = |i: usize| {
            let user = ["u=a", "u=b"][i % 2];
            get("/p?w=40").with("cookie", user).send(&edge)
        };
        let asked = scope.spawn(move || at_once(8, ask));
        eventually("all of them wait", || edge.metric("lakh_in_flight") >= 8.0);
        gate.open();
        asked.join().expect("no thread panics")
    });

    for (i, reply) in replies.iter().enumerate() {
        assert_eq!(is_red(reply), i % 2 == 0, "number {i}: {reply:?}");
        assert!(!reply.is_hit(), "{reply:?}");
    }
    assert_eq!(origin.count(), 8);
}

#[test]
fn what_says_nothing_of_its_freshness_is_made_smaller_too() {
    let origin = Origin::start(|_| {
        let fields = [("content-type", "image/jpeg"), ("set-cookie", "seen=1")];
        Answer::of(200, &fields, jpeg(&red_and_blue(80, 60)))
    });
    let edge = Edge::start(IMAGES, &[&origin]);

    for n in 1..=2 {
        let reply = get("/p?w=40").send(&edge).expect(200);
        is_red(&reply);
        assert_eq!(reply.the("set-cookie"), "seen=1");
        assert_eq!(reply.cache_status(), "fwd=miss; detail=transformed");
        assert_eq!(origin.count(), n);
    }
}

#[test]
fn a_source_too_large_to_store_is_made_smaller_and_its_rendition_kept() {
    let origin = Origin::start(|_| {
        let fields = [
            ("content-type", "image/jpeg"),
            ("cache-control", "max-age=60"),
        ];
        Answer::of(200, &fields, jpeg(&red_and_blue(400, 300)))
    });
    let small = IMAGES.replace("max_object: 32MiB", "max_object: 1KiB");
    let edge = Edge::start(&small, &[&origin]);

    let first = get("/p?w=40").send(&edge).expect(200);
    is_red(&first);
    let again = get("/p?w=40").send(&edge).expect(200);
    assert!(again.is_hit() && again.body == first.body, "{again:?}");
    // Known as too large, its renditions are made all the same.
    get("/p").send(&edge).expect(200);
    is_red(&get("/p?w=40&q=60").send(&edge).expect(200));
}

#[test]
fn svg_is_refused_and_never_passed_on() {
    for (media, text) in [
        (
            "image/svg+xml",
            "<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>",
        ),
        ("image/jpeg", "<?xml version=\"1.0\"?><svg/>"),
        ("image/svg+xml; charset=utf-8", "<!DOCTYPE x><svg/>"),
    ] {
        for control in ["max-age=60", "private"] {
            let origin = Origin::start(move |_| {
                let fields = [("content-type", media), ("cache-control", control)];
                Answer::of(200, &fields, text)
            });
            let edge = Edge::start(IMAGES, &[&origin]);
            for target in ["/s.svg?w=50", "/s.svg?w=50&f=png", "/s.svg?preset=medium"] {
                let problem = get(target).send(&edge).expect_problem(415);
                assert_eq!(problem.json()["type"], "urn:lakh:problem:not-an-image");
            }
            assert_eq!(get("/s.svg").send(&edge).expect(200).text(), text);
        }
    }
}

#[test]
fn only_if_cached_makes_nothing() {
    let origin = by_tenant("x-tenant");
    let edge = Edge::start(IMAGES, &[&origin]);
    let stored = || {
        get("/p?w=40")
            .with("x-tenant", "a")
            .with("cache-control", "only-if-cached")
            .send(&edge)
    };

    stored().expect_problem(504);
    assert_eq!(origin.count(), 0);
    get("/p?w=40").with("x-tenant", "a").send(&edge).expect(200);
    assert!(stored().expect(200).is_hit());
}

/// A source with a tag, which says that it is the same still; and how often pictures were made.
fn same_still(control: &'static str) -> (Edge, Origin) {
    let origin = Origin::start(move |seen| {
        let fields = [
            ("content-type", "image/jpeg"),
            ("cache-control", control),
            ("etag", "\"v1\""),
        ];
        match seen.field("if-none-match") {
            Some("\"v1\"") => Answer::of(304, &fields[1..], ""),
            _ => Answer::of(200, &fields, jpeg(&red_and_blue(80, 60))),
        }
    });
    (Edge::start(IMAGES, &[&origin]), origin)
}

#[test]
fn what_is_the_same_still_is_not_made_anew() {
    for (control, asks) in [("no-cache", "max-age=600"), ("max-age=600", "no-cache")] {
        let (edge, origin) = same_still(control);
        let ask = || {
            let ask = get("/p?w=40").with("cache-control", asks);
            ask.send(&edge).expect(200)
        };
        let first = ask();
        is_red(&first);
        for n in 2..=4 {
            let again = ask();
            assert_eq!(
                (&again.body, again.the("etag")),
                (&first.body, first.the("etag"))
            );
            assert_eq!(origin.count(), n, "{control}: it is asked about");
        }
        assert_eq!(
            edge.metric(r#"lakh_image_transforms_total{outcome="transformed"}"#),
            1.0,
            "{control}"
        );
    }
}

/// By its bytes, where nothing else says so.
#[test]
fn the_same_bytes_without_a_word_about_that_are_not_made_anew() {
    let new = Gate::default();
    let changed = new.clone();
    let of = |colour| jpeg(&RgbImage::from_pixel(80, 60, Rgb(colour)));
    let (red, blue) = (of(RED), of(BLUE));
    let origin = Origin::start(move |_| {
        let fields = [
            ("content-type", "image/jpeg"),
            ("cache-control", "max-age=600"),
        ];
        let file = if changed.is_open() { &blue } else { &red };
        Answer::of(200, &fields, file)
    });
    let edge = Edge::start(IMAGES, &[&origin]);
    let ask = || {
        let ask = get("/p?w=40").with("cache-control", "no-cache");
        ask.send(&edge).expect(200)
    };
    let transforms = || edge.metric(r#"lakh_image_transforms_total{outcome="transformed"}"#);
    let first = ask();
    let is_kept = || {
        let (before, again) = (transforms(), ask());
        assert_eq!(again.body, first.body);
        assert_eq!(again.the("etag"), first.the("etag"));
        transforms() == before
    };

    eventually("its bytes are known", is_kept);
    let (made, asked) = (transforms(), origin.count());
    assert!(is_kept() && is_kept());
    assert_eq!((transforms(), origin.count()), (made, asked + 2));
    new.open();
    assert!(!is_red(&ask()), "other bytes are another picture");
    assert_eq!(transforms(), made + 1.0);
}

#[test]
fn another_source_of_the_same_name_is_made_anew() {
    let new = Gate::default();
    let changed = new.clone();
    let of = |colour| jpeg(&RgbImage::from_pixel(80, 60, Rgb(colour)));
    let (red, blue) = (of(RED), of(BLUE));
    let origin = Origin::start(move |_| {
        let (tag, file) = match changed.is_open() {
            true => ("\"v2\"", &blue),
            false => ("\"v1\"", &red),
        };
        let fields = [
            ("content-type", "image/jpeg"),
            ("cache-control", "no-cache"),
            ("etag", tag),
        ];
        Answer::of(200, &fields, file)
    });
    let edge = Edge::start(IMAGES, &[&origin]);

    assert!(is_red(&get("/p?w=40").send(&edge).expect(200)));
    new.open();
    assert!(!is_red(&get("/p?w=40").send(&edge).expect(200)));
}

#[test]
fn a_rendition_has_no_digest_of_its_source_and_what_may_not_be_changed_is_not() {
    let file = jpeg(&red_and_blue(80, 60));
    let sent = file.clone();
    let origin = Origin::start(move |seen| {
        let control = match seen.path() {
            "/fixed" => "max-age=60, no-transform",
            _ => "max-age=60",
        };
        let fields = [
            ("content-type", "image/jpeg"),
            ("cache-control", control),
            ("content-digest", "sha-256=:AA==:"),
            ("repr-digest", "sha-256=:AA==:"),
            ("digest", "sha-256=AA=="),
            ("content-md5", "AA=="),
        ];
        Answer::of(200, &fields, &sent)
    });
    let edge = Edge::start(IMAGES, &[&origin]);

    let made = get("/p?w=40").send(&edge).expect(200);
    is_red(&made);
    let fixed = get("/fixed?w=40").send(&edge).expect(200);
    assert!(fixed.body == file, "not the original");
    for name in ["content-digest", "repr-digest", "digest", "content-md5"] {
        assert_eq!(made.field(name), None);
        assert!(fixed.field(name).is_some(), "{name}");
    }
}
