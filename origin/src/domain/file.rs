//! Large files: they come in chunks, in any order and several at once, each with its digest. The whole has
//! one too, which is looked at once all chunks are there.

use super::fields::{Fields, Invalid};
use super::random::in_hex;
use super::words::words;
use serde::{Serialize, Serializer};
use serde_json::Value;
use sfv::{BareItem, ListEntry, Parser, RefBareItem, RefDictSerializer};
use sha2::{Digest, Sha256};
use std::ops::{Range, RangeInclusive};
use std::{fmt, str::FromStr};

pub const CHUNK_BYTES: u64 = 10 * 1024 * 1024;

/// Of one file.
pub const CHUNKS_AT_ONCE: usize = 3;

pub const MOST_BYTES: i64 = 5 * 1024 * 1024 * 1024;

/// All files of somebody.
pub const MOST_FILES: i64 = 1_000;
pub const MOST_BYTES_IN_ALL: i64 = 4 * MOST_BYTES;

/// After which a file is forgotten of which chunks are still missing.
pub const OPEN_SECONDS: i64 = 7 * 86_400;

words! {
    pub enum State {
        /// Chunks are missing.
        Open = "open",
        /// All are there, and wait for somebody to look whether they are the whole.
        Checking = "checking",
        Whole = "whole",
        /// They are not what was announced; they are removed.
        Mismatched = "mismatched",
    }
}

/// A file that is about to come.
#[derive(Debug, PartialEq)]
pub struct Draft {
    pub name: String,
    pub media_type: String,
    pub bytes: i64,
    pub sha256: Checksum,
}

/// SHA-256 of some bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Checksum([u8; 32]);

/// Into which chunks so many bytes are cut; all but the last are equally long.
#[derive(Clone, Copy)]
pub struct Cut {
    pub bytes: u64,
}

/// A part of a chunk.
#[derive(Debug, PartialEq)]
pub struct Piece {
    pub chunk: u64,
    pub part: Range<usize>,
}

/// What a file is announced as.
pub fn read(body: Value) -> Result<Draft, Invalid> {
    let mut fields = Fields::of(body)?;
    let name = fields.text("name", 1..=200);
    if name.contains(char::is_control) {
        fields.fault::<()>("name", "must not contain control characters");
    }
    let media_type = fields.optional_text("media_type", 3..=100);
    let media_type = media_type.unwrap_or_else(|| "application/octet-stream".into());
    if !is_media_type(&media_type) {
        fields.fault::<()>("media_type", "must be a media type, as video/mp4");
    }
    let bytes = fields.integer("bytes", 1..=MOST_BYTES);
    let sha256 = fields.text("sha256", 64..=64);
    let checksum = sha256.parse();
    // A text of another length has been told so.
    if checksum.is_err() && !sha256.is_empty() {
        fields.fault::<()>("sha256", "must be hexadecimal digits in lower case");
    }
    fields.finish(Draft {
        name,
        media_type,
        bytes,
        sha256: checksum.unwrap_or(Checksum([0; 32])),
    })
}

/// Without parameters. RFC 6838 §4.2.
fn is_media_type(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c);
    let named = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric());
    text.split_once('/').is_some_and(|(kind, sort)| {
        [kind, sort]
            .iter()
            .all(|part| named(part) && part.chars().all(plain))
    })
}

impl Cut {
    pub fn count(self) -> u64 {
        self.bytes.div_ceil(CHUNK_BYTES)
    }

    /// None: there is no such chunk. The first is 0.
    pub fn length(self, chunk: u64) -> Option<u64> {
        let start = chunk.checked_mul(CHUNK_BYTES)?;
        let left = self.bytes.checked_sub(start).filter(|left| *left > 0)?;
        Some(left.min(CHUNK_BYTES))
    }

    /// Where these bytes are, in order. The range must be within the whole.
    pub fn pieces(self, range: RangeInclusive<u64>) -> impl Iterator<Item = Piece> {
        let (first, last) = range.into_inner();
        let within = |offset: u64| {
            usize::try_from(offset).expect("an offset within a chunk is less than 2^24")
        };
        (first / CHUNK_BYTES..=last / CHUNK_BYTES).map(move |chunk| {
            let start = chunk * CHUNK_BYTES;
            let end = (last - start).min(CHUNK_BYTES - 1) + 1;
            Piece {
                chunk,
                part: within(first.saturating_sub(start))..within(end),
            }
        })
    }
}

impl Checksum {
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    pub fn done(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }

