//! Turning a picture upright, as its EXIF orientation says, and then as the plan says: after the
//! reduction, where it's cheap.

use super::plan::Turn;
use super::raster::{Picture, Planar, Raster};
use super::size::Size;
use image::metadata::Orientation;

/// How a stored picture becomes the one to be looked at, one of eight ways: mirrored at the main
/// diagonal first, then at the axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pose {
    pub transpose: bool,
    pub flip_horizontal: bool,
    pub flip_vertical: bool,
}

impl Pose {
    pub const UPRIGHT: Self = Self::new(false, false, false);

    const fn new(transpose: bool, flip_horizontal: bool, flip_vertical: bool) -> Self {
        Self {
            transpose,
            flip_horizontal,
            flip_vertical,
        }
    }

    pub fn of(orientation: Orientation) -> Self {
        match orientation {
            Orientation::NoTransforms => Self::UPRIGHT,
            Orientation::FlipHorizontal => Self::new(false, true, false),
            Orientation::Rotate180 => Self::new(false, true, true),
            Orientation::FlipVertical => Self::new(false, false, true),
            Orientation::Rotate90FlipH => Self::new(true, false, false),
            Orientation::Rotate90 => Self::new(true, true, false),
            Orientation::Rotate270FlipH => Self::new(true, true, true),
            Orientation::Rotate270 => Self::new(true, false, true),
        }
    }

    /// This, and then what the plan asks for.
    pub fn turned(self, turn: Turn) -> Self {
        let mirror = Self::new(false, turn.mirrored, false);
        let quarters = match turn.quarters % 4 {
            0 => Self::UPRIGHT,
            1 => Self::new(true, true, false),
            2 => Self::new(false, true, true),
            _ => Self::new(true, false, true),
        };
        self.then(mirror).then(quarters)
    }

    /// A mirror at the diagonal exchanges the axes of the flips before it.
    fn then(self, next: Self) -> Self {
        let (horizontal, vertical) = if next.transpose {
            (self.flip_vertical, self.flip_horizontal)
        } else {
            (self.flip_horizontal, self.flip_vertical)
        };
        Self {
            transpose: self.transpose ^ next.transpose,
            flip_horizontal: horizontal ^ next.flip_horizontal,
            flip_vertical: vertical ^ next.flip_vertical,
        }
    }

    /// The size, once posed, of what is stored in `size`; and the other way round.
    pub fn size(self, size: Size) -> Size {
        if self.transpose { size.swapped() } else { size }
    }

    /// The picture as it is to be looked at.
    pub fn picture(self, picture: Picture) -> Picture {
        if self == Self::UPRIGHT {
            return picture;
        }
        match picture {
            Picture::Packed(raster) => Picture::Packed(self.raster(&raster)),
            Picture::Planar(planar) => Picture::Planar(Planar {
                luma: self.raster(&planar.luma),
                chroma: planar.chroma.map(|plane| self.raster(&plane)),
            }),
        }
    }

    pub fn raster(self, raster: &Raster) -> Raster {
        match raster.layout.channels() {
            1 => self.turn::<1>(raster),
            3 => self.turn::<3>(raster),
            _ => self.turn::<4>(raster),
        }
    }

    /// `N`: bytes of a pixel, known when compiled so that a pixel is one move.
    fn turn<const N: usize>(self, raster: &Raster) -> Raster {
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
    use crate::geometry::Region;
    use crate::raster::Layout;
    use proptest::prelude::*;

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
                let Picture::Packed(turned) = Pose::of(orientation).picture(picture(layout)) else {
                    panic!("a packed picture stays packed");
                };
                assert_eq!(turned.size, Size::new(width, height), "orientation {exif}");
                assert_eq!(turned.size, Pose::of(orientation).size(Size::new(3, 2)));
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

    proptest! {
        /// Posing twice is posing once by what `turned` says.
        #[test]
        fn a_turn_comes_after_the_orientation(exif in 1u8..=8, quarters in 0u8..4, mirrored: bool) {
            let stored = Pose::of(Orientation::from_exif(exif).expect("1 to 8 are orientations"));
            let turn = Turn { mirrored, quarters };
            let once = stored.turned(turn).picture(picture(Layout::Grey));
            let then = Pose::UPRIGHT.turned(turn);
            let twice = then.picture(stored.picture(picture(Layout::Grey)));
            let (Picture::Packed(once), Picture::Packed(twice)) = (once, twice) else {
                panic!("a packed picture stays packed");
            };
            prop_assert_eq!(once.size, twice.size);
            prop_assert_eq!(once.samples, twice.samples);
        }

        /// A region of the upright picture is where the stored one has the same pixels.
        #[test]
        fn regions_turn_back(exif in 1u8..=8, x in 0u32..4, y in 0u32..4, w in 1u32..4, h in 1u32..4) {
            let pose = Pose::of(Orientation::from_exif(exif).expect("1 to 8 are orientations"));
            let stored = Raster::whole(Size::new(8, 8), Layout::Grey, (0..64).collect());
            let upright = pose.raster(&stored);
            let eighth = |n: u32| f64::from(n) / 8.0;
            let region = Region { left: eighth(x), top: eighth(y), width: eighth(w), height: eighth(h) };
            let back = region.stored(pose);
            let one = cut(&upright, region);
            let other = pose.raster(&cut(&stored, back));
            prop_assert_eq!(one.samples, other.samples);
        }
    }

    fn cut(raster: &Raster, region: Region) -> Raster {
        let pixels = |part: f64| (part * 8.0).round() as u32;
        let size = Size::new(pixels(region.width), pixels(region.height));
        raster.cut(pixels(region.left), pixels(region.top), size)
    }
}
