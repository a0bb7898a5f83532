//! Photos: which formats, how large, and what a photo's name may look like.

use std::{fmt, str::FromStr};

pub const MOST_BYTES: u64 = 10 * 1024 * 1024;
pub const MOST_PER_LISTING: u32 = 10;
pub const MOST_PER_ISSUE: u32 = 10;

/// What is made of each photo. The edge has presets of the same names, and makes the same of them.
pub const PRESETS: [&str; 3] = ["original", "medium", "thumbnail"];

/// As many leading bytes as `PhotoKind::is_start_of` needs to decide.
pub const MAGIC_BYTES: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PhotoKind {
    Jpeg,
    Png,
    Webp,
}

impl PhotoKind {
    /// By media type; parameters are ignored, none of the three formats has any.
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next()?.trim();
        [Self::Jpeg, Self::Png, Self::Webp]
            .into_iter()
            .find(|kind| kind.media_type().eq_ignore_ascii_case(essence))
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
        }
    }

    /// A label is a claim; the first bytes are what a browser believes.
    pub fn is_start_of(self, bytes: &[u8]) -> bool {
        match self {
            Self::Jpeg => bytes.starts_with(b"\xff\xd8\xff"),
            Self::Png => bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
            Self::Webp => bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP"),
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Jpeg => "jpg",
            Self::Png => "png",
            Self::Webp => "webp",
        }
    }
}

/// A photo's name: lower-case letters, digits and dashes, then one of three endings. Whatever
/// parses as one can be joined to a folder without leaving it.
#[derive(Debug, Clone, PartialEq)]
pub struct PhotoName {
    stem: String,
    kind: PhotoKind,
}

impl PhotoName {
    /// A name nobody can guess, from 128 random bits.
    pub fn unguessable(kind: PhotoKind, random: [u8; 16]) -> Self {
        Self {
            stem: random.iter().map(|byte| format!("{byte:02x}")).collect(),
            kind,
        }
    }

    /// The name of what `preset` makes of it, in that format.
    pub fn rendition(&self, preset: &str, kind: PhotoKind) -> Self {
        Self {
            stem: format!("{}-{preset}", self.stem),
            kind,
        }
    }

    /// Where the photo is served.
    pub fn path(&self) -> String {
        format!("/photos/{self}")
    }
}

impl fmt::Display for PhotoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stem, self.kind.extension())
    }
}

impl FromStr for PhotoName {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let (stem, extension) = name.split_once('.').ok_or(())?;
        let kind = [PhotoKind::Jpeg, PhotoKind::Png, PhotoKind::Webp]
            .into_iter()
            .find(|kind| kind.extension() == extension)
            .ok_or(())?;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=64).contains(&stem.len()) && stem.bytes().all(plain) {
            Ok(Self {
                stem: stem.into(),
                kind,
            })
        } else {
            Err(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_round_trip() {
        let name = PhotoName::unguessable(PhotoKind::Webp, [0xa5; 16]);
        assert_eq!(name.to_string().parse(), Ok(name));
    }

    #[test]
    fn a_rendition_has_a_name_of_its_own() {
        let name: PhotoName = "demo-kayak.jpg".parse().expect("a name");
        let made = name.rendition("thumbnail", PhotoKind::Webp).to_string();
        assert_eq!(made, "demo-kayak-thumbnail.webp");
        let longest = PhotoName::unguessable(PhotoKind::Jpeg, [0; 16]);
        let made = longest.rendition("thumbnail", PhotoKind::Jpeg).to_string();
        assert!(made.parse::<PhotoName>().is_ok());
    }

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for name in [
            "../a.jpg",
            "a/b.jpg",
            "..",
            ".jpg",
            "a.JPG",
            "a.jpg.png",
            "a\0.jpg",
            "a.svg",
        ] {
            assert_eq!(name.parse::<PhotoName>(), Err(()), "{name:?}");
        }
    }

    #[test]
    fn the_label_must_agree_with_the_first_bytes() {
        let webp = b"RIFF\x10\0\0\0WEBPVP8 ";
        assert!(PhotoKind::Webp.is_start_of(webp));
        assert!(!PhotoKind::Jpeg.is_start_of(webp));
        assert!(!PhotoKind::Webp.is_start_of(b"RIFF\x10\0\0\0WAVE"));
        assert!(!PhotoKind::Png.is_start_of(b"\x89PN"));
    }

    #[test]
    fn media_types_ignore_case_and_parameters() {
        assert_eq!(
            PhotoKind::from_media_type("Image/JPEG; q=1"),
            Some(PhotoKind::Jpeg)
        );
        assert_eq!(PhotoKind::from_media_type("image/svg+xml"), None);
    }
}
