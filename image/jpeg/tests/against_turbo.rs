//! The same planes as libjpeg-turbo's, at every scale, size, sampling and quality.
//!
//! Where libjpeg-turbo reduces by the same rule (n × n lowest frequencies: all but 2/8 and 4/8),
//! samples differ by rounding alone. At 2/8 and 4/8 it averages full samples instead; there the
//! reference is the rule itself, worked out from its full-size samples.

mod pictures;

use lakh_jpeg::{Decoder, Planes, Scale};
use pictures::{
    Difference, Picture, SUBSAMPLINGS, difference, jpeg, jpeg_with_restarts, planes, turbo,
};
use turbojpeg::Subsamp;

const SAME_RULE: [u8; 6] = [1, 3, 5, 6, 7, 8];

fn own(jpeg: &[u8], eighths: u8) -> Planes {
    let scale = Scale::eighths(eighths).expect("one of eight");
    Decoder::open(jpeg)
        .expect("a header")
        .decode(scale, 1 << 20)
        .expect("a picture")
}

fn compare(jpeg: &[u8], eighths: u8) -> Difference {
    difference(
        &own(jpeg, eighths),
        &turbo(jpeg, eighths).expect("libjpeg-turbo decodes"),
    )
}

fn samples(seed: u64) -> [Picture; 3] {
    [
        Picture::gradient(150, 133),
        Picture::noise(101, 87, seed),
        Picture::photo(203, 190, seed),
    ]
}

#[test]
fn all_qualities_samplings_and_codes() {
    let mut by_scale = [Difference::default(); 9];
    for (quality, subsamp) in (5..=100)
        .step_by(5)
        .flat_map(|q| SUBSAMPLINGS.map(|s| (q, s)))
    {
        for (picture, optimised) in
            samples(quality as u64)
                .iter()
                .zip([quality % 2 == 0, true, false])
        {
            let jpeg = jpeg(picture, quality, subsamp, optimised);
            for eighths in 1..=8 {
                let difference = compare(&jpeg, eighths);
                by_scale[usize::from(eighths)] = by_scale[usize::from(eighths)].plus(difference);
            }
        }
    }
    for (eighths, difference) in by_scale.iter().enumerate().skip(1) {
        println!(
            "{eighths}/8: at most {}, mean {:.5}",
            difference.most,
            difference.mean()
        );
    }
    assert_eq!(by_scale[1].most, 0);
    for eighths in SAME_RULE.map(usize::from) {
        assert!(
            by_scale[eighths].most <= 1 && by_scale[eighths].mean() < 0.02,
            "{eighths}/8"
        );
    }
}

#[test]
fn all_sizes() {
    for (width, height) in (1..=40).flat_map(|width| (1..=40).map(move |height| (width, height))) {
        for (turn, subsamp) in SUBSAMPLINGS.into_iter().enumerate() {
            let picture = Picture::photo(width, height, turn as u64);
            let jpeg = jpeg(&picture, 75, subsamp, turn == 0);
            for eighths in [1 + ((width + 3 * height + turn) % 8) as u8, 8] {
                let ours = own(&jpeg, eighths);
                let difference = difference(&ours, &turbo(&jpeg, eighths).expect("it decodes"));
                let most = if SAME_RULE.contains(&eighths) { 1 } else { 80 };
                assert!(
                    difference.most <= most,
                    "{width}×{height} {subsamp:?} {eighths}/8 {difference:?}"
                );
                let side = |full: usize| (full * usize::from(eighths)).div_ceil(8);
                assert_eq!(
                    (ours.luma.width, ours.luma.height),
                    (side(width), side(height))
                );
            }
        }
    }
}

/// Whatever else is asked for beside it, and however often.
#[test]
fn together_as_alone() {
    for (turn, subsamp) in SUBSAMPLINGS.into_iter().enumerate() {
        let jpeg = jpeg(&Picture::photo(133 + turn, 70, 9), 80, subsamp, false);
        let decoder = Decoder::open(&jpeg).expect("a header");
        for chosen in 0..1_u32 << 8 {
            let eighths = (1..=8).filter(|eighths| chosen >> (eighths - 1) & 1 == 1);
            let mut eighths: Vec<u8> = eighths.collect();
            let turn = chosen as usize % eighths.len().max(1);
            eighths.rotate_left(turn);
            eighths.extend(eighths.first().copied());
            let scales: Vec<_> = eighths.iter().copied().filter_map(Scale::eighths).collect();
            let together = decoder.decode_all(&scales, 1 << 20).expect("a picture");
            let alone: Vec<_> = eighths.iter().map(|&eighths| own(&jpeg, eighths)).collect();
            assert!(together == alone, "{subsamp:?} {eighths:?}");
        }
    }
}

