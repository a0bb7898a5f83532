//! Colours to their brightness.

use crate::raster::{Layout, Picture, Raster};

/// Planes give their luma for nothing; pixels are weighed as it is (BT.601). What lets its
/// background through still does.
pub fn grey(picture: Picture) -> Picture {
    match picture {
        Picture::Planar(planar) => Picture::Packed(planar.luma),
        Picture::Packed(raster) => Picture::Packed(of_pixels(raster)),
    }
}

fn of_pixels(mut raster: Raster) -> Raster {
    match raster.layout {
        Layout::Grey => raster,
        Layout::Rgb => {
            let (pixels, _) = raster.samples.as_chunks::<3>();
            let samples = pixels
                .iter()
                .map(|&[r, g, b]| brightness(r, g, b))
                .collect();
            Raster::whole(raster.size, Layout::Grey, samples)
        }
        Layout::Rgba => {
            let (pixels, _) = raster.samples.as_chunks_mut::<4>();
            for [r, g, b, _] in pixels {
                let level = brightness(*r, *g, *b);
                (*r, *g, *b) = (level, level, level);
            }
            raster
        }
    }
}

/// Rec. ITU-R BT.601-7 §2.5.1, in 65,536ths.
pub fn brightness(red: u8, green: u8, blue: u8) -> u8 {
    let weighed = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue);
    u8::try_from((weighed + 32_768) >> 16).expect("the weights are one together")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::Size;

    #[test]
    fn greys_stay_and_colours_weigh_as_the_eye_sees_them() {
        assert!((0..=255).all(|level| brightness(level, level, level) == level));
        assert!(brightness(0, 255, 0) > brightness(255, 0, 0));
        assert!(brightness(255, 0, 0) > brightness(0, 0, 255));
    }

    #[test]
    fn alpha_is_left_alone() {
        let raster = Raster::whole(Size::new(1, 1), Layout::Rgba, vec![255, 0, 0, 7]);
        let Picture::Packed(grey) = grey(Picture::Packed(raster)) else {
            panic!("pixels stay pixels");
        };
        assert_eq!(grey.samples, [76, 76, 76, 7]);
    }
}
