//! Pictures for this room's tests: drawn here, compressed by libraries, or headers by hand.

use image::codecs::gif::GifEncoder;
use image::codecs::png::PngEncoder;
use image::{
    Delay, DynamicImage, Frame, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage,
};
use std::io::Cursor;
use turbojpeg::{Compressor, PixelFormat, Subsamp};

/// Soft colours with some edges, so that errors of position and of colour both show. The smaller
/// the picture the softer, so that 4:2:0 can hold it.
pub fn drawing(width: u32, height: u32) -> RgbImage {
    let (right, down) = (
        f64::from(width).min(90.0) / 10.0,
        f64::from(height).min(70.0) / 10.0,
    );
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (
            f64::from(x) / f64::from(width),
            f64::from(y) / f64::from(height),
        );
        let wave = |phase: f64| 128.0 + 90.0 * (right * u + phase).sin() * (down * v + phase).cos();
        let disc = width > 30 && (u - 0.6).hypot(v - 0.4) < 0.2;
        let shade = if disc { 0.6 } else { 1.0 };
        Rgb([wave(0.0), wave(1.0), wave(2.5)].map(|level| (level * shade) as u8))
    })
}

/// A drawing full of detail of every size, a few pixels at least: where nothing may move unseen.
pub fn scene(width: u32, height: u32) -> RgbImage {
    let soft = drawing(width, height);
    RgbImage::from_fn(width, height, |x, y| {
        let block = (x / 24).wrapping_mul(73) ^ (y / 18).wrapping_mul(151);
        let (x, y) = (f64::from(x), f64::from(y));
        // Each block its own stripes, of 9 to 30 pixels.
        let angle = f64::from(block % 7) * 0.45;
        let length = 9.0 + f64::from(block % 22);
        let along = x * angle.cos() + y * (0.4 + angle.sin());
        let stripes = 45.0 * (along * std::f64::consts::TAU / length).sin();
        let step = f64::from(block % 5) * 12.0 - 24.0;
        let pixel = soft.get_pixel(x as u32, y as u32).0;
        Rgb(pixel.map(|level| (f64::from(level) * 0.6 + 50.0 + stripes + step) as u8))
    })
}

/// A drawing that fades from clear on the left to solid on the right.
pub fn fading(width: u32, height: u32) -> RgbaImage {
    let solid = drawing(width, height);
    RgbaImage::from_fn(width, height, |x, y| {
        let Rgb([r, g, b]) = *solid.get_pixel(x, y);
        Rgba([
            r,
            g,
            b,
            (x * 255 / width.max(2).wrapping_sub(1)).min(255) as u8,
        ])
    })
}

/// Four colours, one to a quarter: top left, top right, bottom left, bottom right.
pub fn quarters(width: u32, height: u32, colours: [[u8; 3]; 4]) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (right, bottom) = (usize::from(x >= width / 2), usize::from(y >= height / 2));
        Rgb(colours[2 * bottom + right])
    })
}

pub fn jpeg(picture: &RgbImage, subsamp: Subsamp, progressive: bool) -> Vec<u8> {
    let mut compressor = Compressor::new().expect("a compressor");
    compressor.set_quality(95).expect("a quality");
    compressor.set_subsamp(subsamp).expect("a subsampling");
    compressor.set_progressive(progressive).expect("a mode");
    let image = turbojpeg::Image {
        pixels: picture.as_raw().as_slice(),
        width: picture.width() as usize,
        pitch: picture.width() as usize * 3,
        height: picture.height() as usize,
        format: PixelFormat::RGB,
    };
    compressor.compress_to_vec(image).expect("a JPEG")
}

/// `picture` as ink, stored as Adobe stores it: inverted, with its marker.
pub fn cmyk_jpeg(picture: &RgbImage) -> Vec<u8> {
    let ink: Vec<u8> = picture
        .pixels()
        .flat_map(|&Rgb([r, g, b])| [r, g, b, 255])
        .collect();
    let mut compressor = Compressor::new().expect("a compressor");
    compressor.set_quality(95).expect("a quality");
    compressor
        .set_subsamp(Subsamp::None)
        .expect("a subsampling");
    let image = turbojpeg::Image {
        pixels: ink.as_slice(),
        width: picture.width() as usize,
        pitch: picture.width() as usize * 4,
        height: picture.height() as usize,
        format: PixelFormat::CMYK,
    };
    compressor.compress_to_vec(image).expect("a JPEG")
}

