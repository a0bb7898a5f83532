//! BlurHash: a few dozen characters from which a page draws what a picture looks like from far.
//! The algorithm is public (github.com/woltapp/blurhash, Algorithm.md).

use super::raster::Raster;
use std::f64::consts::PI;

const DIGITS: &[u8; 83] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~";

/// Waves across and down.
const ACROSS: usize = 4;
const DOWN: usize = 3;

/// Of RGB pixels; a few dozen each way are plenty.
pub fn blurhash(raster: &Raster) -> String {
    let factors: Vec<[f64; 3]> = (0..DOWN)
        .flat_map(|down| (0..ACROSS).map(move |across| (across, down)))
        .map(|(across, down)| factor(raster, across, down))
        .collect();
    let (mean, waves) = factors.split_first().expect("4 × 3 factors");
    let strongest = waves
        .iter()
        .flatten()
        .fold(0.0, |most: f64, f| most.max(f.abs()));
    let scale = ((strongest * 166.0 - 0.5).floor()).clamp(0.0, 82.0);
    let most = (scale + 1.0) / 166.0;
    let mut hash = String::new();
    push(&mut hash, ACROSS - 1 + (DOWN - 1) * 9, 1);
    push(&mut hash, scale as usize, 1);
    let levels = mean.map(|level| usize::from(to_srgb(level)));
    push(&mut hash, levels[0] << 16 | levels[1] << 8 | levels[2], 4);
    for wave in waves {
        let [r, g, b] = wave.map(|factor| quantised(factor / most));
        push(&mut hash, (r * 19 + g) * 19 + b, 2);
    }
    hash
}

/// How much of a cosine there is in each channel, in linear light.
fn factor(raster: &Raster, across: usize, down: usize) -> [f64; 3] {
    let (width, height) = (raster.size.width, raster.size.height);
    let mut sum = [0.0; 3];
    let (pixels, _) = raster.samples.as_chunks::<3>();
    for (at, pixel) in pixels.iter().enumerate() {
        let (x, y) = (at % width as usize, at / width as usize);
        let wave = (PI * across as f64 * x as f64 / f64::from(width)).cos()
            * (PI * down as f64 * y as f64 / f64::from(height)).cos();
        for (sum, level) in sum.iter_mut().zip(pixel) {
            *sum += wave * to_linear(*level);
        }
    }
    let weight = if across + down == 0 { 1.0 } else { 2.0 };
    sum.map(|sum| sum * weight / pixels.len().max(1) as f64)
}

fn quantised(factor: f64) -> usize {
    let root = factor.abs().sqrt().copysign(factor);
    (root * 9.0 + 9.5).floor().clamp(0.0, 18.0) as usize
}

fn push(hash: &mut String, value: usize, digits: u32) {
    for place in (0..digits).rev() {
        let digit = value / 83usize.pow(place) % 83;
        hash.push(char::from(DIGITS[digit]));
    }
}

/// IEC 61966-2-1.
fn to_linear(level: u8) -> f64 {
    let level = f64::from(level) / 255.0;
    if level <= 0.04045 {
        level / 12.92
    } else {
        ((level + 0.055) / 1.055).powf(2.4)
    }
}

fn to_srgb(light: f64) -> u8 {
    let light = light.clamp(0.0, 1.0);
    let level = if light <= 0.003_130_8 {
        light * 12.92
    } else {
        1.055 * light.powf(1.0 / 2.4) - 0.055
    };
    (level * 255.0 + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Layout;
    use crate::size::Size;

    /// Black has no waves: the size flag of 4 × 3, no scale, a mean of zero, and middles.
    #[test]
    fn black() {
        let raster = Raster::whole(Size::new(8, 8), Layout::Rgb, vec![0; 192]);
        assert_eq!(blurhash(&raster), format!("L00000{}", "fQ".repeat(11)));
    }

    #[test]
    fn levels_go_there_and_back() {
        assert!((0..=255).all(|level| to_srgb(to_linear(level)) == level));
    }

    #[test]
    fn other_pictures_have_other_hashes() {
        let of =
            |pixels: [u8; 6]| blurhash(&Raster::whole(Size::new(2, 1), Layout::Rgb, pixels.into()));
        let (one, other) = (of([255, 0, 0, 0, 0, 255]), of([0, 0, 255, 255, 0, 0]));
        assert_eq!((one.len(), other.len()), (28, 28));
        assert_ne!(one, other);
    }
}
