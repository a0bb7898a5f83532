//! The same code for any processor, and for those with AVX2 and BMI2, which x86 has had since 2013:
//! lanes eight wide, and shifts that leave the flags alone. That is worth a tenth of the time or more
//! from 5/8 on, and little below; the samples are the same to the bit.

use crate::Error;
use crate::bits::Bits;
use crate::channel::{Channel, fill};
use crate::idct::Basis;
use std::ops::Range;

/// What was found of the processor; only [`Features::detect`] makes one.
#[derive(Clone, Copy)]
pub struct Features {
    wide: bool,
}

impl Features {
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        let wide = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2");
        #[cfg(not(target_arch = "x86_64"))]
        let wide = false;
        Self { wide }
    }

    #[cfg(test)]
    const PLAIN: Self = Self { wide: false };

    #[inline(always)]
    pub fn fill<const N: usize>(
        self,
        channels: &mut [Channel],
        bits: &mut Bits<'_>,
        slots: Range<usize>,
    ) -> Result<(), Error> {
        #[cfg(target_arch = "x86_64")]
        if self.wide {
            // SAFETY: what `fill_wide` asks for is a processor, and a system, with AVX2 and BMI2.
            // `wide` is private to this file, and only `detect` sets it, once both were found.
            #[allow(unsafe_code)]
            return unsafe { fill_wide::<N>(channels, bits, slots) };
        }
        fill::<N>(channels, bits, slots)
    }

    #[inline(always)]
    pub fn store<const N: usize>(
        self,
        channel: &mut Channel,
        plane: usize,
        basis: &Basis<N>,
        at: (usize, usize),
    ) {
        #[cfg(target_arch = "x86_64")]
        if self.wide {
            // SAFETY: as for `fill_wide`.
            #[allow(unsafe_code)]
            return unsafe { store_wide(channel, plane, basis, at) };
        }
        channel.store(plane, basis, at);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn fill_wide<const N: usize>(
    channels: &mut [Channel],
    bits: &mut Bits<'_>,
    slots: Range<usize>,
) -> Result<(), Error> {
    fill::<N>(channels, bits, slots)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2")]
fn store_wide<const N: usize>(
    channel: &mut Channel,
    plane: usize,
    basis: &Basis<N>,
    at: (usize, usize),
) {
    channel.store(plane, basis, at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Stream;
    use crate::planes::{Planes, Scale};
    use crate::scan;
    use proptest::prelude::*;
    use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

    /// At all scales.
    fn decode(jpeg: &[u8], features: Features) -> Result<Vec<Planes>, Error> {
        let scales: Vec<_> = (1..=8).filter_map(Scale::eighths).collect();
        scan::decode(&Stream::read(jpeg)?, &scales, features)
    }

    fn jpeg(samples: &[u8], width: usize, quality: i32, subsamp: Subsamp) -> Vec<u8> {
        let mut compressor = Compressor::new().expect("a compressor");
        compressor.set_quality(quality).expect("a quality");
        compressor.set_subsamp(subsamp).expect("a subsampling");
        let pixels = Image {
            pixels: samples,
            width,
            pitch: 3 * width,
            height: samples.len() / (3 * width),
            format: PixelFormat::RGB,
        };
        compressor.compress_to_vec(pixels).expect("a JPEG")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Of whole pictures and of damaged ones.
        #[test]
        fn wide_and_plain_are_the_same_to_the_bit(
            width in 1usize..90,
            samples in prop::collection::vec(any::<u8>(), 3 * 90..6000),
            quality in 1..=100,
            subsamp in prop::sample::select(&[
                Subsamp::None, Subsamp::Sub2x1, Subsamp::Sub1x2, Subsamp::Sub2x2, Subsamp::Gray,
            ][..]),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let whole = samples.len() / (3 * width) * 3 * width;
            let mut jpeg = jpeg(&samples[..whole], width, quality, subsamp);
            prop_assert!(decode(&jpeg, Features::PLAIN).is_ok());
            prop_assert_eq!(decode(&jpeg, Features::detect()), decode(&jpeg, Features::PLAIN));
            for (at, byte) in damage {
                // Not the frame header, which says how much to decode.
                let at = 180 + at.index(jpeg.len() - 180);
                jpeg[at] = byte;
            }
            prop_assert_eq!(decode(&jpeg, Features::detect()), decode(&jpeg, Features::PLAIN));
        }
    }
}
