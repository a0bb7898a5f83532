//! Whose a picture is: the only metadata that may survive, and how EXIF says it.

/// EXIF tags (Exif 2.32 §4.6.4), both in the first directory.
const ARTIST: u16 = 0x013B;
const COPYRIGHT: u16 = 0x8298;

const ASCII: u16 = 2;

/// Bytes of one field; what is longer isn't a name.
const MAX_FIELD: usize = 1024;

/// Entries of a directory that are looked at.
const MAX_ENTRIES: u16 = 256;

const APP0: [u8; 2] = [0xFF, 0xE0];
const APP1: [u8; 2] = [0xFF, 0xE1];

/// Bytes of a WebP before its first chunk: `RIFF`, a length, `WEBP`.
const RIFF_HEADER: usize = 12;
const HAS_EXIF: u8 = 0x08;
const HAS_ALPHA: u8 = 0x10;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credits {
    artist: Option<Vec<u8>>,
    copyright: Option<Vec<u8>>,
}

impl Credits {
    /// What a TIFF structure says; `None` when it says nothing. Never fails: what can't be read
    /// isn't there.
    pub fn read(exif: &[u8]) -> Option<Self> {
        let tiff = Tiff::of(exif)?;
        let credits = Self {
            artist: tiff.text(ARTIST),
            copyright: tiff.text(COPYRIGHT),
        };
        (credits != Self::default()).then_some(credits)
    }

    /// A TIFF structure that holds them and nothing else, in big-endian order.
    pub fn exif(&self) -> Vec<u8> {
        let fields = [(ARTIST, &self.artist), (COPYRIGHT, &self.copyright)];
        let fields: Vec<(u16, Vec<u8>)> = fields
            .into_iter()
            .filter_map(|(tag, text)| Some((tag, [text.as_ref()?, &[0][..]].concat())))
            .collect();
        let count = u16::try_from(fields.len()).expect("two at most");
        let mut directory = [b"MM\0*\0\0\0\x08", &count.to_be_bytes()[..]].concat();
        let mut texts = Vec::new();
        // Behind the directory and the offset of a next one, which there isn't.
        let start = directory.len() + 12 * fields.len() + 4;
        for (tag, text) in fields {
            let length = u32::try_from(text.len()).expect("bounded by MAX_FIELD");
            directory.extend([tag.to_be_bytes(), ASCII.to_be_bytes()].concat());
            directory.extend(length.to_be_bytes());
            if text.len() <= 4 {
                directory.extend(text.iter().chain(&[0; 4]).take(4));
            } else {
                let offset = u32::try_from(start + texts.len()).expect("two short texts");
                directory.extend(offset.to_be_bytes());
                texts.extend(text);
            }
        }
        [directory, vec![0; 4], texts].concat()
    }
}

struct Tiff<'e> {
    bytes: &'e [u8],
    big_endian: bool,
}

impl<'e> Tiff<'e> {
    fn of(bytes: &'e [u8]) -> Option<Self> {
        let big_endian = match bytes.get(..2)? {
            b"MM" => true,
            b"II" => false,
            _ => return None,
        };
        Some(Self { bytes, big_endian })
    }

    fn text(&self, wanted: u16) -> Option<Vec<u8>> {
        let directory = self.long(4)? as usize;
        let count = self.short(directory)?.min(MAX_ENTRIES);
        let entry = (0..usize::from(count))
            .map(|index| directory + 2 + 12 * index)
            .find(|entry| self.short(*entry) == Some(wanted))?;
        let length = self.long(entry + 4)? as usize;
        if self.short(entry + 2)? != ASCII || length > MAX_FIELD {
            return None;
        }
        let start = if length <= 4 {
            entry + 8
        } else {
            self.long(entry + 8)? as usize
        };
        let text = self.bytes.get(start..start.checked_add(length)?)?;
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        (!text.is_empty()).then(|| text.to_vec())
    }

    fn short(&self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }
}

/// A JPEG with the EXIF in one segment, behind JFIF's, which has to be the first.
pub fn into_jpeg(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
    let after_jfif = match jpeg.get(2..6) {
        Some([a, b, high, low]) if [*a, *b] == APP0 => {
            4 + usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => 2,
    };
    let (head, tail) = jpeg.split_at(after_jfif);
    let payload = [b"Exif\0\0", exif].concat();
    let length = u16::try_from(2 + payload.len()).expect("two short fields");
    [head, &APP1, &length.to_be_bytes(), &payload, tail].concat()
}

/// A WebP with the EXIF behind its picture, and an extended header if it had none
/// (RFC 9649 §2.7).
pub fn into_webp(webp: &[u8], exif: &[u8], width: u32, height: u32) -> Vec<u8> {
    let chunks = &webp[RIFF_HEADER..];
    let (flags, images) = match chunks.strip_prefix(b"VP8X") {
        // Its length, 10, and then the flags come first.
        Some(extended) => (extended[4], &extended[14..]),
        None => (lossless_alpha(chunks), chunks),
    };
    let sides = [(width - 1).to_le_bytes(), (height - 1).to_le_bytes()];
    let header = [&[flags | HAS_EXIF, 0, 0, 0], &sides[0][..3], &sides[1][..3]].concat();
    let body = [&chunk(b"VP8X", &header), images, &chunk(b"EXIF", exif)].concat();
    chunk(b"RIFF", &[b"WEBP", body.as_slice()].concat())
}

/// A simple lossless file says in its own header whether it has alpha: the bit behind a signature
/// byte and two sides of 14 bits.
fn lossless_alpha(chunks: &[u8]) -> u8 {
    let has_alpha = chunks.starts_with(b"VP8L") && chunks.get(12).is_some_and(|b| b & 0x10 != 0);
    if has_alpha { HAS_ALPHA } else { 0 }
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
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            artist in proptest::option::of("[ -~]{1,40}"),
            copyright in proptest::option::of("[ -~]{1,3}"),
        ) {
            let bytes = |text: Option<String>| text.map(String::into_bytes);
            let credits = Credits { artist: bytes(artist), copyright: bytes(copyright) };
            let read = Credits::read(&credits.exif());
            prop_assert_eq!(read, Some(credits.clone()).filter(|c| *c != Credits::default()));
        }

        #[test]
        fn any_bytes_are_read_without_harm(mut bytes: Vec<u8>, at: usize, value: u8) {
            let _ = Credits::read(&bytes);
            let whole = Credits { artist: Some(vec![b'a'; 30]), copyright: Some(b"c".to_vec()) };
            bytes = whole.exif();
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = Credits::read(&bytes);
            let _ = Credits::read(&bytes[..at]);
        }
    }
}
