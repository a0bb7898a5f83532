//! How many frames an animation has: counted along its blocks, without decoding one.

use super::Kind;

/// At least 1: a still, and whatever is too damaged to tell, has one.
pub fn count(bytes: &[u8], kind: Kind) -> u32 {
    let frames = match kind {
        Kind::Gif => gif(bytes),
        Kind::Webp => webp(bytes),
        _ => None,
    };
    frames.unwrap_or(1).max(1)
}

/// Image descriptors among a GIF's blocks (GIF89a §§12–26).
fn gif(bytes: &[u8]) -> Option<u32> {
    let flags = *bytes.get(10)?;
    let mut rest = bytes.get(13 + palette(flags)..)?;
    let mut frames = 0;
    loop {
        let Some((&block, after)) = rest.split_first() else {
            return Some(frames);
        };
        let data = match block {
            // A label and then data; a position, a size, perhaps a palette, a code size and data.
            0x21 => after.get(1..),
            0x2C => {
                frames += 1;
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
