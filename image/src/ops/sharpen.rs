//! Unsharp mask: what a slight blur takes away, added again.

use super::blur::blur;
use crate::raster::Raster;

/// Tenths of a pixel: about what a reduction softens.
const DEVIATION: u16 = 10;

/// `strength` in hundredths; 100 doubles the detail. Alpha is left alone.
pub fn sharpen(raster: Raster, strength: u16) -> Raster {
    if strength == 0 {
        return raster;
    }
    let soft = blur(raster.clone(), DEVIATION);
    let mut sharp = raster;
    let channels = sharp.layout.channels();
    let colours = channels.min(3);
    let pixels = sharp.samples.chunks_exact_mut(channels);
    for (pixel, soft) in pixels.zip(soft.samples.chunks_exact(channels)) {
        for (level, soft) in pixel.iter_mut().zip(soft).take(colours) {
            let detail = i32::from(*level) - i32::from(*soft);
            let more = detail * i32::from(strength) / 100;
            *level = (i32::from(*level) + more).clamp(0, 255) as u8;
        }
    }
    sharp
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Layout;
    use crate::size::Size;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn flat_and_alpha_stay(pixel: [u8; 4], alphas: [u8; 9], strength: u16) {
            let pixels = alphas.map(|alpha| [pixel[0], pixel[1], pixel[2], alpha.max(1)]).concat();
            let size = Size::new(3, 3);
            let sharp = sharpen(Raster::whole(size, Layout::Rgba, pixels.clone()), strength.min(300));
            for (before, after) in pixels.chunks(4).zip(sharp.samples.chunks(4)) {
                prop_assert_eq!(before[3], after[3]);
            }
        }
    }

    #[test]
    fn an_edge_gets_steeper() {
        let edge = [[100; 4], [150; 4]].concat();
        let sharp = sharpen(Raster::whole(Size::new(8, 1), Layout::Grey, edge), 100);
        assert!(
            sharp.samples[3] < 95 && sharp.samples[4] > 155,
            "{:?}",
            sharp.samples
        );
        assert_eq!((sharp.samples[0], sharp.samples[7]), (100, 150));
    }
}
