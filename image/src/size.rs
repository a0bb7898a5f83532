//! The arithmetic of widths and heights.

/// Whole pixels, at least one each way for any picture that was decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

impl Size {
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// The largest size of this shape inside the box: one side is the box's. Never empty.
    pub fn contained(self, frame: Self) -> Self {
        let product = |one: u32, other: u32| u64::from(one) * u64::from(other);
        if product(frame.width, self.height) <= product(frame.height, self.width) {
            let height = proportion(self.height, frame.width, self.width);
            Self::new(frame.width, height.min(frame.height))
        } else {
            let width = proportion(self.width, frame.height, self.height);
            Self::new(width.min(frame.width), frame.height)
        }
    }

    /// Each side no longer than the other's.
    pub fn within(self, other: Self) -> Self {
        Self::new(self.width.min(other.width), self.height.min(other.height))
    }

    pub fn swapped(self) -> Self {
        Self::new(self.height, self.width)
    }

    /// Of a 4:2:0 chroma plane beside a luma plane of this size.
    pub fn halved(self) -> Self {
        Self::new(self.width.div_ceil(2), self.height.div_ceil(2))
    }
}

/// `side × part / whole`, rounded, at least 1.
fn proportion(side: u32, part: u32, whole: u32) -> u32 {
    let (side, part, whole) = (u64::from(side), u64::from(part), u64::from(whole));
    let rounded = (side * part + whole / 2) / whole;
    u32::try_from(rounded.max(1)).expect("rounded to a side of the box at most")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fits_and_keeps_the_shape() {
        let cases = [
            ((4000, 3000), (800, 3000), (800, 600)),
            ((4000, 3000), (4000, 300), (400, 300)),
            ((4000, 3000), (800, 300), (400, 300)),
            ((4000, 3000), (400, 2000), (400, 300)),
            ((375, 499), (200, 499), (200, 266)),
            ((3, 5), (2, 5), (2, 3)),
            ((10_000, 1), (10, 1), (10, 1)),
            ((1, 1), (1, 1), (1, 1)),
            ((100, 50), (200, 200), (200, 100)),
        ];
        for ((width, height), (box_width, box_height), (w, h)) in cases {
            let fitted = Size::new(width, height).contained(Size::new(box_width, box_height));
            assert_eq!(fitted, Size::new(w, h), "{width}x{height}");
        }
    }

    proptest! {
        #[test]
        fn touches_the_box_and_never_leaves_it(
            width in 1u32..70_000, height in 1u32..70_000,
            box_width in 1u32..20_000, box_height in 1u32..20_000,
        ) {
            let frame = Size::new(box_width, box_height);
            let fitted = Size::new(width, height).contained(frame);
            prop_assert!((1..=box_width).contains(&fitted.width));
            prop_assert!((1..=box_height).contains(&fitted.height));
            prop_assert!(fitted.width == box_width || fitted.height == box_height);
        }

        #[test]
        fn keeps_the_shape_to_within_a_pixel(
            width in 1u32..70_000, height in 1u32..70_000, limit in 1u32..20_000,
        ) {
            let fitted = Size::new(width, height).contained(Size::new(limit, u32::MAX));
            let exact = f64::from(height) * f64::from(fitted.width) / f64::from(width);
            prop_assert!((f64::from(fitted.height) - exact.max(1.0)).abs() <= 0.5001);
        }
    }
}
