//! Whole transformations, checked against the `image` crate's own decoding and reduction.

use super::*;
use crate::ImageSettings;
use crate::fixtures::*;
use image::imageops::{self, FilterType};
use image::{DynamicImage, GenericImageView, ImageFormat, RgbImage};
use turbojpeg::Subsamp;

const LIMITS: Limits = Limits {
    max_pixels: 50_000_000,
    max_animation: 100_000_000,
    max_source: 32 << 20,
    max_output: 32 << 20,
    deadline: None,
};

const NO_OVERLAYS: Overlays = Overlays::new();

/// The sizes of this table are odd on purpose: half a chroma sample, and a block's first pixels.
const SIZES: [(u32, u32); 6] = [(1, 1), (3, 5), (17, 16), (160, 120), (375, 499), (641, 479)];

fn plan(query: &str) -> Plan {
    let settings = ImageSettings::default();
    let plan = Plan::from_request(Some(query), Some("image/webp"), &settings);
    plan.expect("a good query").expect("a plan")
}

fn run(source: &[u8], query: &str) -> Rendition {
    transform(source, &plan(query), &LIMITS, &NO_OVERLAYS).expect(query)
}

fn decoded(rendition: &Rendition) -> DynamicImage {
    let format = ImageFormat::from_mime_type(rendition.content_type).expect("a known type");
    let picture = image::load_from_memory_with_format(&rendition.bytes, format).expect("decodes");
    assert_eq!(picture.dimensions(), (rendition.width, rendition.height));
    picture
}

/// Mean absolute difference of a channel, in levels.
fn difference(one: &RgbImage, other: &RgbImage) -> f64 {
    assert_eq!(one.dimensions(), other.dimensions());
    let total: u64 = one
        .as_raw()
        .iter()
        .zip(other.as_raw())
        .map(|(a, b)| u64::from(a.abs_diff(*b)))
        .sum();
    total as f64 / one.as_raw().len() as f64
}

/// What a rendition should look like: the drawing, reduced by another implementation.
fn reference(picture: &RgbImage, rendition: &Rendition) -> RgbImage {
    imageops::resize(
        picture,
        rendition.width,
        rendition.height,
        FilterType::Lanczos3,
    )
}

/// A few pixels are all edge, and a chroma sample there is four of them.
fn tolerance(rendition: &Rendition) -> f64 {
    match rendition.width * rendition.height {
        0..100 => 20.0,
        100..400 => 14.0,
        400..3000 => 5.0,
        _ => 3.0,
    }
}

#[track_caller]
fn assert_like(rendition: &Rendition, expected: &RgbImage, tolerance: f64, what: &str) {
    let difference = difference(&decoded(rendition).to_rgb8(), expected);
    assert!(difference < tolerance, "{what}: {difference:.2} levels off");
}

#[test]
fn jpeg_of_any_subsampling_into_any_format_at_any_scale() {
    let kinds = [
        (Subsamp::None, false),
        (Subsamp::Sub2x1, true),
        (Subsamp::Sub2x2, false),
        (Subsamp::Sub2x2, true),
        (Subsamp::Sub1x2, false),
        (Subsamp::Sub4x1, false),
    ];
    for (width, height) in SIZES {
        for (subsamp, progressive) in kinds {
            let source = jpeg(&drawing(width, height), subsamp, progressive);
            let stored = image::load_from_memory(&source).expect("decodes").to_rgb8();
            let what = format!("{width}x{height} {subsamp:?} progressive: {progressive}");
            compare_at_all_scales(&source, &stored, &what);
        }
    }
}

fn compare_at_all_scales(source: &[u8], stored: &RgbImage, what: &str) {
    for width in [9999, 300, 100, 40, 3] {
        let [jpeg, webp, png] = ["jpeg", "webp", "png"]
            .map(|format| run(source, &format!("w={width}&q=95&f={format}")));
        assert_eq!(jpeg.width, stored.width().min(width));
        let expected = reference(stored, &jpeg);
        for rendition in [jpeg, webp, png] {
            let what = format!("{what}, {width} {}", rendition.content_type);
            assert_like(&rendition, &expected, tolerance(&rendition), &what);
        }
    }
}

#[test]
fn grey_stays_grey() {
    let source = grey_jpeg(&drawing(375, 499));
    let stored = image::load_from_memory(&source).expect("decodes").to_rgb8();
    for format in ["jpeg", "webp", "png"] {
        let rendition = run(&source, &format!("w=150&q=95&f={format}"));
        let expected = reference(&stored, &rendition);
        assert_like(&rendition, &expected, 3.0, format);
        let colour = decoded(&rendition).color();
        assert_eq!(colour.has_color(), format == "webp", "{format}: {colour:?}");
    }
}

