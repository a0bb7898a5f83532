//! JPEG: read by `lakh-jpeg` where that can, else by libjpeg-turbo, which also writes.
//!
//! The usual picture (YCbCr or grey) is decoded straight to planes, already reduced by the
//! decoder's inverse DCT, and encoded from planes: no colour conversion either way. Damage is an
//! error here, where other decoders fill up with grey.

mod encode;
mod own;
mod turbo;

pub use encode::encode;

use super::{Header, Kind, Profile, Wanted, segments};
use crate::limits::Limits;
use crate::raster::{Extent, Picture};
use crate::size::Size;
use crate::transform::TransformError;
use turbojpeg::{DecompressHeader, Decompressor};

/// Scans of a progressive picture; ten are usual. Each is a pass over the whole picture, so that
/// a small file that repeats one thousands of times would hold a thread for minutes.
const MAX_SCANS: u32 = 30;

/// How much larger than the target a decoder's reduction leaves the picture, at least: what the
/// DCT does nearer to the target is visibly softer than Lanczos.
const HEADROOM: f64 = 1.25;

pub struct Source<'s> {
    bytes: &'s [u8],
    decompressor: Decompressor,
    /// What the decoder says, beside what all formats have.
    frame: DecompressHeader,
    header: Header,
}

impl<'s> Source<'s> {
    pub fn open(bytes: &'s [u8], limits: &Limits) -> Result<Self, TransformError> {
        let mut decompressor = Decompressor::new().map_err(corrupt)?;
        decompressor.set_scan_limit(MAX_SCANS).map_err(corrupt)?;
        let frame = decompressor.read_header(bytes).map_err(corrupt)?;
        if frame.is_lossless {
            return Err(TransformError::Unsupported("lossless JPEG".to_owned()));
        }
        let size = plane_size((frame.width, frame.height));
        limits.check_size(size)?;
        let profile = segments::colour_profile(bytes);
        let header = Header {
            kind: Kind::Jpeg,
            size,
            orientation: segments::orientation(bytes),
            frames: 1,
            profile: profile.as_deref().and_then(Profile::read),
            exif: segments::exif(bytes).map(<[u8]>::to_vec),
        };
        Ok(Self {
            bytes,
            decompressor,
            frame,
            header,
        })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reduced as far as it may be; pixels also where the colours aren't YCbCr.
    pub fn decode(self, wanted: Wanted) -> Result<Picture, TransformError> {
        let scale = Scale::reducing(self.header.size, wanted.size);
        match own::decode(self.bytes, &self.header, scale, wanted.packed) {
            Some(picture) => Ok(picture),
            None => self.decode_by_turbo(scale, wanted.packed),
        }
    }
}

/// A size in eighths of the full one, as JPEG's blocks can be decoded to: 1 to 8.
#[derive(Clone, Copy)]
struct Scale(u8);

impl Scale {
    /// The strongest reduction that leaves [`HEADROOM`] over the target.
    fn reducing(source: Size, target: Size) -> Self {
        let shrink = f64::min(
            f64::from(source.width) / f64::from(target.width),
            f64::from(source.height) / f64::from(target.height),
        );
        let enough = |eighths: &u8| shrink * f64::from(*eighths) >= HEADROOM * 8.0;
        Self((1..8).find(enough).unwrap_or(8))
    }

    /// The true size at this scale: decoders round up to whole samples.
    fn extent(self, full: Size) -> Extent {
        let factor = f64::from(self.0) / 8.0;
        Extent::of(full).scaled(factor, factor)
    }
}

fn plane_size((width, height): (usize, usize)) -> Size {
    let side = |side: usize| u32::try_from(side).expect("a JPEG's side has 16 bits, and padding");
    Size::new(side(width), side(height))
}

fn corrupt(error: turbojpeg::Error) -> TransformError {
    TransformError::Corrupt(error.to_string())
}
