//! How many frames an animation has: counted along its blocks, without decoding one.

use super::Kind;
use crate::size::Size;

/// At least 1: a still, and whatever is too damaged to tell, has one.
pub fn count(bytes: &[u8], kind: Kind) -> u32 {
    let frames = match kind {
        Kind::Gif => gif(bytes).map(|sizes| sizes.len() as u32),
        Kind::Webp => webp(bytes),
        _ => None,
    };
    frames.unwrap_or(1).max(1)
}

/// Whether a frame is larger than the picture that it is of, which GIF89a §20 forbids: its pixels are decoded
/// whole before they are cut, so that a picture of a pixel could take four gigabytes.
pub fn exceed(bytes: &[u8], kind: Kind, picture: Size) -> bool {
    let sizes = match kind {
        Kind::Gif => gif(bytes).unwrap_or_default(),
        _ => Vec::new(),
    };
    let exceeds = |frame: &Size| frame.width > picture.width || frame.height > picture.height;
    sizes.iter().any(exceeds)
}

/// Of the image descriptors among a GIF's blocks (GIF89a §§12–26).
fn gif(bytes: &[u8]) -> Option<Vec<Size>> {
    let flags = *bytes.get(10)?;
    let mut rest = bytes.get(13 + palette(flags)..)?;
    let mut frames = Vec::new();
    loop {
        let Some((&block, after)) = rest.split_first() else {
            return Some(frames);
        };
        let data = match block {
            // A label and then data; a position, a size, perhaps a palette, a code size and data.
            0x21 => after.get(1..),
            0x2C => {
                frames.push(gif_frame(after).unwrap_or(Size::new(1, 1)));
                after
                    .get(8)
                    .and_then(|flags| after.get(10 + palette(*flags)..))
            }
            _ => return Some(frames),
        };
        let Some(after) = data.and_then(after_blocks) else {
            return Some(frames);
        };
        rest = after;
    }
}

/// Of an image descriptor, without the byte that it begins with: two sides after its place.
fn gif_frame(descriptor: &[u8]) -> Option<Size> {
    let side = |at: usize| {
        descriptor
            .get(at..)?
            .first_chunk()
            .map(|b| u16::from_le_bytes(*b))
    };
    Some(Size::new(side(4)?.into(), side(6)?.into()))
}

/// Bytes of a colour table, as its flags say.
fn palette(flags: u8) -> usize {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Past blocks that each begin with their length, up to the empty one.
fn after_blocks(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (&length, after) = rest.split_first()?;
        rest = after.get(usize::from(length)..)?;
        if length == 0 {
            return Some(rest);
        }
    }
}

/// `ANMF` chunks among a WebP's (RFC 9649 §2.7.1.1).
fn webp(bytes: &[u8]) -> Option<u32> {
    let mut rest = bytes.get(12..)?;
    let mut frames = 0;
    while let Some((head, after)) = rest.split_at_checked(8) {
        frames += u32::from(head.starts_with(b"ANMF"));
        let length = u32::from_le_bytes(*head[4..].first_chunk()?) as usize;
        let padded = length.checked_add(length % 2)?;
        let Some(after) = after.get(padded..) else {
            break;
        };
        rest = after;
    }
    Some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{animated_gif, drawing, encoded};
    use image::ImageFormat;

    #[test]
    fn frames_are_counted() {
        let gif = animated_gif(20, 10, 7);
        assert_eq!(count(&gif, Kind::Gif), 7);
        assert_eq!(
            count(&encoded(drawing(9, 9), ImageFormat::Gif), Kind::Gif),
            1
        );
        assert_eq!(
            count(&encoded(drawing(9, 9), ImageFormat::WebP), Kind::Webp),
            1
        );
    }

    #[test]
    fn a_frame_larger_than_its_picture_is_seen() {
        let gif = |width: u16, height: u16| {
            let head = [
                b"GIF89a".as_slice(),
                &[20, 0, 10, 0, 0, 0, 0],
                &[0x2C, 0, 0, 0, 0],
            ];
            let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
            [head.concat(), sides, vec![0, 2, 0, 0x3B]].concat()
        };
        let exceeds = |gif: &[u8]| exceed(gif, Kind::Gif, Size::new(20, 10));
        assert!(!exceeds(&gif(20, 10)) && !exceeds(&animated_gif(20, 10, 3)));
        assert!(exceeds(&gif(21, 10)) && exceeds(&gif(20, 11)) && exceeds(&gif(65520, 65523)));
    }

    #[test]
    fn any_cut_is_counted_up_to_there() {
        let gif = animated_gif(20, 10, 7);
        let mut last = 1;
        for end in 0..gif.len() {
            let frames = count(&gif[..end], Kind::Gif);
            assert!((last..=7).contains(&frames));
            last = frames;
        }
    }
}
