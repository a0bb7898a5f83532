//! Value noise, read a row at a time: the lattice is blended vertically once per row, so that a
//! pixel costs one interpolation per octave.

/// Several octaves of noise, each half as coarse and half as strong as the one before. Values lie
/// between -1 and 1.
#[derive(Clone)]
pub struct Fractal {
    pub seed: u32,
    /// Size of the coarsest cells in pixels; unequal sides give grain, ripples or grass.
    pub cell: (f32, f32),
    pub octaves: u32,
}

impl Fractal {
    pub fn fill_row(&self, y: f32, row: &mut [f32]) {
        row.fill(0.0);
        let total: f32 = (0..self.octaves)
            .map(|octave| 0.5_f32.powi(octave as i32))
            .sum();
        for octave in 0..self.octaves {
            let weight = 0.5_f32.powi(octave as i32);
            let cell = (self.cell.0 * weight, self.cell.1 * weight);
            add_octave(self.seed.wrapping_add(octave), cell, weight / total, y, row);
        }
    }
}

fn add_octave(seed: u32, (width, height): (f32, f32), strength: f32, y: f32, row: &mut [f32]) {
    let line = (y / height).floor();
    let blend = smooth(y / height - line);
    let knot = |column: u32| {
        let (above, below) = (
            lattice(seed, column, line as u32),
            lattice(seed, column, line as u32 + 1),
        );
        strength * (above + (below - above) * blend)
    };

    // A cell at a time: within one, no pixel depends on the one before.
    let (mut column, mut start, mut left) = (0, 0, knot(0));
    while start < row.len() {
        let right = knot(column + 1);
        let end = (((column + 1) as f32 * width).ceil() as usize).min(row.len());
        for (x, value) in (start..).zip(&mut row[start..end]) {
            let along = x as f32 / width - column as f32;
            *value += left + (right - left) * smooth(along);
        }
        (column, start, left) = (column + 1, end, right);
    }
}

/// Grain as a sensor adds it: independent from pixel to pixel, roughly bell-shaped, within ±1.
pub fn add_grain(seed: u32, y: u32, strength: f32, row: &mut [f32]) {
    let mut state = mix(seed ^ mix(y + 1)) | 1;
    for value in row {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let halves = (state & 0xffff) as f32 + (state >> 16) as f32;
        *value += strength * (halves / 65_535.0 - 1.0);
    }
}

fn lattice(seed: u32, x: u32, y: u32) -> f32 {
    let bits = mix(seed ^ mix(x ^ mix(y)));
    bits as f32 / (u32::MAX as f32 / 2.0) - 1.0
}

fn mix(mut bits: u32) -> u32 {
    bits = (bits ^ 0x9e37_79b9 ^ (bits >> 16)).wrapping_mul(0x21f0_aaad);
    bits = (bits ^ (bits >> 15)).wrapping_mul(0x735a_2d97);
    bits ^ (bits >> 15)
}

fn smooth(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_the_same_every_time_bounded_and_not_flat() {
        let fractal = Fractal {
            seed: 3,
            cell: (40.0, 30.0),
            octaves: 4,
        };
        let (mut once, mut again) = (vec![0.0; 500], vec![9.0; 500]);
        fractal.fill_row(77.0, &mut once);
        fractal.fill_row(77.0, &mut again);
        assert_eq!(once, again);
        assert!(once.iter().all(|value| value.abs() <= 1.0));
        let (least, most) = once
            .iter()
            .fold((1.0_f32, -1.0_f32), |(a, b), v| (a.min(*v), b.max(*v)));
        assert!(most - least > 0.3, "{least} to {most}");
    }
}