#[test]
fn cmyk_becomes_rgb() {
    let picture = drawing(161, 120);
    for (width, format) in [(161, "jpeg"), (80, "webp"), (20, "png")] {
        let rendition = run(&cmyk_jpeg(&picture), &format!("w={width}&q=95&f={format}"));
        let expected = reference(&picture, &rendition);
        assert_like(&rendition, &expected, 4.0, format);
    }
}

#[test]
fn other_formats_are_read() {
    use ImageFormat::{Bmp, Gif, Png, Tiff, WebP};
    for (width, height) in SIZES {
        let picture = drawing(width, height);
        for format in [Png, Gif, WebP, Bmp, Tiff] {
            let source = encoded(picture.clone(), format);
            let stored = image::load_from_memory(&source).expect("decodes").to_rgb8();
            for query in [
                "f=jpeg&q=95",
                "w=100&f=webp&q=95",
                "h=60&f=png",
                "w=50&f=original&q=95",
            ] {
                let rendition = run(&source, query);
                let tolerance = tolerance(&rendition);
                let expected = reference(&stored, &rendition);
                let what = format!("{format:?} {width}x{height} {query}");
                assert_like(&rendition, &expected, tolerance, &what);
            }
        }
    }
}

#[test]
fn sixteen_bit_png_is_read() {
    let picture = DynamicImage::from(drawing(90, 70));
    let source = encoded(DynamicImage::from(picture.to_rgb16()), ImageFormat::Png);
    let rendition = run(&source, "w=45&f=png");
    let expected = reference(&picture.to_rgb8(), &rendition);
    assert_like(&rendition, &expected, 1.0, "16 bits");
}

#[test]
fn alpha_is_kept_where_the_format_has_it() {
    let source = encoded(fading(100, 60), ImageFormat::Png);
    for format in ["webp", "png"] {
        let picture = decoded(&run(&source, &format!("w=50&q=95&f={format}"))).to_rgba8();
        let alpha = |x| i32::from(picture.get_pixel(x, 15)[3]);
        for x in 0..50 {
            let expected = (2.0 * f64::from(x) + 0.5) * 255.0 / 99.0;
            assert!(
                (f64::from(alpha(x)) - expected).abs() < 6.0,
                "{format} at {x}: {}",
                alpha(x)
            );
        }
    }
}

#[test]
fn jpeg_lays_alpha_on_white() {
    let source = encoded(fading(100, 60), ImageFormat::Png);
    let picture = decoded(&run(&source, "f=jpeg&q=95")).to_rgb8();
    assert!(picture.get_pixel(0, 30).0.iter().all(|&level| level > 248));
}

#[test]
fn auto_without_webp_is_png_only_for_what_lets_the_background_through() {
    let settings = ImageSettings::default();
    let plan = Plan::from_request(Some("w=50"), Some("*/*"), &settings);
    let plan = plan.expect("good").expect("a plan");
    let solid = DynamicImage::from(DynamicImage::from(drawing(100, 60)).to_rgba8());
    let cases = [
        (encoded(fading(100, 60), ImageFormat::Png), "image/png"),
        (encoded(solid, ImageFormat::Png), "image/jpeg"),
        (encoded(drawing(100, 60), ImageFormat::Png), "image/jpeg"),
        (
            jpeg(&drawing(100, 60), Subsamp::Sub2x2, false),
            "image/jpeg",
        ),
    ];
    for (source, expected) in cases {
        let rendition = transform(&source, &plan, &LIMITS, &NO_OVERLAYS).expect("a rendition");
        assert_eq!(rendition.content_type, expected);
    }
}

#[test]
fn original_keeps_the_format_or_takes_png() {
    use ImageFormat::{Bmp, Gif, Png, Tiff, WebP};
    for format in [Png, WebP, Gif, Bmp, Tiff] {
        let rendition = run(&encoded(drawing(60, 40), format), "w=30&f=original");
        let expected = if format == WebP {
            "image/webp"
        } else {
            "image/png"
        };
        assert_eq!(rendition.content_type, expected, "{format:?}");
    }
    let rendition = run(
        &jpeg(&drawing(60, 40), Subsamp::Sub2x2, false),
        "w=30&f=original",
    );
    assert_eq!(rendition.content_type, "image/jpeg");
}