pub fn grey_jpeg(picture: &RgbImage) -> Vec<u8> {
    jpeg(picture, Subsamp::Gray, false)
}

pub fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    [&jpeg[..2], &exif_segment(orientation), &jpeg[2..]].concat()
}

/// An APP1 segment that holds an EXIF orientation and nothing else.
pub fn exif_segment(orientation: u8) -> Vec<u8> {
    let mut payload = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    payload.extend_from_slice(&[orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(payload.len() + 2).expect("a short segment");
    [&[0xFF, 0xE1], length.to_be_bytes().as_slice(), &payload].concat()
}

pub fn jpeg_with_profile(jpeg: &[u8], profile: &[u8]) -> Vec<u8> {
    let payload = [b"ICC_PROFILE\0", &[1, 1][..], profile].concat();
    let length = u16::try_from(payload.len() + 2).expect("a short segment");
    [
        &jpeg[..2],
        &[0xFF, 0xE2],
        &length.to_be_bytes(),
        &payload,
        &jpeg[2..],
    ]
    .concat()
}

pub fn png_with_profile(picture: &DynamicImage, profile: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = PngEncoder::new(&mut bytes);
    encoder
        .set_icc_profile(profile.to_vec())
        .expect("PNG has profiles");
    picture.write_with_encoder(encoder).expect("a PNG");
    bytes
}

/// Lossless in whatever format; WebP too.
pub fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .into()
        .write_to(&mut bytes, format)
        .expect("the format is written");
    bytes.into_inner()
}

/// A square that wanders over a drawing, 60 ms a frame.
pub fn animated_gif(width: u32, height: u32, frames: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for at in 0..frames {
        let mut picture = DynamicImage::from(drawing(width, height)).to_rgba8();
        for (x, y) in (0..6).flat_map(|x| (0..6).map(move |y| (x, y))) {
            picture.put_pixel((x + at * 5) % width, y % height, Rgba([255, 0, 0, 255]));
        }
        let delay = Delay::from_numer_denom_ms(60, 1);
        let frame = Frame::from_parts(picture, 0, 0, delay);
        encoder.encode_frame(frame).expect("a frame");
    }
    drop(encoder);
    bytes
}

/// A baseline JPEG's headers up to its scan, without a scan.
pub fn jpeg_bomb(width: u16, height: u16) -> Vec<u8> {
    let [[w1, w0], [h1, h0]] = [width.to_be_bytes(), height.to_be_bytes()];
    [
        &[0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, h1, h0, w1, w0, 3][..],
        &[1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0],
        &[0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0, 0, 0],
    ]
    .concat()
}

/// A PNG's header and the beginning of its data.
pub fn png_bomb(width: u32, height: u32) -> Vec<u8> {
    let header = [
        &width.to_be_bytes()[..],
        &height.to_be_bytes(),
        &[8, 6, 0, 0, 0],
    ]
    .concat();
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let body = [kind, data].concat();
        let length = u32::try_from(data.len())
            .expect("a short chunk")
            .to_be_bytes();
        [&length[..], &body, &crc32(&body).to_be_bytes()].concat()
    };
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"IDAT", &[0x78, 0x9c]),
    ]
    .concat()
}

/// A lossless WebP's header; sides have 14 bits.
pub fn webp_bomb(width: u32, height: u32) -> Vec<u8> {
    let sides = (width - 1) | (height - 1) << 14;
    let data = [&[0x2F][..], &sides.to_le_bytes(), &[0; 11]].concat();
    let length = |len: usize| u32::try_from(len).expect("short").to_le_bytes();
    [
        b"RIFF",
        &length(12 + data.len())[..],
        b"WEBPVP8L",
        &length(data.len()),
        &data,
    ]
    .concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
