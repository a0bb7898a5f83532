//! Gaussian blur.
//!
//! Small ones by their kernel; larger ones by three boxes, whose cost doesn't grow with the
//! radius: a plan may ask for thousands of pixels.

use crate::raster::{Layout, Raster};

/// From this deviation on, three boxes are within a level or two of the Gaussian.
const BOXES_FROM: f64 = 2.0;

/// Blurred with a standard deviation of `deviation` tenths of a pixel. Beyond the edges the
/// picture goes on as it ends; what is clear gives its colour to nothing.
pub fn blur(mut raster: Raster, deviation: u16) -> Raster {
    if deviation == 0 {
        return raster;
    }
    let translucent = raster.layout == Layout::Rgba;
    if translucent {
        raster
            .samples
            .as_chunks_mut()
            .0
            .iter_mut()
            .for_each(premultiply);
    }
    let deviation = f64::from(deviation) / 10.0;
    if deviation < BOXES_FROM {
        convolve(&mut raster, &kernel(deviation));
    } else {
        for radius in radii(deviation) {
            box_blur(&mut raster, radius);
        }
    }
    if translucent {
        raster.samples.as_chunks_mut().0.iter_mut().for_each(divide);
    }
    raster
}

fn premultiply(pixel: &mut [u8; 4]) {
    let [colour @ .., alpha] = pixel;
    for level in colour {
        *level = ((u16::from(*level) * u16::from(*alpha) + 127) / 255) as u8;
    }
}

fn divide(pixel: &mut [u8; 4]) {
    let [colour @ .., alpha] = pixel;
    let alpha = u16::from(*alpha).max(1);
    for level in colour {
        *level = ((u16::from(*level) * 255 + alpha / 2) / alpha).min(255) as u8;
    }
}

/// One side of the kernel, its middle first, in 65,536ths; the whole sums to 65,536.
fn kernel(deviation: f64) -> Vec<u32> {
    let radius = (3.0 * deviation).ceil() as usize;
    let weight = |at: usize| (-((at * at) as f64) / (2.0 * deviation * deviation)).exp();
    let sum: f64 = weight(0) + 2.0 * (1..=radius).map(weight).sum::<f64>();
    let mut weights: Vec<u32> = (0..=radius)
        .map(|at| (weight(at) / sum * 65_536.0).round() as u32)
        .collect();
    let sides: u32 = weights[1..].iter().sum();
    weights[0] = 65_536 - 2 * sides;
    weights
}

fn convolve(raster: &mut Raster, weights: &[u32]) {
    each_row(raster, |line, step| weigh(line, step, weights));
    let stride = raster.stride();
    let height = raster.size.height as usize;
    let source = raster.samples.clone();
    let row = |y: usize| &source[y * stride..(y + 1) * stride];
    for (y, target) in raster.samples.chunks_exact_mut(stride).enumerate() {
        let mut sums: Vec<u32> = row(y).iter().map(|s| u32::from(*s) * weights[0]).collect();
        for (distance, weight) in weights.iter().enumerate().skip(1) {
            let (above, below) = (
                row(y.saturating_sub(distance)),
                row((y + distance).min(height - 1)),
            );
            for ((sum, a), b) in sums.iter_mut().zip(above).zip(below) {
                *sum += weight * (u32::from(*a) + u32::from(*b));
            }
        }
        for (sample, sum) in target.iter_mut().zip(sums) {
            *sample = ((sum + 32_768) >> 16) as u8;
        }
    }
}

/// A row's samples, `step` of which are a pixel.
fn weigh(line: &mut [u8], step: usize, weights: &[u32]) {
    let radius = weights.len() - 1;
    let wide = extended(line, step, radius);
    for (at, sample) in line.iter_mut().enumerate() {
        let middle = at + radius * step;
        let mut sum = u32::from(wide[middle]) * weights[0];
        for (distance, weight) in weights.iter().enumerate().skip(1) {
            let (before, after) = (middle - distance * step, middle + distance * step);
            sum += weight * (u32::from(wide[before]) + u32::from(wide[after]));
        }
        *sample = ((sum + 32_768) >> 16) as u8;
    }
}

/// The line with its first and last pixel `radius` times more.
fn extended(line: &[u8], step: usize, radius: usize) -> Vec<u8> {
    let (first, last) = (&line[..step], &line[line.len() - step..]);
    [&first.repeat(radius), line, &last.repeat(radius)].concat()
}

/// Of three boxes which, one after the other, have this deviation: a box of `2r + 1` samples has
/// a variance of `r(r + 1)/3`.
fn radii(deviation: f64) -> [usize; 3] {
    let variance = deviation * deviation;
    let smaller = ((0.25 + variance).sqrt() - 0.5).floor();
    let of_box = |radius: f64| radius * (radius + 1.0) / 3.0;
    let gain = of_box(smaller + 1.0) - of_box(smaller);
    let larger = ((variance - 3.0 * of_box(smaller)) / gain).round() as usize;
    std::array::from_fn(|at| smaller as usize + usize::from(at < larger))
}

