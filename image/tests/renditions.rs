//! What only whole renditions show: animations, words about a picture, limits, several plans of one
//! source. What they look like is shown by the golden images.

use image::codecs::gif::GifEncoder;
use image::{AnimationDecoder, Delay, DynamicImage, Frame, ImageFormat, Rgb, RgbImage, Rgba};
use lakh_image::{
    ImageSettings, Limits, Overlays, Plan, Rendition, TransformError, transform, transform_all,
};
use std::io::Cursor;
use std::time::{Duration, Instant};

fn plan(query: &str) -> Plan {
    let plan = Plan::from_request(Some(query), None, &settings());
    plan.expect("a good query").expect("a plan")
}

fn settings() -> ImageSettings {
    ImageSettings {
        avif: true,
        ..ImageSettings::default()
    }
}

fn limits() -> Limits {
    Limits::from(&settings())
}

fn run(source: &[u8], query: &str) -> Rendition {
    transform(source, &plan(query), &limits(), &Overlays::new()).expect(query)
}

fn fails(source: &[u8], query: &str, limits: &Limits) -> TransformError {
    transform(source, &plan(query), limits, &Overlays::new()).expect_err(query)
}

fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave =
            |phase: f32| 128.0 + 80.0 * (x as f32 / 29.0 + phase).sin() * (y as f32 / 37.0).cos();
        Rgb([wave(0.0) as u8, wave(1.0) as u8, wave(2.0) as u8])
    })
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let written = picture.into().write_to(&mut bytes, format);
    written.expect("the format is written");
    bytes.into_inner()
}

/// Frames of one colour each, shown for 50 ms, 100 ms and so on.
fn animated(colours: &[[u8; 3]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for (at, [r, g, b]) in (1..).zip(colours) {
        let picture = image::RgbaImage::from_pixel(60, 40, Rgba([*r, *g, *b, 255]));
        let delay = Delay::from_numer_denom_ms(at * 50, 1);
        let frame = Frame::from_parts(picture, 0, 0, delay);
        encoder.encode_frame(frame).expect("a frame");
    }
    drop(encoder);
    bytes
}

const COLOURS: [[u8; 3]; 3] = [[200, 30, 30], [30, 160, 30], [30, 30, 200]];

#[test]
fn an_animation_keeps_its_frames_and_their_times() {
    for query in [
        "w=30&f=webp",
        "w=30&f=webp-lossless",
        "w=30&h=20&fit=cover&f=webp&grey=false",
    ] {
        let made = run(&animated(&COLOURS), query);
        assert_eq!(
            (made.content_type, made.width, made.height),
            ("image/webp", 30, 20)
        );
        let decoder = image::codecs::webp::WebPDecoder::new(Cursor::new(&made.bytes));
        let frames = decoder.expect("a WebP").into_frames().collect_frames();
        let frames = frames.expect("whole frames");
        assert_eq!(frames.len(), 3, "{query}");
        for ((at, frame), colour) in (1..).zip(&frames).zip(COLOURS) {
            assert_eq!(frame.delay().numer_denom_ms(), (at * 50, 1));
            let pixel = frame.buffer().get_pixel(15, 10).0;
            let near = pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 16);
            assert!(near, "{query}: {pixel:?} for {colour:?}");
        }
    }
}

#[test]
fn an_animation_is_its_first_frame_where_all_are_not_asked_for_or_not_written() {
    for query in ["w=30&f=webp&anim=false", "w=30&f=jpeg", "w=30&f=png"] {
        let made = run(&animated(&COLOURS), query);
        let read = image::load_from_memory(&made.bytes)
            .expect("a still")
            .to_rgb8();
        let pixel = read.get_pixel(15, 10).0;
        assert!(pixel[0] > 180 && pixel[1] < 60, "{query}: {pixel:?}");
    }
}

#[test]
fn an_animation_has_its_limit_in_pixels_of_all_frames() {
    let at = |max_animation| Limits {
        max_animation,
        ..limits()
    };
    let source = animated(&COLOURS);
    assert_eq!(
        fails(&source, "w=30&f=webp", &at(3 * 2400 - 1)).cause(),
        "too_large"
    );
    let plan = plan("w=30&f=webp");
    transform(&source, &plan, &at(3 * 2400), &Overlays::new()).expect("within");
}

