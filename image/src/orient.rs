//! Turning a picture upright, as its EXIF orientation says: after the reduction, where it's cheap.

use super::raster::{Picture, Planar, Raster};
use super::size::Size;
use image::metadata::Orientation;

/// The picture as it is to be looked at.
pub fn orient(picture: Picture, orientation: Orientation) -> Picture {
    let Some(turn) = Turn::of(orientation) else {
        return picture;
    };
    match picture {
        Picture::Packed(raster) => Picture::Packed(turn.apply(&raster)),
        Picture::Planar(planar) => Picture::Planar(Planar {
            luma: turn.apply(&planar.luma),
            chroma: planar.chroma.map(|plane| turn.apply(&plane)),
        }),
    }
}

/// The size of an upright picture stored in `stored`.
pub fn oriented(stored: Size, orientation: Orientation) -> Size {
    match Turn::of(orientation) {
        Some(turn) if turn.transpose => stored.swapped(),
        _ => stored,
    }
}

/// Any of the eight orientations: mirror at the main diagonal first, then at the axes.
#[derive(Clone, Copy)]
struct Turn {
    transpose: bool,
    flip_horizontal: bool,
    flip_vertical: bool,
}

impl Turn {
    fn of(orientation: Orientation) -> Option<Self> {
        let (transpose, flip_horizontal, flip_vertical) = match orientation {
            Orientation::NoTransforms => return None,
            Orientation::FlipHorizontal => (false, true, false),
            Orientation::Rotate180 => (false, true, true),
            Orientation::FlipVertical => (false, false, true),
            Orientation::Rotate90FlipH => (true, false, false),
            Orientation::Rotate90 => (true, true, false),
            Orientation::Rotate270FlipH => (true, true, true),
            Orientation::Rotate270 => (true, false, true),
        };
        Some(Self {
            transpose,
            flip_horizontal,
            flip_vertical,
        })
    }

    fn apply(self, raster: &Raster) -> Raster {
        match raster.layout.channels() {
            1 => self.apply_to::<1>(raster),
            3 => self.apply_to::<3>(raster),
            _ => self.apply_to::<4>(raster),
        }
    }

    /// `N`: bytes of a pixel, known when compiled so that a pixel is one move.
    fn apply_to<const N: usize>(self, raster: &Raster) -> Raster {
        let (pixels, _) = raster.samples.as_chunks::<N>();
        let size = if self.transpose {
            raster.size.swapped()
        } else {
            raster.size
        };
        let (width, height) = (size.width as usize, size.height as usize);
        let mut turned = Vec::with_capacity(raster.samples.len());
        for y in 0..height {
            let line = if self.flip_vertical {
                height - 1 - y
            } else {
                y
            };
            // The line's pixels lie in a row of the source, or in a column of it.
            let (start, step) = if self.transpose {
                (line, height)
            } else {
                (line * width, 1)
            };
            let mut push = |x: usize| turned.extend_from_slice(&pixels[start + x * step]);
            if self.flip_horizontal {
                (0..width).rev().for_each(&mut push);
            } else {
                (0..width).for_each(&mut push);
            }
        }
        Raster::whole(size, raster.layout, turned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Layout;

    /// Three wide, two high, every pixel another.
    ///
    /// ```text
    /// a b c
    /// d e f
    /// ```
    fn picture(layout: Layout) -> Picture {
        let samples = b"abcdef"
            .iter()
            .flat_map(|&value| vec![value; layout.channels()]);
        Picture::Packed(Raster::whole(Size::new(3, 2), layout, samples.collect()))
    }

    #[test]
    fn all_eight_orientations() {
        let cases: [(u8, &[u8], (u32, u32)); 8] = [
            (1, b"abcdef", (3, 2)),
            (2, b"cbafed", (3, 2)),
            (3, b"fedcba", (3, 2)),
            (4, b"defabc", (3, 2)),
            (5, b"adbecf", (2, 3)),
            (6, b"daebfc", (2, 3)),
            (7, b"fcebda", (2, 3)),
            (8, b"cfbead", (2, 3)),
        ];
        for (exif, expected, (width, height)) in cases {
            let orientation = Orientation::from_exif(exif).expect("1 to 8 are orientations");
            for layout in [Layout::Grey, Layout::Rgb, Layout::Rgba] {
                let Picture::Packed(turned) = orient(picture(layout), orientation) else {
                    panic!("a packed picture stays packed");
                };
                assert_eq!(turned.size, Size::new(width, height), "orientation {exif}");
                assert_eq!(turned.size, oriented(Size::new(3, 2), orientation));
                let first_channel: Vec<u8> = turned
                    .samples
                    .iter()
                    .copied()
                    .step_by(layout.channels())
                    .collect();
                assert_eq!(first_channel, expected, "orientation {exif}");
            }
        }
    }
}
