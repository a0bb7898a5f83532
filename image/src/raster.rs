//! Decoded pictures, as the steps of a transformation hand them on.

use super::size::Size;

/// A picture in the form that costs least between its codecs.
pub enum Picture {
    Planar(Planar),
    Packed(Raster),
}

/// YCbCr as JPEG stores it: full range, BT.601, one grey raster to a component.
pub struct Planar {
    pub luma: Raster,
    /// Cb and Cr, smaller than luma by the source's subsampling.
    pub chroma: [Raster; 2],
}

/// Rows of 8-bit samples, top to bottom, without gaps.
#[derive(Clone)]
pub struct Raster {
    pub size: Size,
    pub layout: Layout,
    pub samples: Vec<u8>,
    /// How much of `size` is picture, from the top left; the rest is a codec's padding. A
    /// fraction of a sample where a reduced or subsampled picture ends inside one.
    pub extent: Extent,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extent {
    pub width: f64,
    pub height: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One component: a grey picture, or one plane of a coloured one.
    Grey,
    Rgb,
    Rgba,
}

impl Picture {
    pub fn size(&self) -> Size {
        match self {
            Self::Planar(planar) => planar.luma.size,
            Self::Packed(raster) => raster.size,
        }
    }

    /// The same pixels again.
    pub fn copy(&self) -> Self {
        match self {
            Self::Packed(raster) => Self::Packed(raster.clone()),
            Self::Planar(Planar { luma, chroma }) => Self::Planar(Planar {
                luma: luma.clone(),
                chroma: chroma.clone(),
            }),
        }
    }
}

impl Raster {
    /// A raster that is picture all over. `samples` holds exactly the size's.
    pub fn whole(size: Size, layout: Layout, samples: Vec<u8>) -> Self {
        assert_eq!(samples.len(), layout.bytes(size));
        Self {
            size,
            layout,
            samples,
            extent: Extent::of(size),
        }
    }

    /// The part of this size whose top left corner is there. It lies inside.
    pub fn cut(&self, left: u32, top: u32, size: Size) -> Self {
        let (channels, stride) = (self.layout.channels(), self.stride());
        let part = left as usize * channels..(left + size.width) as usize * channels;
        let rows = self.samples.chunks_exact(stride);
        let samples = rows
            .skip(top as usize)
            .take(size.height as usize)
            .flat_map(|row| &row[part.clone()])
            .copied()
            .collect();
        Self::whole(size, self.layout, samples)
    }

    pub fn rows(&self) -> std::slice::ChunksExact<'_, u8> {
        self.samples.chunks_exact(self.stride())
    }

    pub fn stride(&self) -> usize {
        self.size.width as usize * self.layout.channels()
    }

    /// What code that reads past Rust's checks has to make sure of.
    pub fn holds_its_size(&self) -> bool {
        self.samples.len() == self.layout.bytes(self.size)
    }

    /// Whether any pixel lets the background through.
    pub fn is_translucent(&self) -> bool {
        self.layout == Layout::Rgba && self.samples.chunks_exact(4).any(|pixel| pixel[3] != 255)
    }
}

impl Extent {
    pub fn of(size: Size) -> Self {
        Self {
            width: f64::from(size.width),
            height: f64::from(size.height),
        }
    }

    pub fn scaled(self, by_width: f64, by_height: f64) -> Self {
        Self {
            width: self.width * by_width,
            height: self.height * by_height,
        }
    }

    /// In whole pixels, at least one each way.
    pub fn rounded(self) -> Size {
        let side = |side: f64| (side.round() as u32).max(1);
        Size::new(side(self.width), side(self.height))
    }

    pub fn within(self, size: Size) -> Self {
        Self {
            width: self.width.min(f64::from(size.width)),
            height: self.height.min(f64::from(size.height)),
        }
    }
}

impl Layout {
    pub const fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }

    /// Bytes of a raster of this size.
    pub fn bytes(self, size: Size) -> usize {
        size.width as usize * size.height as usize * self.channels()
    }
}