    /// The SHA-256 among the digests of a field; others are passed by. RFC 9530 §2.
    pub fn from_digest_field(field: &[u8]) -> Option<Self> {
        let digests = Parser::parse_dictionary(field).ok()?;
        match digests.get("sha-256")? {
            ListEntry::Item(item) => match &item.bare_item {
                BareItem::ByteSeq(bytes) => Some(Self(bytes.as_slice().try_into().ok()?)),
                _ => None,
            },
            ListEntry::InnerList(_) => None,
        }
    }

    /// As `Content-Digest` and `Repr-Digest` have it. RFC 9530.
    pub fn digest_field(&self) -> String {
        let mut field = String::new();
        RefDictSerializer::new(&mut field)
            .bare_item_member("sha-256", &RefBareItem::ByteSeq(&self.0))
            .expect("a name and bytes can always be written");
        field
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_hex(&self.0))
    }
}

impl FromStr for Checksum {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let plain = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
        if text.len() != 64 || !text.as_bytes().iter().all(plain) {
            return Err(());
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(drop)?;
            *byte = u8::from_str_radix(digits, 16).map_err(drop)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn chunks_are_the_whole(bytes in 1..=MOST_BYTES.cast_unsigned()) {
            let cut = Cut { bytes };
            let lengths: Vec<_> = (0..cut.count()).map(|chunk| cut.length(chunk)).collect();
            prop_assert!(lengths.iter().all(Option::is_some));
            prop_assert_eq!(lengths.iter().flatten().sum::<u64>(), bytes);
            prop_assert_eq!(cut.length(cut.count()), None);
            prop_assert_eq!(cut.length(u64::MAX), None);
        }

        #[test]
        fn pieces_are_the_range_without_gaps(
            bytes in 1..=MOST_BYTES.cast_unsigned(), one in any::<u64>(), other in any::<u64>()
        ) {
            let (one, other) = (one % bytes, other % bytes);
            let range = one.min(other)..=one.max(other);
            let mut next = *range.start();
            for piece in (Cut { bytes }).pieces(range.clone()) {
                prop_assert!(!piece.part.is_empty());
                prop_assert!(piece.part.end as u64 <= CHUNK_BYTES);
                prop_assert_eq!(piece.chunk * CHUNK_BYTES + piece.part.start as u64, next);
                next = piece.chunk * CHUNK_BYTES + piece.part.end as u64;
            }
            prop_assert_eq!(next, range.end() + 1);
        }

        #[test]
        fn checksums_survive_the_round_trips(bytes in any::<Vec<u8>>()) {
            let sum = Checksum::of(&bytes);
            prop_assert_eq!(sum.to_string().parse(), Ok(sum));
            prop_assert_eq!(Checksum::from_digest_field(sum.digest_field().as_bytes()), Some(sum));
        }

        #[test]
        fn no_digest_field_is_too_strange_to_read(field in any::<Vec<u8>>()) {
            prop_assert_eq!(Checksum::from_digest_field(&field), None);
        }
    }

    #[test]
    fn a_digest_is_found_among_others() {
        // RFC 9530, appendix D.
        let field = b"sha-512=:AA==:, sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
        assert!(Checksum::from_digest_field(field).is_some());
        for wrong in ["", "sha-256", "sha-256=:AA==:", "sha-256=(1)", "md5=:AA==:"] {
            assert_eq!(Checksum::from_digest_field(wrong.as_bytes()), None);
        }
    }

    #[test]
    fn what_is_announced_is_read_with_all_its_faults() {
        let sum = Checksum::of(b"x");
        let read_of = |more: Value| {
            let mut draft = json!({"name": "a.mp4", "bytes": 1, "sha256": sum});
            for (field, value) in more.as_object().expect("fields") {
                draft[field] = value.clone();
            }
            read(draft)
        };
        let plain = read_of(json!({})).expect("a good draft");
        assert_eq!(plain.media_type, "application/octet-stream");
        assert_eq!(plain.sha256, sum);
        for wrong in [
            json!({"name": "a\nb"}),
            json!({"media_type": "text/html; charset=utf-8"}),
            json!({"media_type": "a\r\nb/c"}),
            json!({"bytes": 0}),
            json!({"bytes": MOST_BYTES + 1}),
            json!({"sha256": "00"}),
            json!({"sha256": sum.to_string().to_uppercase()}),
            json!({"more": 1}),
        ] {
            let Invalid(faults) = read_of(wrong.clone()).expect_err("it is wrong");
            assert_eq!(faults.len(), 1, "{wrong}");
        }
    }
}