#[test]
fn info_says_what_the_source_is() {
    let source = encoded(
        RgbImage::from_pixel(90, 60, Rgb([200, 16, 32])),
        ImageFormat::Png,
    );
    let made = run(&source, "info=true");
    let text = String::from_utf8(made.bytes).expect("JSON");
    let expected = format!(
        "{{\"width\":90,\"height\":60,\"format\":\"png\",\"frames\":1,\"alpha\":false,\
         \"bytes\":{},\"orientation\":1,\"dominant\":\"#c81020\",\"blurhash\":\"L",
        source.len()
    );
    assert!(text.starts_with(&expected), "{text}");
    assert_eq!(made.content_type, "application/json");
    let text = run(&animated(&COLOURS), "info=true").bytes;
    let text = String::from_utf8(text).expect("JSON");
    assert!(text.contains("\"format\":\"gif\",\"frames\":3"), "{text}");
}

#[test]
fn a_placeholder_is_tiny_and_of_the_same_shape() {
    let source = encoded(picture(900, 600), ImageFormat::Jpeg);
    let made = run(&source, "placeholder=blur");
    assert_eq!(
        (made.content_type, made.width, made.height),
        ("image/jpeg", 32, 21)
    );
    assert!(made.bytes.len() < 1200, "{} bytes", made.bytes.len());
    let cut = run(&source, "w=600&h=300&fit=cover&placeholder=blur");
    assert_eq!((cut.width, cut.height), (32, 16));
    let mut clear = DynamicImage::from(picture(90, 60)).to_rgba8();
    clear.pixels_mut().for_each(|pixel| pixel[3] = 90);
    let made = run(&encoded(clear, ImageFormat::Png), "placeholder=blur");
    assert_eq!(made.content_type, "image/png");
}

/// A flat picture needs less than one of faint grain, and none more than the highest.
#[test]
fn quality_by_itself_follows_the_detail() {
    let flat = encoded(
        RgbImage::from_pixel(400, 300, Rgb([90, 120, 150])),
        ImageFormat::Png,
    );
    let mut seed = 1u32;
    let noise = RgbImage::from_fn(400, 300, |_, _| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Rgb([120 + (seed >> 28) as u8; 3])
    });
    let noise = encoded(noise, ImageFormat::Png);
    for format in ["jpeg", "webp", "avif"] {
        let bytes = |source: &[u8], quality| {
            let query = format!("w=300&q={quality}&f={format}");
            run(source, &query).bytes.len()
        };
        assert_eq!(bytes(&flat, "auto"), bytes(&flat, "43"), "{format}");
        assert!(bytes(&noise, "auto") <= bytes(&noise, "92"), "{format}");
        let (auto, low) = (bytes(&noise, "auto"), bytes(&noise, "43"));
        assert!(auto > low, "{format}: {auto} {low}");
    }
}

#[test]
fn plans_of_one_source_are_made_together_as_alone() {
    let queries = [
        "w=700&f=jpeg",
        "w=200&f=jpeg",
        "w=90&f=webp",
        "info=true",
        "w=50&f=png",
        "w=300&blur=2&f=jpeg",
        "w=60&f=avif",
        "w=40&f=webp&anim=true",
        "w=40&h=40&fit=cover&g=auto&f=jpeg",
    ];
    let plans: Vec<Plan> = queries.map(plan).into();
    let drawn = picture(900, 600);
    let grey = DynamicImage::from(drawn.clone()).to_luma8();
    let sources = [
        encoded(drawn.clone(), ImageFormat::Jpeg),
        encoded(grey, ImageFormat::Jpeg),
        encoded(drawn, ImageFormat::Png),
        animated(&COLOURS),
        run(&encoded(picture(300, 300), ImageFormat::Png), "f=avif").bytes,
    ];
    for source in &sources {
        let together = transform_all(source, &plans, &limits(), &Overlays::new());
        assert_eq!(together.len(), plans.len());
        for (query, made) in queries.iter().zip(together) {
            assert!(made.expect(query) == run(source, query), "{query}");
        }
    }
    let failed = transform_all(b"nothing", &plans, &limits(), &Overlays::new());
    assert!(failed.iter().all(Result::is_err) && failed.len() == plans.len());
}

#[test]
fn a_deadline_that_has_passed_ends_the_work() {
    let source = encoded(picture(90, 60), ImageFormat::Png);
    let now = Instant::now();
    let until = |deadline| Limits {
        deadline: Some(deadline),
        ..limits()
    };
    for source in [source.clone(), animated(&COLOURS)] {
        assert_eq!(
            fails(&source, "w=9&f=webp", &until(now)),
            TransformError::Deadline
        );
    }
    let later = until(now + Duration::from_secs(3600));
    transform(&source, &plan("w=9"), &later, &Overlays::new()).expect("in time");
}

#[test]
fn what_would_be_too_large_is_not_made() {
    let source = encoded(picture(90, 60), ImageFormat::Png);
    let small = Limits {
        max_pixels: 90 * 60,
        ..limits()
    };
    for query in [
        "w=91&fit=contain",
        "w=91&h=60&fit=pad",
        "w=300&h=300&fit=squeeze",
    ] {
        assert_eq!(
            fails(&source, query, &small).cause(),
            "too_large",
            "{query}"
        );
    }
    let few_bytes = Limits {
        max_output: 100,
        ..limits()
    };
    assert_eq!(fails(&source, "f=png", &few_bytes).cause(), "too_large");
}