#[test]
fn every_orientation_comes_out_upright() {
    let [red, green, blue, white] = [[200, 30, 30], [30, 160, 30], [30, 30, 200], [240; 3]];
    // As stored, by EXIF value, so that red is top left, green top right, blue bottom left.
    let stored = [
        [red, green, blue, white],
        [green, red, white, blue],
        [white, blue, green, red],
        [blue, white, red, green],
        [red, blue, green, white],
        [green, white, red, blue],
        [white, green, blue, red],
        [blue, red, white, green],
    ];
    for (exif, corners) in (1u8..).zip(stored) {
        let (width, height) = if exif < 5 { (96, 64) } else { (64, 96) };
        for subsamp in [Subsamp::Sub2x2, Subsamp::Sub2x1] {
            let source = jpeg(&quarters(width, height, corners), subsamp, false);
            for (query, upright) in [
                ("f=jpeg", (96, 64)),
                ("w=33&f=webp", (33, 22)),
                ("h=32&f=png", (48, 32)),
            ] {
                let rendition = run(&with_orientation(&source, exif), query);
                assert_eq!(
                    (rendition.width, rendition.height),
                    upright,
                    "{exif} {query}"
                );
                let expected = quarters(upright.0, upright.1, [red, green, blue, white]);
                assert_like(
                    &rendition,
                    &expected,
                    9.0,
                    &format!("orientation {exif} {query}"),
                );
            }
        }
    }
}

#[test]
fn metadata_is_dropped() {
    let source = with_orientation(&jpeg(&drawing(80, 60), Subsamp::Sub2x2, false), 6);
    for format in ["jpeg", "webp", "png"] {
        let bytes = run(&source, &format!("w=40&f={format}")).bytes;
        assert!(
            !bytes.windows(4).any(|window| window == b"Exif"),
            "{format}"
        );
    }
}

#[test]
fn a_colour_profile_is_applied_and_dropped() {
    use image::ImageDecoder;
    let profile = moxcms::ColorProfile::new_display_p3();
    let profile = profile.encode().expect("a profile");
    let red = RgbImage::from_pixel(80, 61, image::Rgb([180, 60, 60]));
    let clear = DynamicImage::from(red.clone()).to_rgba8();
    let sources = [
        jpeg_with_profile(&jpeg(&red, Subsamp::Sub2x2, false), &profile),
        png_with_profile(&red.into(), &profile),
        png_with_profile(&clear.into(), &profile),
    ];
    for source in sources {
        for format in ["jpeg", "webp", "png"] {
            let rendition = run(&source, &format!("w=41&q=95&f={format}"));
            let pixel = decoded(&rendition).to_rgb8().get_pixel(20, 20).0;
            assert!(pixel[0] > 184 && pixel[1] < 58, "{format}: {pixel:?}");
            let reader = image::ImageReader::new(std::io::Cursor::new(&rendition.bytes));
            let reader = reader.with_guessed_format().expect("in memory");
            let found = reader.into_decoder().expect("decodes").icc_profile();
            assert_eq!(found.expect("readable"), None, "{format}");
        }
    }
}

/// Whose middle is brighter in sRGB than its numbers say.
#[test]
fn a_colour_profile_is_applied_before_colours_go() {
    let profile = moxcms::ColorProfile::new_pro_photo_rgb();
    let profile = profile.encode().expect("a profile");
    let dull = RgbImage::from_pixel(40, 30, image::Rgb([100, 100, 100]));
    let clear = DynamicImage::from(dull.clone()).to_rgba8();
    for source in [
        png_with_profile(&dull.clone().into(), &profile),
        png_with_profile(&clear.into(), &profile),
        jpeg_with_profile(&jpeg(&dull, Subsamp::Sub2x2, false), &profile),
    ] {
        let level = |query: &str| {
            let made = decoded(&run(&source, query)).to_rgb8();
            made.get_pixel(9, 9).0[1]
        };
        let coloured = level("f=png");
        assert!(coloured > 110, "{coloured}");
        assert!(level("f=png&grey").abs_diff(coloured) <= 1);
        assert!(level("f=jpeg&q=95&grey").abs_diff(coloured) <= 2);
    }
}

#[test]
fn what_would_only_grow_is_left_alone() {
    let small = run(
        &jpeg(&drawing(200, 100), Subsamp::Sub2x2, false),
        "q=30&f=jpeg",
    )
    .bytes;
    assert_eq!(run(&small, "q=95&f=jpeg").bytes, small);
    assert_eq!(run(&small, "w=200&q=95&f=original").bytes, small);
    assert_ne!(
        run(&small, "q=10&f=jpeg").bytes,
        small,
        "smaller, so re-encoded"
    );
    assert_ne!(
        run(&small, "w=199&q=95&f=jpeg").bytes,
        small,
        "another size"
    );
    assert_ne!(run(&small, "q=95&f=webp").bytes, small, "another format");
    let turned = with_orientation(&small, 3);
    assert_ne!(run(&turned, "q=95&f=jpeg").bytes, turned, "to be turned");
}

