//! Formats through the `image` crate: PNG, GIF (its first frame), WebP, BMP and TIFF in.

use super::{Header, Kind, Profile, frames};
use crate::limits::Limits;
use crate::raster::{Layout, Picture, Raster};
use crate::size::Size;
use crate::transform::TransformError;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};
use std::io::Cursor;

/// What a decoder may allocate beside the pixels: windows, palettes, metadata.
const DECODER_MEMORY: u64 = 16 * 1024 * 1024;

/// Bytes of the widest pixel there is memory for: four channels of 16 bits. A TIFF of floats has
/// wider ones, and so may have half the pixels.
const WIDEST_PIXEL: u64 = 8;

pub struct Source<'s> {
    decoder: Box<dyn ImageDecoder + 's>,
    header: Header,
}

impl<'s> Source<'s> {
    pub fn open(bytes: &'s [u8], kind: Kind, limits: &Limits) -> Result<Self, TransformError> {
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format(kind));
        reader.limits(bounds(limits));
        let mut decoder: Box<dyn ImageDecoder + 's> =
            Box::new(reader.into_decoder().map_err(from_image)?);
        let (width, height) = decoder.dimensions();
        let size = Size::new(width, height);
        limits.check_size(size)?;
        if frames::exceed(bytes, kind, size) {
            let what = "a frame is larger than its picture";
            return Err(TransformError::Corrupt(what.to_owned()));
        }
        // Metadata that can't be read is no reason to refuse a picture that can.
        let profile = decoder.icc_profile().ok().flatten();
        let header = Header {
            kind,
            size,
            orientation: decoder.orientation().unwrap_or(Orientation::NoTransforms),
            frames: frames::count(bytes, kind),
            profile: profile.as_deref().and_then(Profile::read),
            exif: decoder.exif_metadata().ok().flatten(),
        };
        Ok(Self { decoder, header })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn decode(self) -> Result<Picture, TransformError> {
        let decoded = DynamicImage::from_decoder(self.decoder).map_err(from_image)?;
        let color = decoded.color();
        let (layout, samples) = match (color.has_color(), color.has_alpha()) {
            (_, true) => (Layout::Rgba, decoded.into_rgba8().into_raw()),
            (true, false) => (Layout::Rgb, decoded.into_rgb8().into_raw()),
            (false, false) => (Layout::Grey, decoded.into_luma8().into_raw()),
        };
        Ok(Picture::Packed(Raster::whole(
            self.header.size,
            layout,
            samples,
        )))
    }
}

/// What a decoder may allocate.
pub fn bounds(limits: &Limits) -> image::Limits {
    let mut bounds = image::Limits::no_limits();
    bounds.max_alloc = Some(limits.max_pixels.saturating_mul(WIDEST_PIXEL) + DECODER_MEMORY);
    bounds
}

fn format(kind: Kind) -> ImageFormat {
    match kind {
        Kind::Jpeg => ImageFormat::Jpeg,
        Kind::Png => ImageFormat::Png,
        Kind::Gif => ImageFormat::Gif,
        Kind::Webp => ImageFormat::WebP,
        Kind::Avif => ImageFormat::Avif,
        Kind::Bmp => ImageFormat::Bmp,
        Kind::Tiff => ImageFormat::Tiff,
    }
}

pub fn from_image(error: ImageError) -> TransformError {
    match error {
        ImageError::Limits(limit) => TransformError::TooLarge {
            what: limit.to_string(),
        },
        ImageError::Unsupported(what) => TransformError::Unsupported(what.to_string()),
        other => TransformError::Corrupt(other.to_string()),
    }
}
