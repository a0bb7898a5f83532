//! The marker segments at the head of a JPEG: metadata that the codec passes over.
//!
//! Reads only lengths and tags, stops at the first thing that isn't a segment.

use super::profile;
use image::metadata::Orientation;

const START_OF_IMAGE: [u8; 2] = [0xFF, 0xD8];
const START_OF_SCAN: u8 = 0xDA;
const APP1: u8 = 0xE1;
const APP2: u8 = 0xE2;
const APP14: u8 = 0xEE;

/// The EXIF orientation; upright when there is none, or none that makes sense.
pub fn orientation(jpeg: &[u8]) -> Orientation {
    exif(jpeg)
        .and_then(Orientation::from_exif_chunk)
        .unwrap_or(Orientation::NoTransforms)
}

/// The EXIF metadata, a TIFF structure.
pub fn exif(jpeg: &[u8]) -> Option<&[u8]> {
    segments(jpeg)
        .filter(|(marker, _)| *marker == APP1)
        .find_map(|(_, payload)| payload.strip_prefix(b"Exif\0\0"))
}

/// The ICC profile, put together from its parts.
pub fn colour_profile(jpeg: &[u8]) -> Option<Vec<u8>> {
    let parts = segments(jpeg).filter(|(marker, _)| *marker == APP2);
    profile::from_segments(parts.map(|(_, payload)| payload))
}

/// Whether Adobe's marker is there: their CMYK is stored inverted, zero being full ink.
pub fn has_adobe_marker(jpeg: &[u8]) -> bool {
    segments(jpeg).any(|(marker, payload)| marker == APP14 && payload.starts_with(b"Adobe"))
}

/// Marker and payload of every segment before the first scan.
fn segments(jpeg: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = jpeg.strip_prefix(&START_OF_IMAGE).unwrap_or_default();
    std::iter::from_fn(move || {
        let (marker, after) = marker(rest)?;
        let length = usize::from(u16::from_be_bytes(*after.first_chunk()?));
        // The length counts its own two bytes.
        let payload = after.get(2..length)?;
        rest = &after[length..];
        Some((marker, payload))
    })
}

/// The next marker and what follows it; `None` at the scan. Any number of 0xFF may fill up before
/// a marker (ITU-T T.81 §B.1.1.2).
fn marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let mut rest = bytes.strip_prefix(&[0xFF])?;
    while let Some(after) = rest.strip_prefix(&[0xFF]) {
        rest = after;
    }
    let (&marker, after) = rest.split_first()?;
    (marker != START_OF_SCAN).then_some((marker, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_orientation_behind_other_segments_and_fill_bytes() {
        let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xFF, 0xFF];
        jpeg.extend_from_slice(&crate::fixtures::exif_segment(6)[1..]);
        assert_eq!(orientation(&jpeg), Orientation::Rotate90);
    }

    #[test]
    fn any_cut_and_any_lie_about_lengths_is_upright_at_worst() {
        let mut jpeg = vec![0xFF, 0xD8];
        jpeg.extend_from_slice(&crate::fixtures::exif_segment(8));
        for end in 0..jpeg.len() {
            let _ = orientation(&jpeg[..end]);
        }
        for length in 0..=255 {
            jpeg[5] = length;
            let _ = (orientation(&jpeg), has_adobe_marker(&jpeg));
        }
    }
}
