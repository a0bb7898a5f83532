//! Where the detail of a picture is: a small grey reduction, its steepness, and the window that
//! holds most of it.

use super::grey::brightness;
use crate::geometry::Region;
use crate::orient::Pose;
use crate::raster::{Layout, Picture, Raster};
use crate::resize::resize_raster;
use crate::size::Size;

/// The longest side that is looked at: enough to tell a face from a sky.
const SIDE: u32 = 64;

/// Where, in fractions of the upright picture's sides, the middle of a window of this part of
/// them lies when it holds most detail. The middle one of equals.
pub fn point_of_detail(picture: &Picture, pose: Pose, part: (f64, f64)) -> (f64, f64) {
    let map = energy(&pose.raster(&small(picture)));
    let Size { width, height } = map.size;
    let window = |part: f64, side: u32| ((part * f64::from(side)).round() as u32).clamp(1, side);
    let window = Size::new(window(part.0, width), window(part.1, height));
    let corners = (0..=height - window.height)
        .flat_map(|top| (0..=width - window.width).map(move |left| (left, top)));
    let middle = |(left, top): (u32, u32)| {
        let at = |start: u32, window: u32, side: u32| {
            (f64::from(start) + f64::from(window) / 2.0) / f64::from(side)
        };
        (
            at(left, window.width, width),
            at(top, window.height, height),
        )
    };
    let off_centre = |corner| {
        let (x, y) = middle(corner);
        ((x - 0.5).abs() + (y - 0.5).abs()) * 1000.0
    };
    let best = corners.max_by_key(|&(left, top)| {
        let energy = map.sum(left, top, window);
        (energy, std::cmp::Reverse(off_centre((left, top)) as u64))
    });
    best.map_or((0.5, 0.5), middle)
}

/// The brightness of a picture, without its padding.
pub fn luma(picture: &Picture) -> Raster {
    match picture {
        Picture::Planar(planar) => {
            let plane = &planar.luma;
            plane.cut(0, 0, plane.extent.rounded().within(plane.size))
        }
        Picture::Packed(raster) => {
            let whole = raster.extent.rounded().within(raster.size);
            grey_of(&raster.cut(0, 0, whole))
        }
    }
}

/// What is clear is taken for black: its colour is nobody's concern.
fn grey_of(raster: &Raster) -> Raster {
    let samples = match raster.layout {
        Layout::Grey => raster.samples.clone(),
        Layout::Rgb => {
            let (pixels, _) = raster.samples.as_chunks::<3>();
            pixels
                .iter()
                .map(|&[r, g, b]| brightness(r, g, b))
                .collect()
        }
        Layout::Rgba => {
            let (pixels, _) = raster.samples.as_chunks::<4>();
            let seen =
                |&[r, g, b, a]: &[u8; 4]| u16::from(brightness(r, g, b)) * u16::from(a) / 255;
            pixels.iter().map(|pixel| seen(pixel) as u8).collect()
        }
    };
    Raster::whole(raster.size, Layout::Grey, samples)
}

fn small(picture: &Picture) -> Raster {
    let extent = match picture {
        Picture::Planar(planar) => planar.luma.extent,
        Picture::Packed(raster) => raster.extent,
    };
    let size = extent.rounded();
    let target = size.contained(Size::new(SIDE, SIDE)).within(size);
    match picture {
        Picture::Planar(planar) => resize_raster(&planar.luma, Region::WHOLE, target),
        Picture::Packed(raster) => grey_of(&resize_raster(raster, Region::WHOLE, target)),
    }
}

/// Sums of energy over everything above and left of each corner between pixels.
struct Sums {
    size: Size,
    sums: Vec<u64>,
}

/// How much each pixel differs from those to its right and below.
fn energy(grey: &Raster) -> Sums {
    let (width, height) = (grey.size.width as usize, grey.size.height as usize);
    let level =
        |x: usize, y: usize| i32::from(grey.samples[y.min(height - 1) * width + x.min(width - 1)]);
    let mut sums = vec![0; (width + 1) * (height + 1)];
    for y in 0..height {
        let mut line = 0;
        for x in 0..width {
            let (across, down) = (level(x + 1, y) - level(x, y), level(x, y + 1) - level(x, y));
            line += u64::from(across.unsigned_abs() + down.unsigned_abs());
            sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + line;
        }
    }
    Sums {
        size: grey.size,
        sums,
    }
}

impl Sums {
    fn sum(&self, left: u32, top: u32, window: Size) -> u64 {
        let at = |x: u32, y: u32| self.sums[(y * (self.size.width + 1) + x) as usize];
        let (right, bottom) = (left + window.width, top + window.height);
        at(right, bottom) + at(left, top) - at(left, bottom) - at(right, top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_noise_at(left: u32, top: u32) -> Picture {
        let noisy = |x: u32, y: u32| (left..left + 40).contains(&x) && (top..top + 40).contains(&y);
        let samples = (0..200)
            .flat_map(|y| (0..300).map(move |x| (x, y)))
            .map(|(x, y)| {
                if noisy(x, y) && (x / 8 + y / 8) % 2 == 0 {
                    255
                } else {
                    60
                }
            })
            .collect();
        Picture::Packed(Raster::whole(Size::new(300, 200), Layout::Grey, samples))
    }

    #[test]
    fn without_detail_it_is_the_middle() {
        let flat = Raster::whole(Size::new(90, 70), Layout::Rgb, vec![9; 90 * 70 * 3]);
        let (x, y) = point_of_detail(&Picture::Packed(flat), Pose::UPRIGHT, (0.5, 1.0));
        assert!((x - 0.5).abs() < 0.02 && (y - 0.5).abs() < 0.02, "{x} {y}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_window_holds_the_detail(left in 0u32..260, top in 0u32..160) {
            let picture = with_noise_at(left, top);
            let part = (0.3, 0.4);
            let (x, y) = point_of_detail(&picture, Pose::UPRIGHT, part);
            let holds = |at: f64, part: f64, side: f64, from: u32| {
                let (start, end) = ((at - part / 2.0) * side, (at + part / 2.0) * side);
                // A pixel of the small map is about five of these.
                start <= f64::from(from) + 6.0 && end >= f64::from(from + 40) - 6.0
            };
            prop_assert!(holds(x, part.0, 300.0, left), "{x} for {left}");
            prop_assert!(holds(y, part.1, 200.0, top), "{y} for {top}");
        }
    }
}
