//! Animations, frame by frame: no more than one is held.

use super::{Header, Kind};
use crate::limits::Limits;
use crate::raster::{Layout, Raster};
use crate::size::Size;
use crate::transform::TransformError;
use image::codecs::gif::GifDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, Frames, ImageDecoder, ImageError};
use std::io::Cursor;

/// What browsers show faster ones at.
const SHORTEST: u32 = 20;
const INSTEAD_OF_SHORTER: u32 = 100;

/// A frame as it is seen, on top of those before it.
pub struct Frame {
    pub picture: Raster,
    /// Milliseconds.
    pub shown_for: u32,
}

/// The frames of an animated GIF or WebP, as large as the header says.
pub fn animation<'s>(
    bytes: &'s [u8],
    header: &Header,
    limits: &'s Limits,
) -> Result<impl Iterator<Item = Result<Frame, TransformError>> + 's, TransformError> {
    limits.check_animation(header.size, header.frames)?;
    let frames = open(bytes, header.kind, limits)?;
    let most = header.frames as usize;
    let read = move |frame: Result<image::Frame, image::ImageError>| {
        limits.check_time()?;
        frame.map_err(super::other::from_image).map(Frame::from)
    };
    Ok(frames.take(most).map(read))
}

fn open<'s>(bytes: &'s [u8], kind: Kind, limits: &Limits) -> Result<Frames<'s>, TransformError> {
    let reader = Cursor::new(bytes);
    let frames = match kind {
        Kind::Gif => GifDecoder::new(reader).and_then(|decoder| bounded(decoder, limits)),
        Kind::Webp => WebPDecoder::new(reader).and_then(|decoder| bounded(decoder, limits)),
        _ => return Err(TransformError::Unsupported("animation".to_owned())),
    };
    frames.map_err(super::other::from_image)
}

fn bounded<'s>(
    mut decoder: impl ImageDecoder + AnimationDecoder<'s>,
    limits: &Limits,
) -> Result<Frames<'s>, ImageError> {
    decoder.set_limits(super::other::bounds(limits))?;
    Ok(decoder.into_frames())
}

impl From<image::Frame> for Frame {
    fn from(frame: image::Frame) -> Self {
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        let shown_for = numerator / denominator.max(1);
        let buffer = frame.into_buffer();
        let size = Size::new(buffer.width(), buffer.height());
        Self {
            picture: Raster::whole(size, Layout::Rgba, buffer.into_raw()),
            shown_for: if shown_for < SHORTEST {
                INSTEAD_OF_SHORTER
            } else {
                shown_for
            },
        }
    }
}
