//! A source and a plan become a rendition: open, decode, resize, turn upright, encode.
//!
//! Called on the pool's threads. Pure: bytes in, bytes out. What a source says of itself is
//! checked against the limits before anything is allocated for its pixels, and a source that
//! ends early or contradicts itself is an error, never half a picture.

use super::codec::{Format, Source, encode};
use super::orient::{orient, oriented};
use super::plan::{Plan, Quality};
use super::resize::resize;
use super::settings::ImageSettings;
use super::size::Size;
use image::metadata::Orientation;
use std::time::Instant;

/// Bounds on a source, and on what is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub max_pixels: u64,
    /// Bytes.
    pub max_source: u64,
    /// Pixels of all frames of an animation together, read or written.
    pub max_animation: u64,
    /// Bytes.
    pub max_output: u64,
    /// Looked at between steps: a step that has begun is finished.
    pub deadline: Option<Instant>,
}

/// A finished variant. Of the source's metadata it carries a colour profile at most, unless
/// re-encoding would have changed nothing but made it larger: then it is the source itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendition {
    pub bytes: Vec<u8>,
    pub content_type: &'static str,
    pub width: u32,
    pub height: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    #[error("too large: {what}")]
    TooLarge { what: String },
    #[error("not an image that can be transformed: {0}")]
    Unsupported(String),
    #[error("the image is damaged: {0}")]
    Corrupt(String),
    #[error("the result could not be encoded: {0}")]
    Encode(String),
}

/// Makes the rendition that `plan` asks for. Takes tens of milliseconds of CPU.
pub fn transform(source: &[u8], plan: &Plan, limits: &Limits) -> Result<Rendition, TransformError> {
    limits.check_bytes(source)?;
    let mut opened = Source::open(source, limits)?;
    let (stored, orientation, from) = (opened.size(), opened.orientation(), opened.format());
    let upright = plan.fit(oriented(stored, orientation));
    // A picture that lies on its side is reduced lying, and turned when it's small.
    let target = oriented(upright, orientation);

    let quality = match plan.quality {
        Quality::Fixed(quality) => quality,
        Quality::Auto => 80,
    };
    let profile = opened.colour_profile();
    let picture = opened.decode(target, plan.output)?;
    let picture = orient(resize(picture, target), orientation);
    let format = Format::choose(plan.output, from, &picture);
    let bytes = encode(picture, format, quality, profile)?;

    let reshaped = target != stored || orientation != Orientation::NoTransforms;
    if !reshaped && from == Some(format) && bytes.len() > source.len() {
        return Ok(Rendition::new(source.to_vec(), format, upright));
    }
    Ok(Rendition::new(bytes, format, upright))
}

/// Bytes that a transform may take at its height, as far as the source's head tells: its pixels
/// with four channels, twice, and what is read and written. A source that can't be opened takes
/// what it has.
pub fn memory(source: &[u8], limits: &Limits) -> u64 {
    let opened = Source::open(source, limits).ok();
    let pixels = opened.map_or(0, |opened| opened.size().pixels());
    pixels * 8 + 2 * source.len() as u64
}

/// Whether this can be laid over other pictures.
pub fn check_watermark(file: &[u8], limits: &Limits) -> Result<(), TransformError> {
    limits.check_bytes(file)?;
    Source::open(file, limits).map(drop)
}

impl Rendition {
    fn new(bytes: Vec<u8>, format: Format, size: Size) -> Self {
        Self {
            bytes,
            content_type: format.content_type(),
            width: size.width,
            height: size.height,
        }
    }
}

impl Limits {
    fn check_bytes(&self, source: &[u8]) -> Result<(), TransformError> {
        if source.len() as u64 <= self.max_source {
            return Ok(());
        }
        let (len, max) = (source.len(), self.max_source);
        Err(TransformError::TooLarge {
            what: format!("the source has {len} bytes, at most {max} are read"),
        })
    }

    /// Called by whatever has read a header, before it allocates for pixels.
    pub(super) fn check_size(&self, size: Size) -> Result<(), TransformError> {
        if size.pixels() == 0 {
            return Err(TransformError::Corrupt("a side is zero".to_owned()));
        }
        if size.pixels() <= self.max_pixels {
            return Ok(());
        }
        let (Size { width, height }, max) = (size, self.max_pixels);
        Err(TransformError::TooLarge {
            what: format!("the source is {width} × {height}, at most {max} pixels are decoded"),
        })
    }
}

impl From<&ImageSettings> for Limits {
    fn from(settings: &ImageSettings) -> Self {
        Self {
            max_pixels: settings.max_pixels,
            max_source: settings.max_source,
            max_animation: settings.max_animation,
            max_output: settings.max_output,
            deadline: None,
        }
    }
}

impl TransformError {
    /// For a metric: one of four words.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Unsupported(_) => "unsupported",
            Self::Corrupt(_) => "corrupt",
            Self::Encode(_) => "encode",
        }
    }
}

#[cfg(test)]
#[path = "transform_tests.rs"]
mod tests;
