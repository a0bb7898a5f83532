//! Headers that lie, and little files of large pictures.

use super::{File, encoded, file, picture};
use image::{DynamicImage, ImageFormat, Luma};

pub fn all(whole: &[(&str, Vec<u8>)]) -> Vec<File> {
    let source = |wanted: &str| {
        let found = whole.iter().find(|(name, _)| *name == wanted);
        found.expect("one of the sources").1.as_slice()
    };
    let mut files = Vec::new();
    files.extend(jpegs(source("jpeg")));
    files.extend(pngs(source("png")));
    files.extend(gifs(source("gif"), source("gif-animated")));
    files.extend(webps(source("webp-lossless")));
    files.extend(others(source("bmp"), source("tiff"), source("avif")));
    files
}

fn large(name: String, bytes: Vec<u8>) -> File {
    file(name, bytes, Some("too_large"))
}

fn jpegs(jpeg: &[u8]) -> Vec<File> {
    let frame = find(jpeg, &[0xFF, 0xC0]);
    let sized = |width: u16, height: u16| {
        let sides = [height.to_be_bytes(), width.to_be_bytes()].concat();
        replaced(jpeg, frame + 5, &sides)
    };
    let mut files = vec![
        large("JPEG of 65500 × 65500".into(), sized(65_500, 65_500)),
        large("JPEG of 30000 × 30000".into(), sized(30_000, 30_000)),
        file(
            "JPEG of 2000 × 2000 without so much data",
            sized(2000, 2000),
            Some("corrupt"),
        ),
        file("JPEG without a width", sized(0, 120), Some("corrupt")),
    ];
    files.extend(endless_scans());
    for sampling in [0x00, 0x44, 0x1F, 0xFF] {
        let bytes = replaced(jpeg, frame + 11, &[sampling]);
        files.push(file(format!("JPEG sampled {sampling:02x}"), bytes, None));
    }
    files
}

/// A progressive picture whose last scan comes two thousand times.
fn endless_scans() -> Vec<File> {
    let progressive = include_bytes!("progressive.jpg");
    let last = progressive
        .windows(2)
        .rposition(|pair| pair == [0xFF, 0xDA])
        .expect("a scan");
    let end = progressive.len() - 2;
    let repeated = |times| {
        let scans = progressive[last..end].repeat(times);
        [&progressive[..end], &scans, &progressive[end..]].concat()
    };
    vec![
        file("JPEG of 2000 scans", repeated(2000), Some("corrupt")),
        file("JPEG of 20000 scans", repeated(20_000), Some("corrupt")),
    ]
}

fn pngs(png: &[u8]) -> Vec<File> {
    let header = |width: u32, height: u32, depth: u8, colour: u8| {
        let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
        let header = [sides.as_slice(), &[depth, colour, 0, 0, 0]].concat();
        let body = [b"IHDR", header.as_slice()].concat();
        [&png[..12], &body, &crc32(&body).to_be_bytes(), &png[33..]].concat()
    };
    let blank = DynamicImage::from(image::ImageBuffer::from_pixel(2000, 2000, Luma([7u8])));
    let bomb = encoded(blank, ImageFormat::Png);
    // Deflate's thousandfold: a quarter of a gigabyte of pixels in a quarter of a megabyte.
    let text = [
        b"IHDR",
        &[0, 0, 0x3E, 0x80, 0, 0, 0x3E, 0x80, 8, 0, 0, 0, 0][..],
    ]
    .concat();
    let inflated = [&bomb[..12], &text, &crc32(&text).to_be_bytes(), &bomb[33..]].concat();
    vec![
        large("PNG of 30000 × 30000".into(), header(30_000, 30_000, 8, 2)),
        large(
            "PNG of 2³¹ - 1 each way".into(),
            header(0x7FFF_FFFF, 0x7FFF_FFFF, 16, 6),
        ),
        large("PNG of 16000 × 16000".into(), inflated),
        file(
            "PNG of more rows than it has",
            header(160, 2000, 8, 2),
            Some("corrupt"),
        ),
        file("PNG of less rows than it has", header(160, 10, 8, 2), None),
        file("PNG of no width", header(0, 10, 8, 2), Some("corrupt")),
        file(
            "PNG of a colour type there isn't",
            header(160, 120, 8, 5),
            Some("corrupt"),
        ),
        file(
            "PNG of a palette there isn't",
            header(160, 120, 8, 3),
            Some("corrupt"),
        ),
        file("PNG of 2000 × 2000 of one colour", bomb, None),
    ]
}

