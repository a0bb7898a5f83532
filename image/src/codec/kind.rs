//! Which formats there are, and how a source's is told: by its first bytes.

use crate::transform::TransformError;
use image::ImageFormat;

/// A format that sources come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Jpeg,
    Png,
    Gif,
    Webp,
    Avif,
    Bmp,
    Tiff,
}

/// A format that renditions are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jpeg,
    Webp,
    WebpLossless,
    Png,
    Avif,
}

impl Kind {
    pub fn of(bytes: &[u8]) -> Result<Self, TransformError> {
        if is_avif(bytes) {
            return Ok(Self::Avif);
        }
        if is_svg(bytes) {
            return Err(TransformError::Svg);
        }
        match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) => Ok(Self::Jpeg),
            Ok(ImageFormat::Png) => Ok(Self::Png),
            Ok(ImageFormat::Gif) => Ok(Self::Gif),
            Ok(ImageFormat::WebP) => Ok(Self::Webp),
            Ok(ImageFormat::Bmp) => Ok(Self::Bmp),
            Ok(ImageFormat::Tiff) => Ok(Self::Tiff),
            Ok(other) => Err(TransformError::Unsupported(format!("{other:?}"))),
            Err(_) => Err(TransformError::Unsupported("unknown format".to_owned())),
        }
    }

    /// The same format, if it is written too.
    pub const fn written(self) -> Option<Format> {
        match self {
            Self::Jpeg => Some(Format::Jpeg),
            Self::Png => Some(Format::Png),
            Self::Webp => Some(Format::Webp),
            Self::Avif => Some(Format::Avif),
            Self::Gif | Self::Bmp | Self::Tiff => None,
        }
    }

    /// Every client that shows pictures shows these.
    pub const fn is_read_by_all(self) -> bool {
        matches!(self, Self::Jpeg | Self::Png | Self::Gif)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Gif => "gif",
            Self::Webp => "webp",
            Self::Avif => "avif",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Avif => "image/avif",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
        }
    }
}

impl Format {
    pub const fn kind(self) -> Kind {
        match self {
            Self::Jpeg => Kind::Jpeg,
            Self::Webp | Self::WebpLossless => Kind::Webp,
            Self::Png => Kind::Png,
            Self::Avif => Kind::Avif,
        }
    }

    pub const fn has_alpha(self) -> bool {
        !matches!(self, Self::Jpeg)
    }

    /// Whether it can be made of planes of YCbCr.
    pub const fn takes_planes(self) -> bool {
        matches!(self, Self::Jpeg | Self::Webp | Self::Avif)
    }
}

/// The file type box names AVIF, or sequences of it, among the brands (ISO/IEC 14496-12 §4.3).
fn is_avif(bytes: &[u8]) -> bool {
    let Some((head, brands)) = bytes.split_at_checked(8) else {
        return false;
    };
    let length = head[..4]
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let brands = &brands[..brands.len().min(length.saturating_sub(8)).min(256)];
    let (brands, _) = brands.as_chunks::<4>();
    &head[4..] == b"ftyp"
        && brands
            .iter()
            .any(|brand| brand == b"avif" || brand == b"avis")
}

/// Text that begins as SVG or XML does: behind a byte order mark and white space.
pub fn is_svg(bytes: &[u8]) -> bool {
    let text = bytes
        .strip_prefix(b"\xEF\xBB\xBF")
        .unwrap_or(bytes)
        .trim_ascii_start();
    ["<svg", "<?xml", "<!doctype svg", "<!--"]
        .iter()
        .any(|start| {
            text.get(..start.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn told_by_content() {
        let cases: [(&[u8], Option<Kind>); 6] = [
            (b"\xFF\xD8\xFF\xE0", Some(Kind::Jpeg)),
            (b"GIF89a", Some(Kind::Gif)),
            (b"\0\0\0\x18ftypmif1\0\0\0\0avifmiaf", Some(Kind::Avif)),
            (b"\0\0\0\x10ftypmif1\0\0\0\0avif", None),
            (b"\0\0\0\x18ftypheic\0\0\0\0heicmif1", None),
            (b"ftyp", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(Kind::of(bytes).ok(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn svg_has_a_cause_of_its_own() {
        for text in [
            "<svg/>",
            "\u{feff} \n<?xml?><svg/>",
            "<!-- a --><svg/>",
            "<!DOCTYPE svg>",
        ] {
            assert_eq!(
                Kind::of(text.as_bytes()),
                Err(TransformError::Svg),
                "{text}"
            );
        }
        let text = Kind::of(b"<html>");
        assert!(matches!(text, Err(TransformError::Unsupported(_))));
    }
}