fn box_blur(raster: &mut Raster, radius: usize) {
    if radius == 0 {
        return;
    }
    let across = radius.min(raster.size.width as usize);
    each_row(raster, |line, step| slide(line, step, across));
    slide_down(raster, radius.min(raster.size.height as usize));
}

fn slide(line: &mut [u8], step: usize, radius: usize) {
    let wide = extended(line, step, radius);
    let mean = Mean::of(radius);
    for channel in 0..step {
        let sample = |at: usize| u32::from(wide[at * step + channel]);
        let mut sum: u32 = (0..2 * radius).map(sample).sum();
        for (at, target) in line[channel..].iter_mut().step_by(step).enumerate() {
            sum += sample(at + 2 * radius);
            *target = mean.level(sum);
            sum -= sample(at);
        }
    }
}

/// As `slide`, all columns at once: a row comes into the sums, another leaves them.
fn slide_down(raster: &mut Raster, radius: usize) {
    let (stride, last) = (raster.stride(), raster.size.height as usize - 1);
    let source = raster.samples.clone();
    let row = |y: usize| {
        let y = y.saturating_sub(radius).min(last);
        &source[y * stride..(y + 1) * stride]
    };
    let mut sums = vec![0u32; stride];
    for y in 0..2 * radius {
        for (sum, sample) in sums.iter_mut().zip(row(y)) {
            *sum += u32::from(*sample);
        }
    }
    let mean = Mean::of(radius);
    for (y, target) in raster.samples.chunks_exact_mut(stride).enumerate() {
        let (coming, leaving) = (row(y + 2 * radius), row(y));
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum += u32::from(coming[at]);
            target[at] = mean.level(*sum);
            *sum -= u32::from(leaving[at]);
        }
    }
}

/// Division by a box's length.
struct Mean {
    factor: u64,
}

impl Mean {
    fn of(radius: usize) -> Self {
        let length = 2 * radius as u64 + 1;
        Self {
            factor: (1 << 40) / length + 1,
        }
    }

    fn level(&self, sum: u32) -> u8 {
        ((u64::from(sum) * self.factor + (1 << 39)) >> 40) as u8
    }
}

fn each_row(raster: &mut Raster, change: impl Fn(&mut [u8], usize)) {
    let (stride, step) = (raster.stride(), raster.layout.channels());
    for line in raster.samples.chunks_exact_mut(stride) {
        change(line, step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::Size;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn flat_stays_flat(level: u8, width in 1u32..20, height in 1u32..20, deviation: u16) {
            let size = Size::new(width, height);
            let flat = vec![level; size.pixels() as usize * 3];
            let blurred = blur(Raster::whole(size, Layout::Rgb, flat.clone()), deviation);
            prop_assert_eq!(blurred.samples, flat);
        }

        /// A dot's brightness is spread, not lost, with the variance that was asked for.
        #[test]
        fn a_dot_spreads_by_the_deviation(tenths in 5u16..60) {
            let size = Size::new(81, 81);
            let mut samples = vec![0; size.pixels() as usize];
            // A bar, so that the levels are high enough to be measured across it.
            (0..81).for_each(|y| samples[y * 81 + 40] = 255);
            let blurred = blur(Raster::whole(size, Layout::Grey, samples), tenths);
            let row = &blurred.samples[40 * 81..41 * 81];
            let sum: f64 = row.iter().map(|s| f64::from(*s)).sum();
            let moment: f64 = (-40i32..).zip(row).map(|(at, s)| f64::from(at * at) * f64::from(*s)).sum();
            let deviation = (moment / sum.max(1.0)).sqrt();
            let asked = f64::from(tenths) / 10.0;
            prop_assert!((sum - 255.0).abs() < 26.0, "{sum}");
            prop_assert!((deviation - asked).abs() < 0.12 * asked + 0.1, "{deviation} for {asked}");
        }
    }

    #[test]
    fn what_is_clear_gives_no_colour() {
        let size = Size::new(8, 1);
        let pixels = [[[0, 0, 0, 0]; 4], [[200, 100, 50, 255]; 4]]
            .concat()
            .concat();
        let blurred = blur(Raster::whole(size, Layout::Rgba, pixels), 15);
        for pixel in blurred
            .samples
            .chunks_exact(4)
            .filter(|pixel| pixel[3] > 60)
        {
            let near = [200u8, 100, 50]
                .iter()
                .zip(pixel)
                .all(|(a, b)| a.abs_diff(*b) <= 4);
            assert!(near, "{pixel:?}");
        }
    }
}
