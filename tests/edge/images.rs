//! Pictures: made smaller on the way, and never at the price of the original.

use crate::harness::{
    Answer, Edge, Gate, Origin, Reply, ask, at_once, eventually, get, head, noise,
};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use std::io::Cursor;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub const IMAGES: &str = "
upstreams: {app: {servers: [$0]}}
caches: {images: {memory: 128MiB, max_object: 32MiB}}
images: {presets: {original: {width: 1920, quality: 85}, medium: {width: 800, quality: 80}, thumbnail: {width: 200, quality: 75}}}
routes: [{name: photos, match: {path: /*}, upstream: app, cache: {in: images}, images: true}]
";

const BROWSER: &str = "image/avif,image/webp,image/apng,*/*;q=0.8";

/// 12 megapixels, made once: encoding it is the slowest part of these tests.
pub fn photo() -> &'static [u8] {
    static PHOTO: OnceLock<Vec<u8>> = OnceLock::new();
    PHOTO.get_or_init(|| {
        let grain = noise(1 << 16, 31);
        let pixel = |x: u32, y: u32| {
            let grain = grain[((x * 31 + y * 977) % (1 << 16)) as usize] % 16;
            Rgb([(x / 16) as u8, (y / 12) as u8, ((x + y) / 28) as u8]
                .map(|c| c.saturating_add(grain)))
        };
        jpeg(&RgbImage::from_fn(4000, 3000, pixel))
    })
}

/// Red on the left, blue on the right.
pub fn red_and_blue(width: u32, height: u32) -> RgbImage {
    let pixel = |x, _| {
        if x < width / 2 {
            Rgb([230, 20, 20])
        } else {
            Rgb([20, 20, 230])
        }
    };
    RgbImage::from_fn(width, height, pixel)
}

pub fn jpeg(picture: &RgbImage) -> Vec<u8> {
    encoded(picture, ImageFormat::Jpeg)
}

fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, format)
        .expect("a picture can be encoded");
    bytes.into_inner()
}

/// An Exif segment right after the start of the picture, with nothing but an orientation.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let tiff = [
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0",
        &[orientation][..],
        b"\0\0\0\0\0\0",
    ]
    .concat();
    let length = u16::try_from(tiff.len() + 2).expect("short");
    [
        &jpeg[..2],
        &[0xFF, 0xE1],
        &length.to_be_bytes(),
        &tiff,
        &jpeg[2..],
    ]
    .concat()
}

/// A PNG that says it is 30000×30000, and has next to nothing in it.
fn png_bomb() -> Vec<u8> {
    let side = 30_000_u32.to_be_bytes();
    let header = [&side[..], &side, &[8, 2, 0, 0, 0]].concat();
    let data = [0x78, 0x9C, 0x03, 0x00, 0x00, 0x00, 0x00, 0x01];
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        png_chunk(b"IHDR", &header),
        png_chunk(b"IDAT", &data),
        png_chunk(b"IEND", &[]),
    ]
    .concat()
}

fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind, data].concat();
    let mut crc = u32::MAX;
    for byte in &body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    let length = u32::try_from(data.len()).expect("short");
    [&length.to_be_bytes()[..], &body, &(!crc).to_be_bytes()].concat()
}

/// A JPEG with its declared size changed.
fn jpeg_bomb() -> Vec<u8> {
    let mut bytes = jpeg(&red_and_blue(64, 64));
    let frame = bytes
        .windows(2)
        .position(|w| w == [0xFF, 0xC0])
        .expect("a baseline frame");
    bytes[frame + 5..frame + 9].copy_from_slice(&[0x75, 0x30, 0x75, 0x30]);
    bytes
}

/// An origin that has one file, and the edge before it.
fn edge_with(content_type: &'static str, file: Vec<u8>) -> (Edge, Origin) {
    let origin = Origin::start(move |_| {
        let fields = [
            ("content-type", content_type),
            ("cache-control", "max-age=60"),
            ("etag", "\"source\""),
        ];
        Answer::of(200, &fields, &file)
    });
    (Edge::start(IMAGES, &[&origin]), origin)
}