#[test]
fn cut_off_at_any_tenth_is_an_error() {
    use ImageFormat::{Bmp, Gif, Png, Tiff, WebP};
    let picture = drawing(160, 120);
    let mut sources = vec![
        ("baseline", jpeg(&picture, Subsamp::Sub2x2, false)),
        ("progressive", jpeg(&picture, Subsamp::Sub2x2, true)),
        ("grey", grey_jpeg(&picture)),
        ("CMYK", cmyk_jpeg(&picture)),
        (
            "lossy WebP",
            run(&encoded(picture.clone(), Png), "f=webp").bytes,
        ),
        (
            "WebP with alpha",
            run(&encoded(fading(160, 120), Png), "f=webp").bytes,
        ),
    ];
    for (name, format) in [
        ("PNG", Png),
        ("GIF", Gif),
        ("WebP", WebP),
        ("BMP", Bmp),
        ("TIFF", Tiff),
    ] {
        sources.push((name, encoded(picture.clone(), format)));
    }
    for (name, source) in sources {
        transform(&source, &plan("w=20"), &LIMITS, &NO_OVERLAYS).expect(name);
        for tenth in 0..10 {
            let part = &source[..source.len() * tenth / 10];
            for query in ["w=20&f=jpeg", "f=png"] {
                let result = transform(part, &plan(query), &LIMITS, &NO_OVERLAYS);
                assert!(result.is_err(), "{name} at {tenth}/10, {query}");
            }
        }
    }
}

#[test]
fn damage_in_the_middle_of_a_jpeg_is_an_error() {
    let mut source = jpeg(&drawing(160, 120), Subsamp::Sub2x2, false);
    let middle = source.len() / 2;
    source[middle..middle + 40].fill(0xFF);
    let error = transform(&source, &plan("w=20"), &LIMITS, &NO_OVERLAYS).expect_err("damaged");
    assert_eq!(error.cause(), "corrupt");
}

#[test]
fn bombs_are_refused_by_their_header() {
    let bombs = [
        jpeg_bomb(30_000, 30_000),
        jpeg_bomb(65_500, 65_500),
        png_bomb(30_000, 30_000),
        webp_bomb(16_383, 16_383),
    ];
    for bomb in bombs {
        let error = transform(&bomb, &plan("w=20"), &LIMITS, &NO_OVERLAYS).expect_err("a bomb");
        assert_eq!(error.cause(), "too_large", "{error}");
    }
}

#[test]
fn limits_are_inclusive() {
    let source = encoded(drawing(10, 10), ImageFormat::Png);
    let bytes = source.len() as u64;
    let cause = |max_pixels, max_source| {
        let limits = Limits {
            max_pixels,
            max_source,
            ..LIMITS
        };
        transform(&source, &plan("w=5"), &limits, &NO_OVERLAYS)
            .map_err(|error| error.cause())
            .err()
    };
    assert_eq!(cause(100, bytes), None);
    assert_eq!(cause(99, bytes), Some("too_large"));
    assert_eq!(cause(100, bytes - 1), Some("too_large"));
}

#[test]
fn a_progressive_picture_of_endless_scans_is_refused() {
    let source = jpeg(&drawing(64, 64), Subsamp::Sub2x2, true);
    let last_scan = source
        .windows(2)
        .rposition(|pair| pair == [0xFF, 0xDA])
        .expect("a scan");
    let (scan, end) = (&source[last_scan..source.len() - 2], [0xFF, 0xD9]);
    let endless = [&source[..source.len() - 2], &scan.repeat(2000), &end].concat();
    let error = transform(&endless, &plan("w=20"), &LIMITS, &NO_OVERLAYS).expect_err("endless");
    assert_eq!(error.cause(), "corrupt");
}

#[test]
fn what_is_no_image_is_unsupported() {
    for source in [&b""[..], b"hello", b"%PDF-1.7"] {
        let error = transform(source, &plan("w=20"), &LIMITS, &NO_OVERLAYS).expect_err("no image");
        assert_eq!(error.cause(), "unsupported");
    }
}

#[test]
fn noise_after_a_header_never_panics() {
    let mut seed = 1u32;
    let mut noise = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    use ImageFormat::{Bmp, Gif, Png, Tiff, WebP};
    let picture = drawing(40, 30);
    let mut sources: Vec<Vec<u8>> = [Png, Gif, WebP, Bmp, Tiff]
        .map(|format| encoded(picture.clone(), format))
        .into();
    sources.push(jpeg(&picture, Subsamp::Sub2x2, false));
    sources.push(jpeg(&picture, Subsamp::Sub2x1, true));
    for source in sources {
        for _ in 0..200 {
            let mut damaged = source.clone();
            for _ in 0..4 {
                let at = usize::from(noise()) << 8 | usize::from(noise());
                let at = at % damaged.len();
                damaged[at] = noise();
            }
            let _ = transform(&damaged, &plan("w=20"), &LIMITS, &NO_OVERLAYS);
        }
    }
}
