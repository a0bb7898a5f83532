//! Quality by itself: the fewest bytes that still look the same.
//!
//! A few encodings of the part with most detail, a tenth of a megapixel at most, each compared with
//! what went in; the whole is then encoded once.

use super::codec::{Format, Manner, Source, Wanted, encode};
use super::geometry::{Geometry, Region};
use super::limits::Limits;
use super::ops::{luma, point_of_detail};
use super::orient::Pose;
use super::plan::{Fit, Plan};
use super::raster::{Extent, Picture, Planar};
use super::similarity::similarity;
use super::size::Size;
use super::transform::TransformError;

/// Structural similarity of the luma: from here on, few see a difference side by side.
const ENOUGH: f64 = 0.97;

/// The range that is searched. Below it chroma suffers, which this doesn't look at.
const LOWEST: u8 = 40;
const HIGHEST: u8 = 92;

/// Halvings of the range: it is narrow enough after these.
const TRIES: u32 = 4;

/// Pixels of the part that is tried, each way.
const SAMPLE: u32 = 320;

/// The lowest quality, of those tried, at which `picture` looks the same in `format`.
pub fn least(picture: &Picture, format: Format, limits: &Limits) -> Result<u8, TransformError> {
    if matches!(format, Format::Png | Format::WebpLossless) {
        return Ok(HIGHEST);
    }
    let sample = sample(picture);
    let original = luma(&sample);
    let (mut low, mut high) = (LOWEST, HIGHEST);
    for _ in 0..TRIES {
        limits.check_time()?;
        let quality = low.midpoint(high);
        let bytes = encode(sample.copy(), Manner { format, quality }, None)?;
        let seen = luma(&decoded(&bytes, limits)?);
        let width = original.size.width as usize;
        if similarity(&original.samples, &seen.samples, width) >= ENOUGH {
            high = quality;
        } else {
            low = quality;
        }
    }
    Ok(high)
}

fn decoded(bytes: &[u8], limits: &Limits) -> Result<Picture, TransformError> {
    let source = Source::open(bytes, limits)?;
    let wanted = Wanted {
        size: source.header().size,
        packed: false,
    };
    source.decode(wanted, limits)
}

/// The part with most detail; on whole chroma samples, so that nothing is resampled.
fn sample(picture: &Picture) -> Picture {
    let whole = picture.size();
    let size = Size::new(SAMPLE, SAMPLE).within(whole);
    let plan = Plan {
        width: Some(size.width),
        height: Some(size.height),
        fit: Fit::Cover,
        ..Plan::unchanged()
    };
    let part = Geometry {
        shown: Extent::of(size),
        ..Geometry::of(whole, &plan)
    };
    let centre = part.region(whole, (0.5, 0.5));
    let point = point_of_detail(picture, Pose::UPRIGHT, (centre.width, centre.height));
    let Region { left, top, .. } = part.region(whole, point);
    let even = |part: f64, side: u32| (part * f64::from(side)) as u32 & !1;
    let (left, top) = (even(left, whole.width), even(top, whole.height));
    match picture {
        Picture::Packed(raster) => Picture::Packed(raster.cut(left, top, size)),
        Picture::Planar(planar) => Picture::Planar(Planar {
            luma: planar.luma.cut(left, top, size),
            chroma: planar
                .chroma
                .each_ref()
                .map(|plane| plane.cut(left / 2, top / 2, size.halved())),
        }),
    }
}