/// The picture in an answer, which must be of the type that it says.
#[track_caller]
pub fn picture(reply: &Reply, format: ImageFormat) -> DynamicImage {
    assert_eq!(reply.the("content-type"), format.to_mime_type());
    assert_eq!(
        image::guess_format(&reply.body).expect("a known format"),
        format
    );
    image::load_from_memory_with_format(&reply.body, format).expect("a whole picture")
}

pub fn size(picture: &DynamicImage) -> (u32, u32) {
    (picture.width(), picture.height())
}

#[test]
fn a_12_megapixel_photo_as_thumbnail() {
    let (edge, origin) = edge_with("image/jpeg", photo().to_vec());

    let webp = get("/p?preset=thumbnail")
        .with("accept", BROWSER)
        .send(&edge)
        .expect(200);
    let again = get("/p?preset=thumbnail")
        .with("accept", BROWSER)
        .send(&edge)
        .expect(200);
    let jpeg = get("/p?preset=thumbnail")
        .with("accept", "image/*,*/*")
        .send(&edge)
        .expect(200);
    let plain = get("/p?preset=thumbnail").send(&edge).expect(200);

    assert_eq!(size(&picture(&webp, ImageFormat::WebP)), (200, 150));
    assert_eq!(size(&picture(&jpeg, ImageFormat::Jpeg)), (200, 150));
    assert!(
        webp.body.len() < 30_000 && jpeg.body.len() < 30_000,
        "they are small"
    );
    assert!(!webp.is_hit() && again.is_hit());
    assert_eq!(again.body, webp.body);
    assert!(plain.is_hit(), "equal wishes share a rendition: {plain:?}");
    for reply in [&webp, &again, &jpeg] {
        assert!(
            reply.the("vary").eq_ignore_ascii_case("accept"),
            "{reply:?}"
        );
        assert_eq!(reply.the("cache-control"), "max-age=60");
    }
    assert_ne!(webp.the("etag"), jpeg.the("etag"));
    assert_ne!(webp.the("etag"), "\"source\"");
    assert_eq!(origin.count(), 1, "one source for all of them");
    assert_eq!(
        edge.metric(r#"lakh_image_transforms_total{outcome="transformed"}"#),
        2.0
    );
    assert_eq!(edge.metric("lakh_image_seconds_count"), 2.0);
}

#[test]
fn the_photos_colours_are_the_same() {
    let (edge, _origin) = edge_with("image/jpeg", photo().to_vec());
    let source = image::load_from_memory(photo())
        .expect("a picture")
        .to_rgb8();

    for (accept, format) in [
        ("image/webp", ImageFormat::WebP),
        ("image/jpeg", ImageFormat::Jpeg),
    ] {
        let made = picture(
            &get("/p?preset=medium").with("accept", accept).send(&edge),
            format,
        )
        .to_rgb8();
        assert_eq!(made.dimensions(), (800, 600));
        for (x, y) in [(20, 20), (400, 300), (700, 100), (100, 550), (780, 580)] {
            let (is, was) = (
                made.get_pixel(x, y).0,
                source.get_pixel(x * 5 + 2, y * 5 + 2).0,
            );
            let near = is.iter().zip(was).all(|(is, was)| is.abs_diff(was) < 24);
            assert!(near, "{format:?} at {x},{y}: {is:?}, was {was:?}");
        }
    }
}

#[test]
fn a_preset_may_be_named_and_a_size_may_be_said() {
    let (edge, origin) = edge_with("image/jpeg", jpeg(&red_and_blue(1600, 1200)));

    for (query, expected, format) in [
        ("w=400", (400, 300), ImageFormat::Jpeg),
        ("h=300", (400, 300), ImageFormat::Jpeg),
        ("w=400&h=100", (133, 100), ImageFormat::Jpeg),
        ("w=100&h=400", (100, 75), ImageFormat::Jpeg),
        ("preset=medium", (800, 600), ImageFormat::Jpeg),
        ("preset=original", (1600, 1200), ImageFormat::Jpeg),
        ("preset=thumbnail&f=webp", (200, 150), ImageFormat::WebP),
        ("w=80&f=jpeg", (80, 60), ImageFormat::Jpeg),
        ("w=80&f=auto", (80, 60), ImageFormat::Jpeg),
    ] {
        let reply = get(&format!("/p?{query}")).send(&edge).expect(200);
        let (width, height) = size(&picture(&reply, format));
        let near = width.abs_diff(expected.0) <= 1 && height.abs_diff(expected.1) <= 1;
        assert!(near, "{query}: {width}×{height}");
    }
    assert_eq!(origin.count(), 1, "one source for all of them");
    assert_eq!(
        origin.the_request().target,
        "/p",
        "the origin knows nothing of it"
    );
}

#[test]
fn a_named_format_does_not_vary_and_quality_counts() {
    let (edge, _origin) = edge_with("image/jpeg", photo().to_vec());

    let fixed = get("/p?w=300&f=jpeg")
        .with("accept", BROWSER)
        .send(&edge)
        .expect(200);
    let poor = get("/p?w=300&f=jpeg&q=20").send(&edge).expect(200);
    let good = get("/p?w=300&f=jpeg&q=95").send(&edge).expect(200);

    assert_eq!(fixed.field("vary"), None);
    picture(&fixed, ImageFormat::Jpeg);
    assert!(
        poor.body.len() * 2 < good.body.len(),
        "{} and {}",
        poor.body.len(),
        good.body.len()
    );
}

#[test]
fn exif_orientation_is_applied() {
    let lying = with_orientation(&jpeg(&red_and_blue(400, 200)), 6);
    let (edge, _origin) = edge_with("image/jpeg", lying);

    let made = picture(
        &get("/p?w=100&f=jpeg").send(&edge).expect(200),
        ImageFormat::Jpeg,
    );

    // Turned by a quarter clockwise: what was left is at the top.
    assert_eq!(size(&made), (100, 200));
    let (top, bottom) = (
        made.to_rgb8().get_pixel(50, 20).0,
        made.to_rgb8().get_pixel(50, 180).0,
    );
    assert!(top[0] > 180 && top[2] < 80, "red at the top: {top:?}");
    assert!(
        bottom[2] > 180 && bottom[0] < 80,
        "blue at the bottom: {bottom:?}"
    );
}

#[test]
fn a_rendition_says_nothing_of_orientation() {
    let (edge, _origin) = edge_with(
        "image/jpeg",
        with_orientation(&jpeg(&red_and_blue(400, 200)), 6),
    );

    for query in ["w=100&f=jpeg", "w=100&f=webp"] {
        let body = get(&format!("/p?{query}")).send(&edge).expect(200).body;
        assert!(
            !body.windows(4).any(|w| w.eq_ignore_ascii_case(b"Exif")),
            "{query} would be turned twice"
        );
    }
}

#[test]
fn nothing_is_enlarged() {
    let (edge, _origin) = edge_with("image/jpeg", jpeg(&red_and_blue(120, 80)));

    for query in ["preset=thumbnail", "w=4000", "h=4000", "w=4000&h=4000"] {
        let reply = get(&format!("/p?{query}")).send(&edge).expect(200);
        assert_eq!(
            size(&picture(&reply, ImageFormat::Jpeg)),
            (120, 80),
            "{query}"
        );
    }
}

#[test]
fn without_parameters_the_file_passes_as_it_is() {
    let (edge, origin) = edge_with("image/jpeg", photo().to_vec());

    for target in ["/p", "/p?version=3"] {
        let reply = get(target).with("accept", BROWSER).send(&edge).expect(200);
        assert!(reply.body == photo(), "{target} differs");
        assert_eq!(reply.the("etag"), "\"source\"");
    }
    assert_eq!(origin.seen()[1].target, "/p?version=3");
}

#[test]
fn other_parameters_belong_to_the_source() {
    let origin = Origin::start(|seen| {
        let width = if seen.target.contains("id=1") {
            300
        } else {
            600
        };
        let fields = [
            ("content-type", "image/jpeg"),
            ("cache-control", "max-age=60"),
        ];
        Answer::of(200, &fields, jpeg(&red_and_blue(width, 300)))
    });
    let edge = Edge::start(IMAGES, &[&origin]);
    let width =
        |target: &str| picture(&get(target).send(&edge).expect(200), ImageFormat::Jpeg).width();

    assert_eq!(width("/p?id=1&w=400"), 300);
    assert_eq!(width("/p?w=400&id=2"), 400);
    let targets: Vec<_> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/p?id=1", "/p?id=2"]);
}

#[test]
fn a_truncated_jpeg_yields_the_original() {
    let half = photo()[..photo().len() / 2].to_vec();
    let (edge, _origin) = edge_with("image/jpeg", half.clone());

    for _ in 0..2 {
        let reply = get("/p?preset=thumbnail")
            .with("accept", BROWSER)
            .send(&edge)
            .expect(200);
        assert!(reply.body == half, "not the original");
        assert_eq!(reply.the("content-type"), "image/jpeg");
        let told = reply.cache_status();
        assert!(
            reply.is_hit() || told == "fwd=miss; stored; detail=original",
            "{told}"
        );
    }
    assert!(edge.metric(r#"lakh_image_transforms_total{outcome="corrupt"}"#) >= 1.0);
    assert_eq!(
        edge.metric(r#"lakh_image_transforms_total{outcome="transformed"}"#),
        0.0
    );
}

#[test]
fn what_is_no_picture_yields_the_original() {
    let (edge, _origin) = edge_with("text/html", b"<h1>hello</h1>".to_vec());

    let reply = get("/p?w=100").send(&edge).expect(200);

    assert_eq!(reply.text(), "<h1>hello</h1>");
    assert_eq!(reply.the("content-type"), "text/html");
    assert!(reply.cache_status().ends_with("detail=original"));
    assert_eq!(edge.metric("lakh_image_transforms_total"), 1.0);
    assert_eq!(
        edge.metric(r#"lakh_image_transforms_total{outcome="transformed"}"#),
        0.0
    );
}

#[test]
fn a_bomb_is_refused_before_it_is_decoded() {
    for (content_type, bomb) in [("image/png", png_bomb()), ("image/jpeg", jpeg_bomb())] {
        let (edge, _origin) = edge_with(content_type, bomb.clone());
        let (before, started) = (edge.peak_memory(), Instant::now());

        let reply = get("/p?preset=thumbnail").send(&edge);

        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{content_type}: {:?}",
            started.elapsed()
        );
        let original = reply.status == 200 && reply.body == bomb;
        assert!(
            original || (400..500).contains(&reply.status),
            "{content_type}: {}",
            reply.status
        );
        assert_eq!(
            edge.metric(r#"lakh_image_transforms_total{outcome="too_large"}"#),
            1.0,
            "{content_type}"
        );
        let grown = edge.peak_memory().saturating_sub(before);
        assert!(grown < 64 << 20, "{content_type}: {} MiB more", grown >> 20);
    }
}

#[test]
fn max_pixels_and_max_source_bound_what_is_read() {
    let file = jpeg(&red_and_blue(1000, 1000));
    let sent = file.clone();
    let origin = Origin::start(move |_| {
        Answer::of(
            200,
            &[
                ("content-type", "image/jpeg"),
                ("cache-control", "max-age=60"),
            ],
            &sent,
        )
    });
    for bound in ["max_pixels: 999999", "max_source: 1KiB"] {
        let edge = Edge::start(
            &IMAGES.replace("images: {presets", &format!("images: {{{bound}, presets")),
            &[&origin],
        );
        let reply = get("/p?w=100").send(&edge).expect(200);
        assert!(reply.body == file, "{bound}: not the original");
    }
}

#[test]
fn a_bad_parameter_is_told() {
    let (edge, origin) = edge_with("image/jpeg", jpeg(&red_and_blue(100, 100)));

    for query in [
        "w=0",
        "w=-1",
        "w=abc",
        "w=",
        "w=1e3",
        "w=99999999999",
        "h=0",
        "q=0",
        "q=101",
        "q=x",
        "f=exe",
        "f=",
        "preset=none",
        "preset=",
        "w=10&w=20",
    ] {
        let reply = get(&format!("/p?{query}")).send(&edge).expect_problem(400);
        assert!(
            reply.json()["detail"]
                .as_str()
                .is_some_and(|d| d.len() > 20),
            "{query}: {}",
            reply.text()
        );
    }
    assert_eq!(origin.count(), 0);
    get("/p?w=10").send(&edge).expect(200);
}

#[test]
fn what_the_origin_refuses_stays_refused() {
    let origin =
        Origin::start(|_| Answer::of(404, &[("content-type", "text/plain")], "no such photo"));
    let edge = Edge::start(IMAGES, &[&origin]);

    assert_eq!(
        get("/p?w=100").send(&edge).expect(404).text(),
        "no such photo"
    );
}

#[test]
fn renditions_asked_for_at_once_share_the_source_and_the_work() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |_| {
        Answer::of(
            200,
            &[
                ("content-type", "image/jpeg"),
                ("cache-control", "max-age=60"),
            ],
            photo(),
        )
        .after(&held)
    });
    let edge = Edge::start(IMAGES, &[&origin]);
    let widths = [100, 150, 200];

    let replies = std::thread::scope(|scope| {
        let ask = |i: usize| get(&format!("/p?w={}&f=webp", widths[i % 3])).send(&edge);
        let asked = scope.spawn(move || at_once(12, ask));
        eventually("all of them wait", || edge.metric("lakh_in_flight") >= 12.0);
        gate.open();
        asked.join().expect("no thread panics")
    });

    for (i, reply) in replies.iter().enumerate() {
        assert_eq!(picture(reply, ImageFormat::WebP).width(), widths[i % 3]);
    }
    assert_eq!(origin.count(), 1);
    assert_eq!(
        edge.metric(r#"lakh_image_transforms_total{outcome="transformed"}"#),
        3.0
    );
}

#[test]
fn a_rendition_has_304_and_head() {
    let (edge, _origin) = edge_with("image/jpeg", jpeg(&red_and_blue(400, 300)));
    let whole = get("/p?w=100&f=webp").send(&edge).expect(200);

    let same = get("/p?w=100&f=webp")
        .with("if-none-match", whole.the("etag"))
        .send(&edge)
        .expect(304);
    let asked = head("/p?w=100&f=webp").send(&edge).expect(200);
    get("/p?w=100&f=webp")
        .with("if-none-match", "\"source\"")
        .send(&edge)
        .expect(200);

    assert!(same.body.is_empty() && asked.body.is_empty());
    assert_eq!(asked.the("content-length"), whole.body.len().to_string());
    assert_eq!(asked.the("etag"), whole.the("etag"));
}

#[test]
fn a_new_photo_at_the_same_url_takes_its_renditions_along() {
    let (edge, origin) = edge_with("image/jpeg", jpeg(&red_and_blue(400, 300)));
    let is_hit = |target: &str| get(target).send(&edge).expect(200).is_hit();
    for target in ["/p?w=100&f=webp", "/p?preset=thumbnail", "/other?w=100"] {
        assert!(!is_hit(target) && is_hit(target), "{target}");
    }

    ask("PUT", "/p")
        .with("content-length", 0)
        .send(&edge)
        .expect(200);

    assert!(!is_hit("/p?w=100&f=webp") && !is_hit("/p?preset=thumbnail"));
    assert!(is_hit("/other?w=100"));
    let fetched = origin
        .seen()
        .iter()
        .filter(|seen| seen.method == "GET")
        .count();
    assert_eq!(fetched, 3);
}

#[test]
fn a_rendition_is_still_there_when_its_origin_fails() {
    let file = jpeg(&red_and_blue(400, 200));
    let mut origin = Origin::start(move |_| {
        let fields = [
            ("content-type", "image/jpeg"),
            ("cache-control", "max-age=10, stale-if-error=60"),
            ("age", "20"),
        ];
        Answer::of(200, &fields, &file)
    });
    let edge = Edge::start(IMAGES, &[&origin]);
    let first = get("/a.jpg?w=100").send(&edge).expect(200);

    origin.stop();

    let stale = get("/a.jpg?w=100").send(&edge).expect(200);
    assert_eq!(stale.body, first.body);
    assert!(
        stale.cache_status().ends_with("detail=stale-if-error"),
        "{stale:?}"
    );
    assert!(get("/a.jpg?w=90").send(&edge).status >= 500);
}

#[test]
fn a_stale_rendition_is_made_anew_behind_the_answer() {
    let new = Gate::default();
    let changed = new.clone();
    let (red, small) = (red_and_blue(400, 200), red_and_blue(400, 400));
    let (old_file, new_file) = (jpeg(&red), jpeg(&small));
    let origin = Origin::start(move |_| {
        let fields = |control| [("content-type", "image/jpeg"), ("cache-control", control)];
        match changed.is_open() {
            true => Answer::of(200, &fields("max-age=60"), &new_file),
            false => {
                let old = fields("max-age=10, stale-while-revalidate=60");
                Answer::of(200, &[&old[..], &[("age", "20")]].concat(), &old_file)
            }
        }
    });
    let edge = Edge::start(IMAGES, &[&origin]);
    let ask = || get("/a.jpg?w=100&format=jpeg").send(&edge).expect(200);
    let height = |reply: &Reply| size(&picture(reply, ImageFormat::Jpeg)).1;
    assert_eq!(height(&ask()), 50);

    new.open();

    let stale = ask();
    assert!(stale.is_hit() && height(&stale) == 50, "{:?}", stale.fields);
    eventually("the new one is there", || height(&ask()) == 100);
}

#[test]
fn pngs_are_made_smaller_too() {
    let (edge, _origin) = edge_with(
        "image/png",
        encoded(&red_and_blue(400, 300), ImageFormat::Png),
    );

    let webp = get("/p?w=100")
        .with("accept", BROWSER)
        .send(&edge)
        .expect(200);
    assert_eq!(size(&picture(&webp, ImageFormat::WebP)), (100, 75));
    let other = get("/p?w=100").send(&edge).expect(200);
    let made = image::load_from_memory(&other.body).expect("a picture");
    assert_eq!(size(&made), (100, 75));
}

#[test]
fn what_is_not_for_the_cache_is_not_kept_as_a_rendition() {
    let origin = Origin::start(|_| {
        let fields = [("content-type", "image/jpeg"), ("cache-control", "private")];
        Answer::of(200, &fields, jpeg(&red_and_blue(400, 300)))
    });
    let edge = Edge::start(IMAGES, &[&origin]);

    for n in 1..=2 {
        let reply = get("/p?w=100").send(&edge).expect(200);
        assert!(!reply.is_hit());
        assert!(origin.count() >= n, "asked for anew");
    }
}

#[test]
fn hits_are_quick_while_pictures_are_made() {
    let origin = Origin::start(|seen| match seen.path() {
        "/page" => Answer::of(200, &[("cache-control", "max-age=60")], "hello"),
        _ => Answer::of(
            200,
            &[
                ("content-type", "image/jpeg"),
                ("cache-control", "max-age=60"),
            ],
            photo(),
        ),
    });
    let edge = Edge::start(IMAGES, &[&origin]);
    get("/page").send(&edge).expect(200);
    get("/p").send(&edge).expect(200);

    std::thread::scope(|scope| {
        let made =
            scope.spawn(|| at_once(12, |i| get(&format!("/p?w={}", 500 + i)).send(&edge).status));
        let mut client = edge.connect();
        let mut slowest = Duration::ZERO;
        while !made.is_finished() {
            let started = Instant::now();
            get("/page").on(&mut client).expect(200);
            slowest = slowest.max(started.elapsed());
        }
        assert_eq!(made.join().expect("no thread panics"), [200; 12]);
        // A worker that decodes is away for longer than that.
        assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    });
}

#[test]
fn a_picture_says_how_the_limits_stand() {
    let file = jpeg(&red_and_blue(64, 64));
    let fields = [
        ("content-type", "image/jpeg"),
        ("cache-control", "max-age=60"),
    ];
    let origin = Origin::start(move |_| Answer::of(200, &fields, &file));
    let limited = IMAGES.replace("images: true", "images: true, rate_limits: [few]");
    let limit = "rate_limits: {few: {key: client_address, rate: 3/h}}";
    let edge = Edge::start(&format!("{limit}{limited}"), &[&origin]);

    for left in [2, 1, 0] {
        let reply = get("/a.jpg?w=32").send(&edge).expect(200);
        let standing = reply.the("ratelimit");
        assert!(
            standing.starts_with(&format!("\"few\";r={left};t=")),
            "{standing}"
        );
    }
    assert_eq!(get("/a.jpg?w=32").send(&edge).status, 429);
}
