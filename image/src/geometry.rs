//! What part of a source a plan shows, how large, and on how large a canvas.

use super::orient::Pose;
use super::plan::{Fit, Gravity, Plan};
use super::raster::Extent;
use super::size::Size;

/// The longest side a rendition has: what WebP can hold (14 bits, less one).
const MAX_SIDE: u32 = 16_383;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// What is shown of the upright source, in its pixels.
    pub shown: Extent,
    /// The size that becomes.
    pub content: Size,
    /// The rendition: larger than its content where it is padded.
    pub canvas: Size,
}

/// A part of a picture, in fractions of its sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Geometry {
    /// For a source that is upright in this size.
    pub fn of(source: Size, plan: &Plan) -> Self {
        let whole = |content| Self {
            shown: Extent::of(source),
            content,
            canvas: content,
        };
        let Some(frame) = Frame::of(source, plan) else {
            return whole(source.contained(Size::new(MAX_SIDE, MAX_SIDE).within(source)));
        };
        match plan.fit {
            Fit::ScaleDown => whole(source.contained(frame.bounds.within(source))),
            Fit::Contain => whole(source.contained(frame.bounds)),
            Fit::Squeeze => whole(frame.complete),
            Fit::Pad => Self {
                canvas: frame.complete,
                ..whole(source.contained(frame.complete))
            },
            Fit::Cover => Self {
                shown: filling(source, frame.complete),
                ..whole(frame.complete)
            },
            Fit::Crop => {
                let shown = filling(source, frame.complete);
                let content = frame.complete.contained(shown.rounded());
                let enlarged = f64::from(frame.complete.width) > shown.width;
                Self {
                    shown,
                    ..whole(if enlarged { content } else { frame.complete })
                }
            }
        }
    }

    /// The whole source's size at the rendition's scale, at least.
    pub fn whole(&self, source: Size) -> Size {
        let side = |content: u32, source: u32, shown: f64| {
            (f64::from(content) * f64::from(source) / shown).round() as u32
        };
        Size::new(
            side(self.content.width, source.width, self.shown.width).max(1),
            side(self.content.height, source.height, self.shown.height).max(1),
        )
    }

    /// What is shown if it lies with its middle at this point, or as near as it can.
    pub fn region(&self, source: Size, (x, y): (f64, f64)) -> Region {
        let width = (self.shown.width / f64::from(source.width)).min(1.0);
        let height = (self.shown.height / f64::from(source.height)).min(1.0);
        Region {
            left: (x - width / 2.0).clamp(0.0, 1.0 - width),
            top: (y - height / 2.0).clamp(0.0, 1.0 - height),
            width,
            height,
        }
    }

    pub fn cuts(&self, source: Size) -> bool {
        self.shown != Extent::of(source)
    }
}

impl Region {
    pub const WHOLE: Self = Self {
        left: 0.0,
        top: 0.0,
        width: 1.0,
        height: 1.0,
    };

    /// The same part of a picture that isn't upright yet.
    pub fn stored(self, pose: Pose) -> Self {
        let Self {
            left,
            top,
            width,
            height,
        } = self;
        let left = if pose.flip_horizontal {
            (1.0 - left - width).max(0.0)
        } else {
            left
        };
        let top = if pose.flip_vertical {
            (1.0 - top - height).max(0.0)
        } else {
            top
        };
        if !pose.transpose {
            return Self { left, top, ..self };
        }
        Self {
            left: top,
            top: left,
            width: height,
            height: width,
        }
    }
}

impl Gravity {
    /// How free space is divided, from the left and from the top. Detail is no reason to move.
    pub fn thousandths(self) -> (u16, u16) {
        match self {
            Self::Point { x, y } => (x.min(1000), y.min(1000)),
            Self::Centre | Self::Auto => (500, 500),
        }
    }
}

/// The box that was asked for. A side that wasn't is as long as it may be in `bounds`, and
/// follows from the source's proportions in `complete`.
struct Frame {
    bounds: Size,
    complete: Size,
}

impl Frame {
    fn of(source: Size, plan: &Plan) -> Option<Self> {
        if plan.width.is_none() && plan.height.is_none() {
            return None;
        }
        let side = |side: Option<u32>| side.unwrap_or(MAX_SIDE).clamp(1, MAX_SIDE);
        let bounds = Size::new(side(plan.width), side(plan.height));
        let both = plan.width.is_some() && plan.height.is_some();
        let complete = if both {
            bounds
        } else {
            source.contained(bounds)
        };
        Some(Self { bounds, complete })
    }
}

