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
use std::time::Duration;

/// Bounds on a source, and on what is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub max_pixels: u64,
    /// Bytes.
    pub max_source: u64,
    /// Of an animation; those after them are left out.
    pub max_frames: u32,
    /// Pixels of the rendition, all frames together.
    pub max_output: u64,
    /// For the whole transform.
    pub max_time: Duration,
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
            max_frames: settings.max_frames,
            max_output: settings.max_output,
            max_time: settings.max_time,
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
