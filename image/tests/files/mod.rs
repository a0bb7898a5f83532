//! The hostile files, made the same way each time.

mod bombs;

use image::codecs::gif::GifEncoder;
use image::{Delay, DynamicImage, Frame, ImageFormat, Rgb, RgbImage};
use lakh_image::{ImageSettings, Limits, Overlays, Plan, transform};
use std::io::Cursor;

pub struct File {
    pub name: String,
    pub bytes: Vec<u8>,
    /// The cause of the error it has to be; `None` where a whole picture will do.
    pub must_fail: Option<&'static str>,
}

pub fn all() -> Vec<File> {
    let whole = sources();
    let mut files = Vec::new();
    for (name, source) in &whole {
        files.extend(cut_off(name, source));
        files.extend(flipped(name, source));
    }
    files.extend(polyglots(&whole));
    files.extend(bombs::all(&whole));
    files
}

pub fn file(name: impl Into<String>, bytes: Vec<u8>, must_fail: Option<&'static str>) -> File {
    File {
        name: name.into(),
        bytes,
        must_fail,
    }
}

/// One of each format that is read.
fn sources() -> Vec<(&'static str, Vec<u8>)> {
    let picture = picture(160, 120);
    let mut alpha = DynamicImage::from(picture.clone()).to_rgba8();
    alpha.pixels_mut().for_each(|pixel| pixel[3] = pixel[0]);
    let png = encoded(picture.clone(), ImageFormat::Png);
    let again = |query| remade(&png, query);
    vec![
        ("jpeg", again("f=jpeg")),
        (
            "grey",
            encoded(
                DynamicImage::from(picture.clone()).to_luma8(),
                ImageFormat::Jpeg,
            ),
        ),
        ("png", png.clone()),
        ("png-alpha", encoded(alpha.clone(), ImageFormat::Png)),
        ("gif", encoded(picture.clone(), ImageFormat::Gif)),
        ("gif-animated", animated(4)),
        ("webp", again("f=webp")),
        (
            "webp-alpha",
            remade(&encoded(alpha, ImageFormat::Png), "f=webp"),
        ),
        ("webp-lossless", encoded(picture.clone(), ImageFormat::WebP)),
        ("bmp", encoded(picture.clone(), ImageFormat::Bmp)),
        ("tiff", encoded(picture, ImageFormat::Tiff)),
        ("avif", avif()),
    ]
}

fn avif() -> Vec<u8> {
    include_bytes!("square.avif").to_vec()
}

fn remade(source: &[u8], query: &str) -> Vec<u8> {
    let settings = ImageSettings::default();
    let plan = Plan::from_request(Some(query), None, &settings);
    let plan = plan.expect("a good query").expect("a plan");
    let made = transform(source, &plan, &Limits::from(&settings), &Overlays::new());
    made.expect("a rendition").bytes
}

pub fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([
            (x * 3 + y) as u8,
            (y * 5) as u8 ^ (x as u8 / 4),
            (x * y / 8) as u8,
        ])
    })
}

pub fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let written = picture.into().write_to(&mut bytes, format);
    written.expect("the format is written");
    bytes.into_inner()
}

fn animated(frames: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for at in 0..frames {
        let mut picture = DynamicImage::from(picture(60, 40)).to_rgba8();
        picture.put_pixel(at, at, image::Rgba([255, 0, 0, 255]));
        let frame = Frame::from_parts(picture, 0, 0, Delay::from_numer_denom_ms(50, 1));
        encoder.encode_frame(frame).expect("a frame");
    }
    drop(encoder);
    bytes
}

/// Cut off at every tenth: never a whole picture, except where only what comes behind the first
/// frame is missing.
fn cut_off<'f>(name: &'f str, source: &'f [u8]) -> impl Iterator<Item = File> + 'f {
    (0..10).map(move |tenth| {
        let part = &source[..source.len() * tenth / 10];
        let must_fail = match (name, tenth) {
            (_, 0) => Some("unsupported"),
            ("gif-animated", 3..) => None,
            _ => Some("corrupt"),
        };
        file(
            format!("{name} cut at {tenth}/10"),
            part.to_vec(),
            must_fail,
        )
    })
}

/// A few bits, anywhere.
fn flipped<'f>(name: &'f str, source: &'f [u8]) -> impl Iterator<Item = File> + 'f {
    let mut noise = Noise(source.len() as u32);
    (0..12).map(move |round| {
        let mut bytes = source.to_vec();
        for _ in 0..=round / 2 {
            let at = noise.next() as usize % bytes.len();
            bytes[at] ^= 1 << (noise.next() % 8);
        }
        file(format!("{name} flipped {round}"), bytes, None)
    })
}

/// One format's beginning with another's body, and what is no picture in front of one that is.
fn polyglots(whole: &[(&str, Vec<u8>)]) -> Vec<File> {
    let mut files = Vec::new();
    for (at, (name, source)) in whole.iter().enumerate() {
        let (other, body) = &whole[(at + 5) % whole.len()];
        let head = &source[..24.min(source.len())];
        let chimera = [head, &body[24..]].concat();
        files.push(file(format!("{name} with {other} inside"), chimera, None));
        let behind = [source.as_slice(), body].concat();
        files.push(file(format!("{name} and {other} behind it"), behind, None));
        let script = [b"<script>alert(1)</script>", source.as_slice()].concat();
        files.push(file(
            format!("text before {name}"),
            script,
            Some("unsupported"),
        ));
        let drawing = [b"<svg onload='alert(1)'>", source.as_slice()].concat();
        files.push(file(format!("SVG before {name}"), drawing, Some("svg")));
    }
    files
}

struct Noise(u32);

impl Noise {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }
}