/// The most of `source` that has the proportions of `frame`.
fn filling(source: Size, frame: Size) -> Extent {
    let (width, height) = (f64::from(source.width), f64::from(source.height));
    let shape = f64::from(frame.width) / f64::from(frame.height);
    Extent {
        width: (height * shape).min(width),
        height: (width / shape).min(height),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(fit: Fit, width: Option<u32>, height: Option<u32>) -> Plan {
        Plan {
            fit,
            width,
            height,
            ..Plan::unchanged()
        }
    }

    #[test]
    fn each_fit_of_a_wide_source() {
        let source = Size::new(400, 200);
        let cases = [
            // Fit, box, content, canvas, shown.
            (Fit::ScaleDown, (100, 100), (100, 50), (100, 50), (400, 200)),
            (
                Fit::ScaleDown,
                (800, 800),
                (400, 200),
                (400, 200),
                (400, 200),
            ),
            (Fit::Contain, (800, 800), (800, 400), (800, 400), (400, 200)),
            (Fit::Cover, (100, 100), (100, 100), (100, 100), (200, 200)),
            (Fit::Cover, (800, 800), (800, 800), (800, 800), (200, 200)),
            (Fit::Crop, (800, 800), (200, 200), (200, 200), (200, 200)),
            (Fit::Crop, (50, 100), (50, 100), (50, 100), (100, 200)),
            (Fit::Pad, (100, 100), (100, 50), (100, 100), (400, 200)),
            (Fit::Squeeze, (30, 90), (30, 90), (30, 90), (400, 200)),
        ];
        for (fit, (width, height), content, canvas, shown) in cases {
            let geometry = Geometry::of(source, &plan(fit, Some(width), Some(height)));
            let size = |(width, height)| Size::new(width, height);
            let expected = Geometry {
                shown: Extent::of(size(shown)),
                content: size(content),
                canvas: size(canvas),
            };
            assert_eq!(geometry, expected, "{fit:?} {width}x{height}");
        }
    }

    #[test]
    fn a_missing_side_follows_in_every_fit() {
        for fit in Fit::ALL {
            let geometry = Geometry::of(Size::new(400, 200), &plan(fit, Some(100), None));
            assert_eq!(geometry.canvas, Size::new(100, 50), "{fit:?}");
            let geometry = Geometry::of(Size::new(400, 200), &plan(fit, None, None));
            assert_eq!(geometry.canvas, Size::new(400, 200), "{fit:?}");
        }
    }

    #[test]
    fn no_side_is_longer_than_webp_can_hold() {
        let canvas = |plan| Geometry::of(Size::new(32_766, 100), &plan).canvas;
        assert_eq!(canvas(Plan::unchanged()), Size::new(16_383, 50));
        assert_eq!(
            canvas(plan(Fit::Contain, None, Some(90))),
            Size::new(16_383, 50)
        );
    }

    proptest! {
        #[test]
        fn nothing_leaves_its_box(
            width in 1u32..70_000, height in 1u32..70_000, fit in 0..Fit::ALL.len(),
            w in proptest::option::of(1u32..20_000), h in proptest::option::of(1u32..20_000),
            x in 0.0..=1.0, y in 0.0..=1.0,
        ) {
            let (source, fit) = (Size::new(width, height), Fit::ALL[fit]);
            let made = Geometry::of(source, &plan(fit, w, h));
            for side in [made.content.width, made.content.height] {
                prop_assert!((1..=MAX_SIDE).contains(&side));
            }
            prop_assert!(made.content.width <= made.canvas.width);
            prop_assert!(made.content.height <= made.canvas.height);
            prop_assert!(w.is_none_or(|w| made.canvas.width <= w));
            prop_assert!(h.is_none_or(|h| made.canvas.height <= h));
            if matches!(fit, Fit::ScaleDown | Fit::Crop) {
                prop_assert!(made.canvas.width <= width && made.canvas.height <= height);
            }
            let region = made.region(source, (x, y));
            prop_assert!(region.left >= 0.0 && region.left + region.width <= 1.0 + 1e-9);
            prop_assert!(region.top >= 0.0 && region.top + region.height <= 1.0 + 1e-9);
        }

        #[test]
        fn only_squeezing_changes_the_proportions(
            width in 100u32..5000, height in 100u32..5000, fit in 0..5usize,
            w in 100u32..3000, h in 100u32..3000,
        ) {
            let made = Geometry::of(Size::new(width, height), &plan(Fit::ALL[fit], Some(w), Some(h)));
            let shown = made.shown.width / made.shown.height;
            let (one, other) = (f64::from(made.content.width), f64::from(made.content.height));
            // Half a pixel each way is rounding.
            prop_assert!((one + 0.51) / (other - 0.51).max(0.1) >= shown);
            prop_assert!((one - 0.51) / (other + 0.51) <= shown);
        }
    }
}