#[test]
fn svg_is_refused_by_name() {
    let error = fails(b"<?xml version='1.0'?><svg/>", "w=9", &limits());
    assert_eq!(error.cause(), "svg");
}

/// Whose a picture is survives when it is asked for, and where it was taken never does.
#[test]
fn only_the_credits_survive() {
    let exif = {
        let entry = |tag: u16, kind: u16, count: u32, value: &[u8; 4]| {
            [
                &tag.to_be_bytes()[..],
                &kind.to_be_bytes(),
                &count.to_be_bytes(),
                value,
            ]
            .concat()
        };
        let entries = [
            entry(0x010F, 2, 4, b"Sec\0"),
            entry(0x0112, 3, 1, &[0, 1, 0, 0]),
            entry(0x8298, 2, 3, b"Me\0\0"),
        ];
        let head = [b"MM\0*\0\0\0\x08", &[0, 3][..]].concat();
        [head, entries.concat(), vec![0; 4]].concat()
    };
    let jpeg = encoded(picture(90, 60), ImageFormat::Jpeg);
    let payload = [b"Exif\0\0", exif.as_slice()].concat();
    let length = u16::try_from(payload.len() + 2)
        .expect("short")
        .to_be_bytes();
    let source = [&jpeg[..2], &[0xFF, 0xE1], &length, &payload, &jpeg[2..]].concat();
    for format in ["jpeg", "webp", "webp-lossless", "png", "avif"] {
        let has = |query: &str, what: &[u8]| {
            let made = run(&source, query).bytes;
            made.windows(what.len()).any(|window| window == what)
        };
        let asked = format!("w=40&f={format}&metadata=copyright");
        let credit = b"\x82\x98\0\x02\0\0\0\x03Me\0";
        assert!(has(&asked, credit), "{format}");
        assert!(!has(&asked, b"Sec\0"), "{format}");
        assert!(!has(&format!("w=40&f={format}"), credit), "{format}");
    }
    // What carries it is still a picture.
    let again = run(&source, "w=40&f=webp-lossless&metadata=copyright");
    assert_eq!(run(&again.bytes, "w=20&f=png").width, 20);
}

#[test]
fn the_original_goes_out_where_nothing_but_bytes_would_be_gained() {
    let small = run(&encoded(picture(200, 100), ImageFormat::Png), "q=20&f=jpeg").bytes;
    // The choice was ours, and everybody reads JPEG.
    assert_eq!(run(&small, "q=95").bytes, small);
    for query in [
        "q=95&f=webp",
        "q=95&blur=1",
        "q=95&grey=true",
        "q=95&w=199",
        "q=95&rotate=90",
    ] {
        assert_ne!(run(&small, query).bytes, small, "{query}");
    }
}

/// Detail on the left, then on the right: that is where the window goes.
#[test]
fn the_automatic_gravity_follows_the_detail() {
    for right in [false, true] {
        let source = RgbImage::from_fn(400, 100, |x, y| {
            let busy = (x > 300) == right && (x < 100) != right;
            Rgb(if busy && (x / 4 + y / 4) % 2 == 0 {
                [255; 3]
            } else {
                [90, 90, 90]
            })
        });
        let made = run(
            &encoded(source, ImageFormat::Png),
            "w=100&h=100&fit=cover&g=auto&f=png",
        );
        let read = image::load_from_memory(&made.bytes)
            .expect("a PNG")
            .to_luma8();
        let lit = read.pixels().filter(|pixel| pixel[0] > 200).count();
        assert!(lit > 4000, "{lit} pixels of detail, right: {right}");
    }
}

/// Reducing the clear parts along with the solid ones leaves no dark fringe.
#[test]
fn what_is_clear_weighs_nothing() {
    let source = image::RgbaImage::from_fn(80, 80, |x, _| {
        if x < 37 {
            Rgba([0, 0, 0, 0])
        } else {
            Rgba([250, 200, 100, 255])
        }
    });
    let made = run(&encoded(source, ImageFormat::Png), "w=20&f=png");
    let read = image::load_from_memory(&made.bytes)
        .expect("a PNG")
        .to_rgba8();
    for pixel in read.pixels().filter(|pixel| pixel[3] > 20) {
        // Lanczos overshoots at edges, upwards here.
        let darker = pixel
            .0
            .iter()
            .zip([250u8, 200, 100])
            .any(|(a, b)| *a < b - 4);
        assert!(!darker, "{pixel:?}");
    }
}
