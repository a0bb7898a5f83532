//! Compressed formats: what a source is, how it is read, how a rendition is written.

mod jpeg;
mod other;
mod profile;
mod segments;
mod webp;

use super::plan::Output;
use super::raster::Picture;
use super::size::Size;
use super::transform::{Limits, TransformError};
use image::ImageFormat;
use image::metadata::Orientation;

/// A source whose format is known and whose size is within the limits; not yet decoded.
pub enum Source<'s> {
    Jpeg(jpeg::Source<'s>),
    Other(other::Source<'s>),
}

/// A format that renditions are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jpeg,
    Webp,
    Png,
}

impl<'s> Source<'s> {
    /// Reads the header. The format is told by the first bytes, never by a name or a field.
    pub fn open(bytes: &'s [u8], limits: &Limits) -> Result<Self, TransformError> {
        let format = image::guess_format(bytes)
            .map_err(|_| TransformError::Unsupported("unknown format".to_owned()))?;
        match format {
            ImageFormat::Jpeg => jpeg::Source::open(bytes, limits).map(Self::Jpeg),
            ImageFormat::Png
            | ImageFormat::Gif
            | ImageFormat::WebP
            | ImageFormat::Bmp
            | ImageFormat::Tiff => other::Source::open(bytes, format, limits).map(Self::Other),
            _ => Err(TransformError::Unsupported(format!("{format:?}"))),
        }
    }

    /// As stored: before the orientation is applied.
    pub fn size(&self) -> Size {
        match self {
            Self::Jpeg(source) => source.size(),
            Self::Other(source) => source.size(),
        }
    }

    pub fn orientation(&self) -> Orientation {
        match self {
            Self::Jpeg(source) => source.orientation(),
            Self::Other(source) => source.orientation(),
        }
    }

    /// `None` for a format that isn't written.
    pub fn format(&self) -> Option<Format> {
        match self {
            Self::Jpeg(_) => Some(Format::Jpeg),
            Self::Other(source) => source.format(),
        }
    }

    /// What a rendition has to carry for its colours to be seen as the source's.
    pub fn colour_profile(&mut self) -> Option<Vec<u8>> {
        let profile = match self {
            Self::Jpeg(source) => source.colour_profile(),
            Self::Other(source) => source.colour_profile(),
        };
        profile.and_then(profile::worth_keeping)
    }

    /// The picture, at least as large as `target`, in the form that is cheapest for `output`.
    pub fn decode(self, target: Size, output: Output) -> Result<Picture, TransformError> {
        match self {
            Self::Jpeg(source) => source.decode(target, output == Output::Png),
            Self::Other(source) => source.decode(),
        }
    }
}

impl Format {
    /// The format that `output` means for this picture, read from a source in `from`.
    pub fn choose(output: Output, from: Option<Self>, picture: &Picture) -> Self {
        match output {
            Output::Jpeg => Self::Jpeg,
            Output::Webp | Output::WebpLossless | Output::Auto { webp: true, .. } => Self::Webp,
            Output::Png | Output::Avif | Output::Placeholder | Output::Info => Self::Png,
            Output::Original => from.unwrap_or(Self::Png),
            Output::Auto { .. } => match picture {
                Picture::Packed(raster) if raster.is_translucent() => Self::Png,
                _ => Self::Jpeg,
            },
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Png => "image/png",
        }
    }
}

/// Writes the picture and, if it has colours, their profile. `quality` is 1 to 100; PNG has none.
pub fn encode(
    picture: Picture,
    format: Format,
    quality: u8,
    profile: Option<Vec<u8>>,
) -> Result<Vec<u8>, TransformError> {
    let profile = profile.filter(|_| picture.has_colour());
    let Size { width, height } = picture.size();
    let bytes = match (format, picture) {
        (Format::Jpeg, picture) => jpeg::encode(picture, quality)?,
        (Format::Webp, picture) => webp::encode(picture, quality)?,
        (Format::Png, Picture::Packed(raster)) => return other::encode_png(&raster, profile),
        // `decode` was told of PNG, the one format here that isn't made of YCbCr.
        (Format::Png, Picture::Planar(_)) => {
            return Err(TransformError::Encode("planes have no PNG".to_owned()));
        }
    };
    Ok(match (profile, format) {
        (Some(profile), Format::Jpeg) => profile::into_jpeg(&bytes, &profile),
        (Some(profile), _) => profile::into_webp(&bytes, &profile, width, height),
        (None, _) => bytes,
    })
}
