//! What is behind a picture, and around it.

use crate::plan::Colour;
use crate::raster::{Layout, Raster};
use crate::size::Size;

/// The picture laid on `ground`: solid if that is, else as solid as both are together.
pub fn flatten(raster: Raster, ground: Colour) -> Raster {
    if raster.layout != Layout::Rgba {
        return raster;
    }
    let (pixels, _) = raster.samples.as_chunks::<4>();
    if ground.alpha == 255 {
        let samples = pixels.iter().flat_map(|&pixel| {
            let [r, g, b, _] = over(pixel, ground.pixel());
            [r, g, b]
        });
        return Raster::whole(raster.size, Layout::Rgb, samples.collect());
    }
    let samples = pixels.iter().flat_map(|&pixel| over(pixel, ground.pixel()));
    Raster::whole(raster.size, Layout::Rgba, samples.collect())
}

/// The picture on a canvas of `ground`, so that its free space is divided as the point says: in
/// thousandths, from the left and the top.
pub fn pad(raster: Raster, canvas: Size, (x, y): (u16, u16), ground: Colour) -> Raster {
    if raster.size == canvas {
        return raster;
    }
    let raster = if ground.alpha == 255 {
        with_colour(raster)
    } else {
        with_alpha(raster)
    };
    let channels = raster.layout.channels();
    let before = |free: u32, part: u16| (u64::from(free) * u64::from(part) + 500) / 1000;
    let left = before(canvas.width - raster.size.width, x) as usize;
    let top = before(canvas.height - raster.size.height, y) as usize;
    let pixel = &ground.pixel()[..channels];
    let mut samples = pixel.repeat(canvas.width as usize * canvas.height as usize);
    let stride = canvas.width as usize * channels;
    let lines = samples.chunks_exact_mut(stride).skip(top);
    for (line, row) in lines.zip(raster.rows()) {
        let start = left * channels;
        line[start..start + row.len()].copy_from_slice(row);
    }
    Raster::whole(canvas, raster.layout, samples)
}

/// Grey as colour, the rest as it is.
pub fn with_colour(raster: Raster) -> Raster {
    if raster.layout != Layout::Grey {
        return raster;
    }
    let samples = raster.samples.iter().flat_map(|&grey| [grey; 3]).collect();
    Raster::whole(raster.size, Layout::Rgb, samples)
}

/// Anything as RGBA.
fn with_alpha(raster: Raster) -> Raster {
    let raster = with_colour(raster);
    if raster.layout == Layout::Rgba {
        return raster;
    }
    let (pixels, _) = raster.samples.as_chunks::<3>();
    let samples = pixels.iter().flat_map(|&[r, g, b]| [r, g, b, 255]);
    Raster::whole(raster.size, Layout::Rgba, samples.collect())
}

/// One pixel on another, neither premultiplied (Porter and Duff's "over").
pub fn over(upper: [u8; 4], lower: [u8; 4]) -> [u8; 4] {
    let (above, below) = (u32::from(upper[3]), u32::from(lower[3]));
    if above == 255 {
        return upper;
    }
    // In 255ths of 255ths.
    let shining = below * (255 - above);
    let solid = above * 255 + shining;
    if solid == 0 {
        return [0; 4];
    }
    let mix = |channel: usize| {
        let sum = u32::from(upper[channel]) * above * 255 + u32::from(lower[channel]) * shining;
        ((sum + solid / 2) / solid) as u8
    };
    [mix(0), mix(1), mix(2), ((solid + 127) / 255) as u8]
}

impl Colour {
    fn pixel(self) -> [u8; 4] {
        [self.red, self.green, self.blue, self.alpha]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RED: Colour = Colour {
        red: 255,
        green: 0,
        blue: 0,
        alpha: 255,
    };

    #[test]
    fn free_space_is_divided_as_asked() {
        let dot = || Raster::whole(Size::new(1, 1), Layout::Grey, vec![9]);
        for (part, at) in [(0, 0), (500, 1), (1000, 2)] {
            let padded = pad(dot(), Size::new(3, 1), (part, 0), RED);
            let mut expected = [255, 0, 0].repeat(3);
            expected[at * 3..at * 3 + 3].fill(9);
            assert_eq!(padded.samples, expected);
        }
    }

    #[test]
    fn a_clear_ground_makes_a_picture_translucent() {
        let clear = Colour { alpha: 0, ..RED };
        let dot = Raster::whole(Size::new(1, 1), Layout::Grey, vec![9]);
        let padded = pad(dot, Size::new(1, 2), (0, 0), clear);
        assert_eq!(padded.samples, [9, 9, 9, 255, 255, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn what_is_laid_on_something_is_between_both(upper: [u8; 4], lower: [u8; 4]) {
            let made = over(upper, lower);
            prop_assert!(made[3] >= upper[3].max(lower[3]));
            if upper[3] == 0 && lower[3] > 0 {
                prop_assert_eq!(made, lower);
            }
            if made[3] > 0 {
                for channel in 0..3 {
                    let (one, other) = (upper[channel], lower[channel]);
                    let between = one.min(other)..=one.max(other);
                    let within = upper[3] == 0 || lower[3] == 0 || between.contains(&made[channel]);
                    prop_assert!(within);
                }
            }
        }
    }
}
