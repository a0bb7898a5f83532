//! A baseline JPEG decoder that reduces while it decodes (ITU-T T.81).
//!
//! Most pictures that are asked for in a smaller size are camera JPEGs many times larger. This
//! decodes them straight to their Y, Cb and Cr planes at n/8 of their size, by an inverse DCT of
//! the n × n lowest frequencies, and steps over the rest of the entropy-coded data without looking
//! at its values. Whatever is less usual (progressive, arithmetic, CMYK…) is [`Error::Unsupported`]
//! from [`Decoder::open`], before any work, and left to a complete decoder.
//!
//! For bytes from anyone: no panic, no half pictures, memory and time within the caller's limit of
//! pixels and linear in the input.

#![deny(unsafe_code)]

mod ac;
mod bits;
mod block;
mod channel;
mod error;
mod features;
mod header;
mod huffman;
mod idct;
mod marker;
mod planes;
mod scan;
mod segment;

pub use error::Error;
pub use header::{Header, Sampling};
pub use planes::{Plane, Planes, Scale};

use features::Features;
use header::Stream;

/// One JPEG whose header has been read and found to be of the supported kind.
pub struct Decoder<'j> {
    stream: Stream<'j>,
}

impl<'j> Decoder<'j> {
    /// Reads every marker segment before the entropy-coded data, and decodes none of that.
    pub fn open(jpeg: &'j [u8]) -> Result<Self, Error> {
        Ok(Self {
            stream: Stream::read(jpeg)?,
        })
    }

    pub fn header(&self) -> &Header {
        &self.stream.header
    }

    /// The whole picture at `scale`, if it has at most `max_pixels` at its full size.
    ///
    /// The planes take at most 3 bytes for each of its pixels times the square of the scale, and
    /// 48 × (width + height + 16) for whole MCUs. A copy of the entropy-coded data and 200 kB of
    /// tables, which take 0.1 ms to make, come on top while it works.
    pub fn decode(&self, scale: Scale, max_pixels: u64) -> Result<Planes, Error> {
        let mut planes = self.decode_all(&[scale], max_pixels)?;
        Ok(planes.pop().expect("one for each scale"))
    }

    /// At each of `scales`, to the bit as at that scale alone; what takes longest, reading the
    /// codes, is done once.
    pub fn decode_all(&self, scales: &[Scale], max_pixels: u64) -> Result<Vec<Planes>, Error> {
        if self.header().pixels() > max_pixels {
            return Err(Error::TooLarge);
        }
        if scales.is_empty() {
            return Ok(Vec::new());
        }
        scan::decode(&self.stream, scales, Features::detect())
    }
}