#[test]
fn restart_markers() {
    for (interval, subsamp) in [1, 2, 3, 7, 8, 13, 50, 1000]
        .into_iter()
        .flat_map(|i| SUBSAMPLINGS.map(|s| (i, s)))
    {
        let jpeg = jpeg_with_restarts(&Picture::photo(163, 131, 5), subsamp, interval);
        assert!(jpeg.windows(2).any(|bytes| bytes == [0xFF, 0xDD]));
        for eighths in SAME_RULE {
            assert!(
                compare(&jpeg, eighths).most <= 1,
                "{interval} {subsamp:?} {eighths}/8"
            );
        }
    }
}

/// At 2/8 and 4/8 too.
#[test]
fn lowest_frequencies_alone() {
    let mut by_scale = [Difference::default(); 9];
    for (seed, quality) in [(1, 70), (2, 85), (3, 92), (4, 100)] {
        for picture in samples(seed).map(Picture::muted) {
            let jpeg = jpeg(&picture, quality, Subsamp::Gray, true);
            let full = own(&jpeg, 8);
            assert!(
                full.luma
                    .samples
                    .iter()
                    .all(|level| (1..255).contains(level)),
                "nothing is clamped"
            );
            for eighths in 1..=8 {
                let expected = reduce(&full.luma.samples, full.luma.stride, usize::from(eighths));
                let ours = own(&jpeg, eighths);
                let ours = &planes(&ours)[0].samples;
                assert_eq!(ours.len(), expected.len());
                let total = &mut by_scale[usize::from(eighths)];
                ours.iter()
                    .zip(expected)
                    .for_each(|(&ours, expected)| total.add(ours, expected));
            }
        }
    }
    for (eighths, difference) in by_scale.iter().enumerate().skip(1) {
        println!(
            "{eighths}/8: at most {}, mean {:.5}",
            difference.most,
            difference.mean()
        );
        assert!(difference.most <= 1 && difference.mean() < 0.2);
    }
}

/// Whole blocks of samples, each by a DCT to its frequencies and back to fewer samples.
fn reduce(samples: &[u8], stride: usize, n: usize) -> Vec<u8> {
    let rows = samples.len() / stride;
    let mut reduced = vec![0; rows / 8 * n * (stride / 8 * n)];
    for (row, column) in
        (0..rows / 8).flat_map(|row| (0..stride / 8).map(move |column| (row, column)))
    {
        let block: [[f64; 8]; 8] = std::array::from_fn(|y| {
            std::array::from_fn(|x| f64::from(samples[(8 * row + y) * stride + 8 * column + x]))
        });
        let frequencies: [[f64; 8]; 8] =
            std::array::from_fn(|v| std::array::from_fn(|u| frequency(&block, v, u)));
        for (y, x) in (0..n).flat_map(|y| (0..n).map(move |x| (y, x))) {
            let level: f64 = (0..n)
                .flat_map(|v| (0..n).map(move |u| (v, u)))
                .map(|(v, u)| frequencies[v][u] * cosine(v, y, n) * cosine(u, x, n))
                .sum();
            reduced[(row * n + y) * (stride / 8 * n) + column * n + x] =
                level.round().clamp(0.0, 255.0) as u8;
        }
    }
    reduced
}

/// T.81 A.3.3, FDCT.
fn frequency(block: &[[f64; 8]; 8], v: usize, u: usize) -> f64 {
    let terms = (0..8).flat_map(|y| (0..8).map(move |x| (y, x)));
    terms
        .map(|(y, x)| block[y][x] * cosine(v, y, 8) * cosine(u, x, 8))
        .sum()
}

fn cosine(frequency: usize, at: usize, n: usize) -> f64 {
    let weight = if frequency == 0 {
        0.125_f64.sqrt()
    } else {
        0.5
    };
    weight * ((2 * at + 1) as f64 * frequency as f64 * std::f64::consts::PI / (2 * n) as f64).cos()
}
