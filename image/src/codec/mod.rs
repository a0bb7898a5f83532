//! Compressed formats: what a source is, how it is read, how a rendition is written.

mod animation;
mod av1;
mod avif;
mod credits;
mod frames;
mod jpeg;
mod kind;
mod other;
mod png;
mod profile;
mod segments;
mod webp;

pub use animation::animation;
pub use credits::Credits;
pub use kind::{Format, Kind, is_svg};
pub use profile::Profile;
pub use webp::Animation;

use super::limits::Limits;
use super::orient::Pose;
use super::raster::Picture;
use super::size::Size;
use super::transform::TransformError;
use image::metadata::Orientation;
use std::rc::Rc;

/// What a source says of itself before any of its pixels is decoded.
#[derive(Clone)]
pub struct Header {
    pub kind: Kind,
    /// As stored: before the orientation is applied.
    pub size: Size,
    pub orientation: Orientation,
    pub frames: u32,
    /// How its colours are meant, if not as sRGB.
    pub profile: Option<Profile>,
    /// A TIFF structure.
    pub exif: Option<Vec<u8>>,
}

/// What the pixels are needed for.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Of the whole picture, as stored: decoders may reduce it as long as it stays clearly larger.
    pub size: Size,
    /// As pixels rather than planes.
    pub packed: bool,
}

/// A source whose format is known and whose size is within the limits; not yet decoded.
pub enum Source<'s> {
    Jpeg(jpeg::Source<'s>),
    Avif(avif::Source<'s>),
    Other(other::Source<'s>),
}

/// How a rendition is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    pub format: Format,
    /// 1 to 100; PNG and lossless WebP have none.
    pub quality: u8,
}

impl<'s> Source<'s> {
    /// Reads the header. The format is told by the first bytes, never by a name or a field.
    pub fn open(bytes: &'s [u8], limits: &Limits) -> Result<Self, TransformError> {
        match Kind::of(bytes)? {
            Kind::Jpeg => jpeg::Source::open(bytes, limits).map(Self::Jpeg),
            Kind::Avif => avif::Source::open(bytes, limits).map(Self::Avif),
            kind => other::Source::open(bytes, kind, limits).map(Self::Other),
        }
    }

    pub fn header(&self) -> &Header {
        match self {
            Self::Jpeg(source) => source.header(),
            Self::Avif(source) => source.header(),
            Self::Other(source) => source.header(),
        }
    }

    /// The picture, the first of an animation: at least as large as is wanted.
    pub fn decode(self, wanted: Wanted, limits: &Limits) -> Result<Picture, TransformError> {
        let mut pictures = self.decode_all(&[wanted], limits)?;
        let picture = pictures.pop().expect("as many as are wanted")?;
        Ok(Rc::into_inner(picture).expect("it is wanted once"))
    }

    /// A picture for each of what is wanted, the same as if that were wanted alone. Several may
    /// be one.
    pub fn decode_all(self, wanted: &[Wanted], limits: &Limits) -> Result<Decoded, TransformError> {
        limits.check_time()?;
        let whole = match self {
            Self::Jpeg(source) => return Ok(source.decode_all(wanted)),
            Self::Avif(source) => source.decode(),
            Self::Other(source) => source.decode(),
        };
        Ok(vec![whole.map(Rc::new); wanted.len()])
    }
}

type Decoded = Vec<Result<Rc<Picture>, TransformError>>;

impl Header {
    pub fn pose(&self) -> Pose {
        Pose::of(self.orientation)
    }
}

/// Writes the picture, and whose it is.
pub fn encode(
    picture: Picture,
    manner: Manner,
    credits: Option<&Credits>,
) -> Result<Vec<u8>, TransformError> {
    let Size { width, height } = picture.size();
    let exif = credits.map(Credits::exif);
    let Manner { format, quality } = manner;
    let bytes = match (format, picture) {
        (Format::Jpeg, picture) => jpeg::encode(picture, quality)?,
        (Format::Webp, picture) => webp::encode(picture, quality)?,
        (Format::Avif, picture) => return avif::encode(picture, quality, exif),
        (Format::WebpLossless, Picture::Packed(raster)) => webp::encode_lossless(raster)?,
        (Format::Png, Picture::Packed(raster)) => return png::encode(raster, exif),
        // `decode` was told of these formats, which aren't made of YCbCr.
        (Format::WebpLossless | Format::Png, Picture::Planar(_)) => {
            return Err(TransformError::Encode("planes aren't lossless".to_owned()));
        }
    };
    Ok(match (exif, format) {
        (Some(exif), Format::Jpeg) => credits::into_jpeg(&bytes, &exif),
        (Some(exif), _) => credits::into_webp(&bytes, &exif, width, height),
        (None, _) => bytes,
    })
}
