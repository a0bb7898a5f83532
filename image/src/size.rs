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

    /// The largest size of this shape inside the box. Never larger than `self`, never empty.
    pub fn fit(self, box_width: Option<u32>, box_height: Option<u32>) -> Self {
        let by_width = box_width.filter(|&width| width < self.width);
        let fitted = by_width.map_or(self, |width| Self {
            width,
            height: proportion(self.height, width, self.width),
        });
        match box_height.filter(|&height| height < fitted.height) {
            // From the original shape, so that the first rounding isn't carried on.
            Some(height) => Self {
                width: proportion(self.width, height, self.height).min(fitted.width),
                height,
            },
            None => fitted,
        }
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
    u32::try_from(rounded.max(1)).expect("part ≤ whole, so the result is at most side")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fits_and_keeps_the_shape() {
        let cases = [
            ((4000, 3000), (Some(800), None), (800, 600)),
            ((4000, 3000), (None, Some(300)), (400, 300)),
            ((4000, 3000), (Some(800), Some(300)), (400, 300)),
            ((4000, 3000), (Some(400), Some(2000)), (400, 300)),
            ((375, 499), (Some(200), None), (200, 266)),
            ((3, 5), (Some(2), None), (2, 3)),
            ((10_000, 1), (Some(10), None), (10, 1)),
            ((1, 1), (Some(1), Some(1)), (1, 1)),
            ((100, 50), (None, None), (100, 50)),
            ((100, 50), (Some(200), Some(200)), (100, 50)),
        ];
        for ((width, height), (box_width, box_height), (w, h)) in cases {
            let fitted = Size::new(width, height).fit(box_width, box_height);
            assert_eq!(fitted, Size::new(w, h), "{width}x{height}");
        }
    }

    proptest! {
        #[test]
        fn never_enlarges_never_leaves_the_box_never_vanishes(
            width in 1u32..70_000, height in 1u32..70_000,
            box_width in proptest::option::of(1u32..20_000),
            box_height in proptest::option::of(1u32..20_000),
        ) {
            let source = Size::new(width, height);
            let fitted = source.fit(box_width, box_height);
            prop_assert!((1..=width).contains(&fitted.width));
            prop_assert!((1..=height).contains(&fitted.height));
            prop_assert!(box_width.is_none_or(|limit| fitted.width <= limit));
            prop_assert!(box_height.is_none_or(|limit| fitted.height <= limit));
        }

        #[test]
        fn keeps_the_shape_to_within_a_pixel(
            width in 1u32..70_000, height in 1u32..70_000, limit in 1u32..20_000,
        ) {
            let fitted = Size::new(width, height).fit(Some(limit), None);
            let exact = f64::from(height) * f64::from(fitted.width) / f64::from(width);
            prop_assert!((f64::from(fitted.height) - exact.max(1.0)).abs() <= 0.5001);
        }
    }
}
