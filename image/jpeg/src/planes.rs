//! What comes out: planes of samples, at a size in eighths.

use crate::header::{Header, Sampling};

/// A size in eighths of the full one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale(u8);

impl Scale {
    pub const FULL: Self = Self(8);

    /// `eighths` from 1 to 8.
    pub fn eighths(eighths: u8) -> Option<Self> {
        (1..=8).contains(&eighths).then_some(Self(eighths))
    }

    pub(crate) fn samples_per_block(self) -> usize {
        usize::from(self.0)
    }

    /// As libjpeg has it: rounded up to whole samples.
    pub fn side(self, full: u16) -> usize {
        (usize::from(full) * usize::from(self.0)).div_ceil(8)
    }
}

/// A decoded picture, in the range of JFIF: 0–255, colours around 128.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planes {
    pub luma: Plane,
    /// Blue and red difference; none if grey.
    pub chroma: Option<[Plane; 2]>,
}

/// Rows of samples, each `stride` from the next. Beyond `width` and `height` lies what the last
/// blocks hold besides, which is no part of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plane {
    pub width: usize,
    pub height: usize,
    pub stride: usize,
    pub samples: Vec<u8>,
}

impl Plane {
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.samples
            .chunks(self.stride)
            .take(self.height)
            .map(|row| &row[..self.width])
    }

    /// The picture's own samples, row behind row.
    pub fn into_samples(mut self) -> Vec<u8> {
        if self.stride != self.width {
            for row in 1..self.height {
                let from = row * self.stride;
                self.samples
                    .copy_within(from..from + self.width, row * self.width);
            }
        }
        self.samples.truncate(self.width * self.height);
        self.samples
    }
}

/// Empty planes, padded to `mcus` across and down: luma first.
pub(crate) fn empty(header: &Header, mcus: (usize, usize), scale: Scale) -> Vec<Plane> {
    let most = header.sampling.luma_blocks();
    let plane = |(across, down): (usize, usize)| {
        let stride = mcus.0 * across * scale.samples_per_block();
        let rows = mcus.1 * down * scale.samples_per_block();
        Plane {
            width: scale.side(header.width).div_ceil(most.0 / across),
            height: scale.side(header.height).div_ceil(most.1 / down),
            stride,
            samples: vec![0; stride * rows],
        }
    };
    match header.sampling {
        Sampling::Grey => vec![plane(most)],
        _ => vec![plane(most), plane((1, 1)), plane((1, 1))],
    }
}
