//! Cutting off edges of one colour.

use crate::raster::Raster;
use crate::size::Size;

/// What is left when rows and columns that differ from the top left pixel by no more than
/// `tolerance` in any channel are cut off on all four sides. A picture of one colour stays whole.
pub fn trim(raster: Raster, tolerance: u8) -> Raster {
    match bounds(&raster, tolerance) {
        Some((left, top, size)) if size != raster.size => raster.cut(left, top, size),
        _ => raster,
    }
}

/// Corner and size of the smallest box around what differs.
fn bounds(raster: &Raster, tolerance: u8) -> Option<(u32, u32, Size)> {
    let channels = raster.layout.channels();
    let ground = &raster.samples[..channels];
    let differs = |pixel: &[u8]| {
        let mut both = pixel.iter().zip(ground);
        both.any(|(level, ground)| level.abs_diff(*ground) > tolerance)
    };
    let has_detail = |row: &[u8]| row.chunks_exact(channels).any(differs);
    let top = raster.rows().position(has_detail)?;
    let bottom = raster.rows().rposition(has_detail)?;
    let (mut left, mut right) = (raster.size.width as usize, 0);
    for row in raster.rows().skip(top).take(bottom - top + 1) {
        // Only what may widen the box is looked at.
        let (before, after) = (&row[..left * channels], &row[right * channels..]);
        if let Some(at) = before.chunks_exact(channels).position(differs) {
            left = at;
        }
        if let Some(at) = after.chunks_exact(channels).rposition(differs) {
            right += at;
        }
    }
    let side = |from: usize, to: usize| (to - from + 1) as u32;
    let size = Size::new(side(left, right), side(top, bottom));
    Some((left as u32, top as u32, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Layout;
    use proptest::prelude::*;

    #[test]
    fn one_colour_stays_whole() {
        let raster = Raster::whole(Size::new(3, 2), Layout::Rgb, vec![7; 18]);
        assert_eq!(trim(raster, 0).size, Size::new(3, 2));
    }

    proptest! {
        /// A box of noise on a flat ground, found again.
        #[test]
        fn finds_the_box(
            left in 0u32..9, top in 0u32..9, right in 0u32..9, bottom in 0u32..9,
            width in 1u32..9, height in 1u32..9, tolerance in 0u8..40, rgba: bool,
        ) {
            // The ground's colour is told by the corner, which must be ground.
            prop_assume!(left + top > 0);
            let layout = if rgba { Layout::Rgba } else { Layout::Grey };
            let size = Size::new(left + width + right, top + height + bottom);
            let inside = |x: u32, y: u32| {
                (left..left + width).contains(&x) && (top..top + height).contains(&y)
            };
            let samples = (0..size.height)
                .flat_map(|y| (0..size.width).map(move |x| (x, y)))
                .flat_map(|(x, y)| {
                    let noise = if inside(x, y) { tolerance + 1 } else { tolerance };
                    vec![100 + noise * u8::from(x + y > 0); layout.channels()]
                })
                .collect();
            let trimmed = trim(Raster::whole(size, layout, samples), tolerance);
            prop_assert_eq!(trimmed.size, Size::new(width, height));
            prop_assert!(trimmed.samples.iter().all(|level| *level == 101 + tolerance));
        }
    }
}
