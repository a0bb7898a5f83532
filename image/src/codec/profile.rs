//! The one piece of a source's metadata that a rendition keeps: how its colours are meant.
//!
//! Phones write Display P3. The same numbers read as sRGB, which is what no profile means, are
//! visibly duller; converting every pixel costs more than the half kilobyte that says so.

/// Larger ones hold tables for printing.
const MAX_BYTES: usize = 16 * 1024;

const JPEG_TAG: &[u8] = b"ICC_PROFILE\0";
const APP0: [u8; 2] = [0xFF, 0xE0];
const APP2: [u8; 2] = [0xFF, 0xE2];

/// Bytes of a WebP before its first chunk: `RIFF`, a length, `WEBP`.
const RIFF_HEADER: usize = 12;
const HAS_PROFILE: u8 = 0x20;

/// The profile, if readers would show other colours without it.
pub fn worth_keeping(profile: Vec<u8>) -> Option<Vec<u8>> {
    let is_rgb = profile.get(16..20) == Some(b"RGB ");
    (is_rgb && profile.len() <= MAX_BYTES && !names_srgb(&profile)).then_some(profile)
}

/// Profiles bear their name in ASCII or, from version 4 on, in UTF-16.
fn names_srgb(profile: &[u8]) -> bool {
    profile.windows(4).any(|name| name == b"sRGB")
        || profile.windows(8).any(|name| name == b"\0s\0R\0G\0B")
}

/// The profile in the APP2 segments of a JPEG, each numbered from 1 (ICC.1:2022 annex B.4).
pub fn from_segments<'s>(payloads: impl Iterator<Item = &'s [u8]>) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = payloads
        .filter_map(|payload| payload.strip_prefix(JPEG_TAG))
        .filter(|part| part.len() > 2)
        .collect();
    parts.sort_by_key(|part| part[0]);
    let profile: Vec<u8> = parts
        .into_iter()
        .flat_map(|part| &part[2..])
        .copied()
        .collect();
    (!profile.is_empty()).then_some(profile)
}

/// A JPEG with the profile in one segment, behind JFIF's, which has to be the first.
pub fn into_jpeg(jpeg: &[u8], profile: &[u8]) -> Vec<u8> {
    let after_jfif = match jpeg.get(2..6) {
        Some([a, b, high, low]) if [*a, *b] == APP0 => {
            4 + usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => 2,
    };
    let (head, tail) = jpeg.split_at(after_jfif);
    let length = u16::try_from(2 + JPEG_TAG.len() + 2 + profile.len())
        .expect("kept profiles are far smaller than a segment");
    let part_one_of_one = [1, 1];
    [
        head,
        &APP2,
        &length.to_be_bytes(),
        JPEG_TAG,
        &part_one_of_one,
        profile,
        tail,
    ]
    .concat()
}

/// A WebP with the profile behind its extended header, which it is given if it had none
/// (RFC 9649 §2.7).
pub fn into_webp(webp: &[u8], profile: &[u8], width: u32, height: u32) -> Vec<u8> {
    let chunks = &webp[RIFF_HEADER..];
    let (flags, images) = match chunks.strip_prefix(b"VP8X") {
        // Its length, 10, and then the flags come first.
        Some(extended) => (extended[4], &extended[14..]),
        None => (0, chunks),
    };
    let sides = [(width - 1).to_le_bytes(), (height - 1).to_le_bytes()];
    let header = [
        &[flags | HAS_PROFILE, 0, 0, 0],
        &sides[0][..3],
        &sides[1][..3],
    ]
    .concat();
    let body = [&chunk(b"VP8X", &header), &chunk(b"ICCP", profile), images].concat();
    chunk(b"RIFF", &[b"WEBP", body.as_slice()].concat())
}

/// Name, length, data; padded to an even length that isn't counted.
fn chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("a rendition is smaller than 4 GiB");
    let padding = &[0][..data.len() % 2];
    [name, &length.to_le_bytes()[..], data, padding].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_rgb_profiles_that_are_not_srgb_are_kept() {
        let profile = |space: &[u8], name: &[u8], len: usize| {
            let mut bytes = [&[0; 16], space, name].concat();
            bytes.resize(len, 0);
            bytes
        };
        let kept =
            |space: &[u8], name: &[u8], len| worth_keeping(profile(space, name, len)).is_some();
        assert!(kept(b"RGB ", b"Display P3", 548));
        assert!(!kept(b"RGB ", b"sRGB IEC61966-2.1", 3144));
        assert!(!kept(b"RGB ", b"\0s\0R\0G\0B", 600));
        assert!(!kept(b"CMYK", b"FOGRA39", 548));
        assert!(!kept(b"RGB ", b"tables", MAX_BYTES + 1));
        assert!(worth_keeping(vec![1, 2, 3]).is_none());
    }

    #[test]
    fn parts_are_joined_in_their_order() {
        let part = |number: u8, data: &[u8]| [JPEG_TAG, &[number, 2], data].concat();
        let (second, first) = (part(2, b"cd"), part(1, b"ab"));
        let payloads = [second.as_slice(), b"other", first.as_slice(), JPEG_TAG];
        assert_eq!(
            from_segments(payloads.into_iter()).as_deref(),
            Some(&b"abcd"[..])
        );
        assert_eq!(from_segments([b"other".as_slice()].into_iter()), None);
    }
}
