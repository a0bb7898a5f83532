//! Bytes from anyone: an error or a whole picture, never a panic, in bounded memory and time.

mod pictures;

use lakh_jpeg::{Decoder, Error, Planes, Scale};
use pictures::mutation::{mutate, seeds};
use pictures::{Picture, Random, SUBSAMPLINGS, jpeg, jpeg_with_restarts, planes, turbo};
use proptest::prelude::*;
use turbojpeg::{Compressor, PixelFormat, Subsamp};

const MAX_PIXELS: u64 = 1 << 20;

fn decode(jpeg: &[u8], eighths: u8) -> Result<Planes, Error> {
    let scale = Scale::eighths(eighths).expect("one of eight");
    Decoder::open(jpeg)?.decode(scale, MAX_PIXELS)
}

/// At every scale, of one reading.
fn decode_all(jpeg: &[u8]) -> Result<Vec<Planes>, Error> {
    let scales: Vec<_> = (1..=8).filter_map(Scale::eighths).collect();
    Decoder::open(jpeg)?.decode_all(&scales, MAX_PIXELS)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// What comes out of a damaged JPEG is what libjpeg-turbo makes of it, if that has nothing to
    /// complain about. Beyond the range of 8-bit samples it wraps where this clamps.
    #[test]
    fn damage(seed: u64) {
        let (seeds, mut random) = (seeds_once(), Random(seed));
        let mut jpeg = seeds[random.below(seeds.len())].clone();
        mutate(&mut jpeg, &mut random);
        let outcomes: Vec<_> = (1..=8).map(|eighths| decode(&jpeg, eighths)).collect();
        prop_assert_eq!(outcomes.iter().cloned().collect::<Result<Vec<_>, _>>().ok(), decode_all(&jpeg).ok());
        prop_assert!(outcomes.iter().all(|outcome| outcome.is_ok() == outcomes[0].is_ok()));
        let (Ok(ours), Ok(theirs)) = (&outcomes[0], turbo(&jpeg, 1)) else {
            return Ok(());
        };
        prop_assert_eq!(planes(ours).len(), theirs.len());
        for (ours, (width, samples)) in planes(ours).into_iter().zip(&theirs) {
            for (ours, theirs) in ours.rows().zip(samples.chunks(*width)) {
                prop_assert!(ours.iter().zip(theirs).all(|(ours, theirs)| ours == theirs || matches!(ours, 0 | 255)));
            }
        }
    }

    #[test]
    fn noise(bytes: Vec<u8>) {
        prop_assert!(decode(&bytes, 1).is_err());
        let after_start = [&[0xFF, 0xD8], bytes.as_slice()].concat();
        prop_assert!(decode(&after_start, 1).is_err());
    }
}

fn seeds_once() -> &'static [Vec<u8>] {
    static SEEDS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    SEEDS.get_or_init(seeds)
}

#[test]
fn nothing_is_decoded_from_a_part() {
    let picture = Picture::photo(40, 37, 3);
    for subsamp in SUBSAMPLINGS {
        for jpeg in [
            jpeg(&picture, 80, subsamp, true),
            jpeg_with_restarts(&picture, subsamp, 2),
        ] {
            assert!(decode(&jpeg, 1).is_ok());
            for length in 0..jpeg.len() {
                let outcome = decode(&jpeg[..length], 1 + (length % 8) as u8);
                assert!(
                    matches!(outcome, Err(Error::Damaged(_))),
                    "{length} bytes: {outcome:?}"
                );
            }
        }
    }
}

#[test]
fn what_follows_the_end_is_ignored() {
    let jpeg = jpeg(&Picture::photo(20, 20, 3), 80, Subsamp::Sub2x2, false);
    assert_eq!(
        decode(&[&jpeg[..], b"anything"].concat(), 8),
        decode(&jpeg, 8)
    );
}

#[test]
fn rare_kinds_are_left_to_others_before_any_work() {
    let picture = Picture::photo(40, 37, 3);
    for jpeg in [
        pictures::progressive(&picture),
        pictures::arithmetic(&picture),
        jpeg(&picture, 80, Subsamp::Sub4x1, false),
        cmyk(&picture),
    ] {
        assert!(matches!(Decoder::open(&jpeg), Err(Error::Unsupported(_))));
    }
}

fn cmyk(picture: &Picture) -> Vec<u8> {
    let ink: Vec<u8> = picture
        .rgb
        .chunks(3)
        .flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255])
        .collect();
    let mut compressor = Compressor::new().expect("a compressor");
    compressor
        .set_subsamp(Subsamp::None)
        .expect("a subsampling");
    let image = turbojpeg::Image {
        pixels: ink.as_slice(),
        width: picture.width,
        pitch: 4 * picture.width,
        height: picture.height,
        format: PixelFormat::CMYK,
    };
    compressor.compress_to_vec(image).expect("a JPEG")
}

#[test]
fn too_large_before_anything_is_allocated() {
    let jpeg = jpeg(&Picture::gradient(100, 90), 80, Subsamp::Sub2x2, false);
    let decoder = Decoder::open(&jpeg).expect("a header");
    assert_eq!(decoder.header().pixels(), 9000);
    assert_eq!(decoder.decode(Scale::FULL, 8999), Err(Error::TooLarge));
    assert!(decoder.decode(Scale::FULL, 9000).is_ok());
}

/// A header may claim any size; each block takes two bits at least, and without them nothing is
/// allocated.
#[test]
fn a_claim_needs_data() {
    let mut jpeg = jpeg(&Picture::gradient(100, 90), 80, Subsamp::Sub2x2, false);
    let frame = jpeg
        .windows(2)
        .position(|bytes| bytes == [0xFF, 0xC0])
        .expect("a frame");
    jpeg[frame + 5..frame + 9].fill(0xFF);
    let decoder = Decoder::open(&jpeg).expect("a header");
    assert_eq!(decoder.header().pixels(), 65535 * 65535);
    let scale = Scale::eighths(1).expect("one of eight");
    assert_eq!(
        decoder.decode(scale, u64::MAX),
        Err(Error::Damaged("it ends early"))
    );
}
