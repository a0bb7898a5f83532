//! The inverse DCT of a block's n × n lowest frequencies to n × n samples (T.81 A.3.3).
//!
//! For n = 8 it is the usual one; below, what is left out is what the smaller picture can't show.
//! Eight blocks are worked out side by side, a lane for each: every step is then the same for all
//! lanes, as the compiler likes it.

use std::f32::consts::PI;

pub const LANES: usize = 8;

/// Coefficients of as many blocks as there are lanes, as they were coded: those of one frequency
/// together, frequencies row by row. Behind the 64 of a block is room for writes that go nowhere.
pub type Batch = [[i16; LANES]; 128];

/// `N` samples of each block, in the low bytes, first sample lowest.
pub type Line = [u64; LANES];

/// The cosines for `N` samples, by frequency and sample, scaled for coefficients of eight.
pub struct Basis<const N: usize>([[f32; N]; N]);

impl<const N: usize> Basis<N> {
    pub fn new() -> Self {
        let mut basis = [[0.0; N]; N];
        for (u, row) in basis.iter_mut().enumerate() {
            let weight = if u == 0 { 0.125_f32.sqrt() } else { 0.5 };
            for (x, value) in row.iter_mut().enumerate() {
                let angle = (2 * x + 1) as f32 * u as f32 * PI / (2 * N) as f32;
                *value = weight * angle.cos();
            }
        }
        Self(basis)
    }

    /// The blocks' samples, line by line. `steps` by frequency, row by row.
    #[inline(always)]
    pub fn lines(&self, batch: &Batch, steps: &[f32; 64], lines: &mut [Line; N]) {
        let mut columns = [[[0.0; LANES]; N]; N];
        for u in 0..N {
            for lane in 0..LANES {
                let frequencies =
                    std::array::from_fn(|v| f32::from(batch[8 * v + u][lane]) * steps[8 * v + u]);
                for (line, level) in columns.iter_mut().zip(self.pass(frequencies)) {
                    line[u][lane] = level;
                }
            }
        }
        for (line, column) in lines.iter_mut().zip(&columns) {
            let (mut low, mut high) = ([0; LANES], [0; LANES]);
            for lane in 0..LANES {
                let levels = self.pass(std::array::from_fn(|u| column[u][lane]));
                (low[lane], high[lane]) = packed(levels);
            }
            for lane in 0..LANES {
                line[lane] = u64::from(low[lane]) | u64::from(high[lane]) << 32;
            }
        }
    }

    /// From frequencies to samples. Even cosines are the same from both ends, odd ones opposite.
    #[inline(always)]
    fn pass(&self, frequencies: [f32; N]) -> [f32; N] {
        let mut samples = [0.0; N];
        let evens = self.evens(&frequencies).into_iter();
        for (x, even) in evens.enumerate().take(N.div_ceil(2)) {
            let odd = self.sum::<1, 2>(x, &frequencies);
            (samples[x], samples[N - 1 - x]) = (even + odd, even - odd);
        }
        samples
    }

    /// What even frequencies add to the first half of the samples. If it is a half, their cosines
    /// are again the same or opposite from both of its ends.
    #[inline(always)]
    fn evens(&self, frequencies: &[f32; N]) -> [f32; N] {
        if !N.is_multiple_of(2) {
            return std::array::from_fn(|x| self.sum::<0, 2>(x, frequencies));
        }
        let mut sums = [0.0; N];
        for x in 0..N.div_ceil(4) {
            let (fourths, rest) = (
                self.sum::<0, 4>(x, frequencies),
                self.sum::<2, 4>(x, frequencies),
            );
            (sums[x], sums[N / 2 - 1 - x]) = (fourths + rest, fourths - rest);
        }
        sums
    }

    /// What every `STEP`th frequency from the one at `FIRST` adds to the sample at `x`.
    #[inline(always)]
    fn sum<const FIRST: usize, const STEP: usize>(&self, x: usize, frequencies: &[f32; N]) -> f32 {
        if FIRST >= N {
            return 0.0;
        }
        let mut sum = self.0[FIRST][x] * frequencies[FIRST];
        let mut u = FIRST + STEP;
        while u < N {
            sum += self.0[u][x] * frequencies[u];
            u += STEP;
        }
        sum
    }
}

#[inline(always)]
fn packed<const N: usize>(levels: [f32; N]) -> (u32, u32) {
    let (mut low, mut high) = (0, 0);
    for (x, level) in levels.into_iter().enumerate() {
        if x < 4 {
            low |= sample(level) << (8 * x);
        } else {
            high |= sample(level) << (8 * x - 32);
        }
    }
    (low, high)
}

/// Half the range, and so little more that halves are rounded up whatever the error before.
const SHIFT: f32 = 128.0 + 1.0 / 1024.0;

/// Added to a number of a magnitude below 2²², this leaves its whole part in the lowest bits.
const WHOLE: f32 = 12_582_912.0;

/// Level shift and clamp (T.81 A.3.1), in the low byte.
#[inline(always)]
fn sample(level: f32) -> u32 {
    let level = level + SHIFT;
    let level = if level > 0.0 { level } else { 0.0 };
    let level = if level < 255.0 { level } else { 255.0 };
    (level + WHOLE).to_bits() & 255
}
