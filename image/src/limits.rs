//! Bounds on what a transformation may read, hold, make and take.

use super::settings::ImageSettings;
use super::size::Size;
use super::transform::TransformError;
use std::time::Instant;

/// Bounds on a source, on what is made of it, and on the time between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of a source, and of a rendition.
    pub max_pixels: u64,
    /// Pixels of all frames of an animation together, read or written.
    pub max_animation: u64,
    /// Bytes.
    pub max_source: u64,
    /// Bytes.
    pub max_output: u64,
    /// Looked at between steps and between frames: a step that has begun is finished.
    pub deadline: Option<Instant>,
}

impl Limits {
    pub(super) fn check_bytes(&self, source: &[u8]) -> Result<(), TransformError> {
        let (len, max) = (source.len() as u64, self.max_source);
        within(len, max, || {
            format!("the source has {len} bytes, at most {max} are read")
        })
    }

    /// Called by whatever has read a header, before it allocates for pixels.
    pub(super) fn check_size(&self, size: Size) -> Result<(), TransformError> {
        if size.pixels() == 0 {
            return Err(TransformError::Corrupt("a side is zero".to_owned()));
        }
        let (Size { width, height }, max) = (size, self.max_pixels);
        within(size.pixels(), max, || {
            format!("the source is {width} × {height}, at most {max} pixels are decoded")
        })
    }

    /// Called before anything is made in this size.
    pub(super) fn check_rendition(&self, size: Size) -> Result<(), TransformError> {
        let (Size { width, height }, max) = (size, self.max_pixels);
        within(size.pixels(), max, || {
            format!("the rendition is {width} × {height}, at most {max} pixels are made")
        })
    }

    pub(super) fn check_animation(&self, size: Size, frames: u32) -> Result<(), TransformError> {
        let (pixels, max) = (
            size.pixels().saturating_mul(u64::from(frames)),
            self.max_animation,
        );
        within(pixels, max, || {
            format!("{frames} frames have {pixels} pixels, at most {max} are processed")
        })
    }

    pub(super) fn check_output(&self, bytes: &[u8]) -> Result<(), TransformError> {
        let (len, max) = (bytes.len() as u64, self.max_output);
        within(len, max, || {
            format!("the rendition has {len} bytes, at most {max} are sent")
        })
    }

    pub(super) fn check_time(&self) -> Result<(), TransformError> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(TransformError::Deadline),
            _ => Ok(()),
        }
    }
}

fn within(amount: u64, max: u64, what: impl FnOnce() -> String) -> Result<(), TransformError> {
    if amount <= max {
        return Ok(());
    }
    Err(TransformError::TooLarge { what: what() })
}

impl From<&ImageSettings> for Limits {
    fn from(settings: &ImageSettings) -> Self {
        Self {
            max_pixels: settings.max_pixels,
            max_animation: settings.max_animation,
            max_source: settings.max_source,
            max_output: settings.max_output,
            deadline: None,
        }
    }
}
