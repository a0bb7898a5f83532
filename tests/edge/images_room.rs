//! What sources may take of memory that the cache does not keep, and what becomes of those that are not
//! read.

use crate::harness::{Answer, Edge, Gate, Origin, Step, at_once, eventually, get, noise};
use crate::images::{IMAGES, jpeg, photo, red_and_blue};
use image::{Rgb, RgbImage};

fn with(settings: &str) -> String {
    IMAGES.replace(
        "images: {presets",
        &format!("images: {{{settings}, presets"),
    )
}

/// 300 KiB and more, because nothing of it can be foreseen.
fn grainy() -> Vec<u8> {
    let grain = noise(400 * 300 * 3, 7);
    let picture = RgbImage::from_fn(400, 300, |x, y| {
        let at = (y as usize * 400 + x as usize) * 3;
        Rgb([grain[at], grain[at + 1], grain[at + 2]])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    let written = picture.write_to(&mut bytes, image::ImageFormat::Png);
    written.expect("a picture can be encoded");
    bytes.into_inner()
}

const PRIVATE: [(&str, &str); 2] = [("content-type", "image/png"), ("cache-control", "private")];

fn held(edge: &Edge) -> f64 {
    edge.metric("lakh_image_memory_bytes")
}

#[test]
fn private_sources_wait_for_room_and_all_are_made() {
    let file = grainy();
    let chunked = file.clone();
    let origin = Origin::start(move |seen| match seen.path() {
        "/chunked" => Answer::chunked(&PRIVATE, &chunked),
        "/streamed" => Answer::of(
            200,
            &[
                ("content-type", "image/jpeg"),
                ("cache-control", "max-age=60"),
            ],
            photo(),
        ),
        _ => Answer::of(200, &PRIVATE, &file),
    });
    let yaml = with("max_memory: 1MiB, max_time: 60s");
    let edge = Edge::start(
        &yaml.replace("max_object: 32MiB", "max_object: 64KiB"),
        &[&origin],
    );

    let made = at_once(12, |i| {
        let path = ["/told", "/chunked"][i % 2];
        let reply = get(&format!("{path}?w=40")).send(&edge).expect(200);
        image::load_from_memory(&reply.body)
            .expect("a picture")
            .width()
    });

    assert_eq!(made, [40; 12]);
    edge.await_metric("lakh_image_memory_bytes", 0.0);
    let streamed = get("/streamed?w=40").send(&edge).expect(200);
    assert!(streamed.body.len() < photo().len());
    edge.await_metric("lakh_image_memory_bytes", 0.0);
}

#[test]
fn where_sources_have_all_the_room_the_policy_says_what_is_sent() {
    for (policy, status) in [("on_full: refuse", 503), ("small_original: 64MiB", 200)] {
        let gate = Gate::default();
        let (held_back, file) = (gate.clone(), grainy());
        let small = jpeg(&red_and_blue(80, 60));
        let sent = file.clone();
        let origin = Origin::start(move |seen| match seen.path() {
            "/small" => Answer::of(200, &PRIVATE[1..], &small),
            "/slow" => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncache-control: private\r\n\
                     content-length: {}\r\n\r\n",
                    sent.len()
                );
                let (first, rest) = sent.split_at(sent.len() / 2);
                let first = [head.as_bytes(), first].concat();
                Answer::raw(first)
                    .then(Step::Wait(held_back.clone()))
                    .then(Step::Send(rest.to_vec()))
            }
            _ => Answer::of(200, &PRIVATE, &sent),
        });
        let edge = Edge::start(
            &with(&format!("max_memory: 1MiB, max_time: 2s, {policy}")),
            &[&origin],
        );

        std::thread::scope(|scope| {
            // Half a mebibyte is all there is for sources, too little for two.
            let slow = scope.spawn(|| get("/slow?w=40").send(&edge).status);
            eventually("the first holds room", || held(&edge) > 0.0);
            let third = get("/p?w=40").send(&edge).expect(status);
            if status == 503 {
                assert_eq!(third.json()["type"], "urn:lakh:problem:images-busy");
                third.the("retry-after");
            } else {
                assert!(third.body == file, "not the original");
            }
            let small = get("/small?w=40").send(&edge);
            assert_ne!(small.body.len(), 0, "what is small needs no room");
            gate.open();
            slow.join().expect("no thread panics");
        });

        edge.await_metric("lakh_image_memory_bytes", 0.0);
        eventually("there is room again", || {
            let made = get("/p?w=40").send(&edge);
            made.status == 200 && made.body.len() < file.len()
        });
    }
}

#[test]
fn svg_that_is_too_large_to_be_read_is_refused_as_any() {
    let text = format!(
        "\u{feff}<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script>{}</svg>",
        " ".repeat(300 << 10)
    );
    for (media, body) in [
        ("image/svg+xml", text.clone()),
        ("Image/SVG+xml", format!("{}{text}", " ".repeat(100 << 10))),
        ("image/jpeg", text),
    ] {
        for control in ["max-age=60", "private"] {
            let sent = body.clone();
            let origin = Origin::start(move |seen| {
                let fields = [("content-type", media), ("cache-control", control)];
                match seen.path() {
                    "/chunked" => Answer::chunked(&fields, sent.as_bytes()),
                    _ => Answer::of(200, &fields, &sent),
                }
            });
            for objects in ["max_object: 32MiB", "max_object: 64KiB"] {
                let yaml = with("max_source: 128KiB").replace("max_object: 32MiB", objects);
                let edge = Edge::start(&yaml, &[&origin]);
                for target in ["/told?w=40", "/chunked?w=40", "/told?w=40&f=png"] {
                    for _ in 0..2 {
                        let problem = get(target).send(&edge).expect_problem(415);
                        assert_eq!(problem.json()["type"], "urn:lakh:problem:not-an-image");
                    }
                }
                assert!(get("/told").send(&edge).expect(200).body == body.as_bytes());
            }
        }
    }
}

#[test]
fn what_is_no_svg_and_too_large_goes_out_as_it_is_to_the_last_byte() {
    let file = grainy();
    for control in ["max-age=60", "private"] {
        let sent = file.clone();
        let origin = Origin::start(move |seen| {
            let fields = [("content-type", "image/png"), ("cache-control", control)];
            match seen.path() {
                "/chunked" => Answer::chunked(&fields, &sent),
                _ => Answer::of(200, &fields, &sent),
            }
        });
        let edge = Edge::start(&with("max_source: 100KiB"), &[&origin]);
        for target in ["/told?w=40", "/chunked?w=40", "/told?w=41"] {
            let reply = get(target).send(&edge).expect(200);
            assert!(reply.body == file, "{target}, {control}");
        }
    }
}