fn gifs(gif: &[u8], animated: &[u8]) -> Vec<File> {
    let sized = |gif: &[u8], width: u16, height: u16| {
        replaced(
            gif,
            6,
            &[width.to_le_bytes(), height.to_le_bytes()].concat(),
        )
    };
    let frame = find(animated, &[0x21, 0xF9]);
    let frames = &animated[frame..animated.len() - 1];
    let many = [&animated[..frame], &frames.repeat(150), b"\x3B"].concat();
    let sides = [65_520_u16.to_le_bytes(), 65_523_u16.to_le_bytes()].concat();
    let descriptor = find(&animated[frame..], &[0x2C]) + frame;
    let wide = replaced(animated, descriptor + 5, &sides);
    vec![
        large("GIF of 65535 × 65535".into(), sized(gif, 65_535, 65_535)),
        large("GIF of 30000 × 300".into(), sized(gif, 30_000, 300)),
        file("GIF of no width", sized(gif, 0, 9), Some("corrupt")),
        file(
            "GIF of a canvas smaller than its frame",
            sized(gif, 10, 10),
            None,
        ),
        file("GIF of 600 frames", many, None),
        file("GIF with a frame of 65520 × 65523", wide, Some("corrupt")),
    ]
}

fn webps(webp: &[u8]) -> Vec<File> {
    let sized = |width: u32, height: u32| {
        let sides = (width - 1) | (height - 1) << 14;
        replaced(webp, 21, &sides.to_le_bytes())
    };
    let riff = |length: u32| replaced(webp, 4, &length.to_le_bytes());
    let extended = |width: u32, height: u32| {
        let sides = [
            &(width - 1).to_le_bytes()[..3],
            &(height - 1).to_le_bytes()[..3],
        ]
        .concat();
        let header = [b"VP8X", &[10, 0, 0, 0, 2, 0, 0, 0][..], &sides].concat();
        [
            b"RIFF\xFF\0\0\0WEBP",
            header.as_slice(),
            b"ANIM\x06\0\0\0\0\0\0\0\0\0",
            &webp[12..],
        ]
        .concat()
    };
    vec![
        large("WebP of 16383 × 16383".into(), sized(16_383, 16_383)),
        file(
            "WebP of more than it has",
            sized(1900, 1900),
            Some("corrupt"),
        ),
        file(
            "WebP with a canvas of 2²⁴ × 2²⁰",
            extended(1 << 24, 1 << 20),
            Some("corrupt"),
        ),
        file(
            "WebP of an animation without frames",
            extended(100, 100),
            Some("corrupt"),
        ),
        file("WebP of a length of nothing", riff(0), None),
        file("WebP of a length of all", riff(u32::MAX), None),
    ]
}

fn others(bmp: &[u8], tiff: &[u8], avif: &[u8]) -> Vec<File> {
    let bmp_sized = |width: i32, height: i32| {
        replaced(
            bmp,
            18,
            &[width.to_le_bytes(), height.to_le_bytes()].concat(),
        )
    };
    let mut files = vec![
        large("BMP of 30000 × 30000".into(), bmp_sized(30_000, 30_000)),
        file(
            "BMP of more than it has",
            bmp_sized(1900, 1900),
            Some("corrupt"),
        ),
        file(
            "BMP of a height below nothing",
            bmp_sized(100, i32::MIN),
            None,
        ),
        file(
            "TIFF whose directory is itself",
            replaced(tiff, 4, &[4, 0, 0, 0]),
            Some("corrupt"),
        ),
        file(
            "TIFF whose directory is nowhere",
            replaced(tiff, 4, &[0xFF; 4]),
            Some("corrupt"),
        ),
    ];
    let size = find(avif, b"ispe");
    let sized = |width: u32, height: u32| {
        replaced(
            avif,
            size + 8,
            &[width.to_be_bytes(), height.to_be_bytes()].concat(),
        )
    };
    files.push(file(
        "AVIF of 30000 × 30000",
        sized(30_000, 30_000),
        Some("corrupt"),
    ));
    files.push(file(
        "AVIF of another size than its frame",
        sized(900, 900),
        None,
    ));
    files.push(large(
        "AVIF whose frame is larger than it says".into(),
        frame_of_65536(avif),
    ));
    files.push(file("AVIF of no width", sized(0, 9), Some("corrupt")));
    files.push(large(
        "PNG of one row too many".into(),
        encoded(picture(2001, 2000), ImageFormat::Png),
    ));
    files
}

/// With all ones for the sides in the sequence header: a still's has 10 bits, two lengths of four
/// bits, and then the sides, of 8 and 7 bits here.
fn frame_of_65536(avif: &[u8]) -> Vec<u8> {
    let data = find(avif, b"mdat");
    let header = data + find(&avif[data..], &[0x0A]) + 2;
    let mut lying = avif.to_vec();
    lying[header + 1] |= 0x3F;
    lying[header + 2..header + 6].fill(0xFF);
    lying
}

fn replaced(source: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut replaced = source.to_vec();
    replaced[at..at + bytes.len()].copy_from_slice(bytes);
    replaced
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    let found = bytes
        .windows(wanted.len())
        .position(|window| window == wanted);
    found.expect("the format has it")
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
