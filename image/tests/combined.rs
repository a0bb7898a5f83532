//! Operations together, on pictures of awkward shapes and kinds: whatever is asked, what comes is a whole
//! picture of the size that was asked for.

use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, GenericImageView, ImageBuffer, ImageFormat, Rgba, RgbaImage};
use lakh_image::{Gravity, ImageSettings, Limits, Plan, Watermark, transform};
use proptest::prelude::*;
use std::io::Cursor;

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let written = picture.write_to(&mut bytes, format);
    written.expect("the format is written");
    bytes.into_inner()
}

/// Half of it lets through, more or less.
fn drawn(width: u32, height: u32) -> DynamicImage {
    let pixel = |x: u32, y: u32| {
        let level = |n: u32| (n % 256) as u8;
        Rgba([level(x * 7), level(y * 5), level(x + y), level(x * y + 90)])
    };
    RgbaImage::from_fn(width, height, pixel).into()
}

/// Of four colours, one of which is clear.
fn of_a_palette(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(vec![255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]);
    encoder.set_trns(vec![0, 255, 128]);
    let mut writer = encoder.write_header().expect("a head");
    let samples: Vec<u8> = (0..width * height).map(|n| (n % 4) as u8).collect();
    writer.write_image_data(&samples).expect("the pixels");
    writer.finish().expect("an end");
    bytes
}

fn animated(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for turn in 0..3 {
        let mut picture = drawn(width, height).into_rgba8();
        picture.pixels_mut().for_each(|pixel| pixel.0[3] = 255);
        picture.put_pixel(turn % width, 0, Rgba([255, 255, 255, 255]));
        encoder.encode_frame(Frame::new(picture)).expect("a frame");
    }
    drop(encoder);
    bytes
}

fn source(kind: usize, (width, height): (u32, u32)) -> Vec<u8> {
    let picture = drawn(width, height);
    let deep = |picture: &DynamicImage| DynamicImage::from(picture.to_rgba16());
    match kind {
        0 => encoded(&picture, ImageFormat::Png),
        1 => encoded(&deep(&picture), ImageFormat::Png),
        2 => encoded(&DynamicImage::from(picture.to_luma16()), ImageFormat::Png),
        3 => encoded(
            &DynamicImage::from(picture.to_luma_alpha8()),
            ImageFormat::Png,
        ),
        4 => of_a_palette(width, height),
        5 => animated(width, height),
        6 => encoded(&picture, ImageFormat::WebP),
        7 => encoded(&DynamicImage::from(picture.to_rgb8()), ImageFormat::Bmp),
        8 => encoded(&DynamicImage::from(picture.to_rgb16()), ImageFormat::Tiff),
        9 => encoded(&DynamicImage::from(picture.to_luma8()), ImageFormat::Jpeg),
        _ => encoded(&DynamicImage::from(picture.to_rgb8()), ImageFormat::Jpeg),
    }
}

fn settings() -> ImageSettings {
    let mark = ImageBuffer::from_pixel(9, 5, Rgba([250u8, 250, 250, 200]));
    let file = encoded(&DynamicImage::from(mark), ImageFormat::Png);
    let mut settings = ImageSettings::default();
    let mark = Watermark::new(file, Gravity::BOTTOM_RIGHT, 80, 50);
    settings.watermarks.insert("mark".to_owned(), mark);
    settings
}

/// One of the words, or nothing.
fn part(words: &'static [&'static str]) -> impl Strategy<Value = Option<&'static str>> {
    prop::option::of(prop::sample::select(words))
}

proptest! {
    #[test]
    fn whatever_is_asked_a_whole_picture_of_that_size_comes(
        kind in 0..11usize,
        shape in prop::sample::select(&[(1, 1), (1, 900), (900, 1), (2, 3), (37, 23), (64, 200)][..]),
        (width, height) in (prop::option::of(1..90u32), prop::option::of(1..90u32)),
        fit in part(&["scale-down", "contain", "cover", "crop", "pad", "squeeze"]),
        gravity in part(&["auto", "top-left", "bottom", "0.3x0.9"]),
        ground in part(&["bg=transparent", "bg=ff000080", "bg=white"]),
        trim in part(&["trim", "trim=0", "trim=255"]),
        turn in part(&["rotate=90", "rotate=180", "flip=h", "rotate=270&flip=hv"]),
        effect in part(&["blur=3", "sharpen=2", "grey", "blur=0.3&sharpen=10&grey"]),
        mark in part(&["wm=mark"]),
        quality in part(&["q=1", "q=100", "q=auto"]),
        format in part(&["f=jpeg", "f=png", "f=webp", "f=webp-lossless", "f=original", "info", "placeholder"]),
        still in part(&["anim=false"]),
    ) {
        let named = [("w", width), ("h", height)];
        let sides = named.iter().filter_map(|(name, side)| Some(format!("{name}={}", (*side)?)));
        let named = [("fit", fit), ("g", gravity)];
        let ways = named.iter().filter_map(|(name, word)| Some(format!("{name}={}", (*word)?)));
        let others = [ground, trim, turn, effect, mark, quality, format, still];
        let others = others.into_iter().flatten().map(str::to_owned);
        let query: Vec<String> = sides.chain(ways).chain(others).chain(["metadata=none".to_owned()]).collect();
        let query = query.join("&");
        let settings = settings();
        let plan = Plan::from_request(Some(&query), Some("image/webp"), &settings);
        let plan = plan.expect("a good query").expect("a plan");

        let limits = Limits::from(&settings);
        let made = transform(&source(kind, shape), &plan, &limits, &settings.overlays());
        let made = match made {
            Ok(made) => made,
            Err(error) => return Err(TestCaseError::fail(format!("{query}: {error}"))),
        };

        if format == Some("info") {
            prop_assert_eq!(made.content_type, "application/json");
            let (w, h) = shape;
            let sides = format!("\"width\":{w},\"height\":{h}");
            prop_assert!(String::from_utf8_lossy(&made.bytes).contains(&sides));
            return Ok(());
        }
        let picture = image::load_from_memory(&made.bytes).expect("a whole picture");
        prop_assert_eq!(picture.dimensions(), (made.width, made.height), "{}", query);
        if format != Some("placeholder") {
            prop_assert!(width.is_none_or(|width| made.width <= width), "{}: {}", query, made.width);
            prop_assert!(height.is_none_or(|height| made.height <= height), "{}: {}", query, made.height);
        }
        let fills = matches!(fit, Some("cover" | "pad" | "squeeze"));
        if let (Some(width), Some(height), true) = (width, height, fills && format != Some("placeholder")) {
            prop_assert_eq!((made.width, made.height), (width, height), "{}", query);
        }
    }
}
