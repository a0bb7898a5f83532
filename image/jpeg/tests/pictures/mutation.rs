//! Damage to JPEGs, as a stream of random numbers decides.

use crate::pictures::{self, Picture, Random, SUBSAMPLINGS, jpeg, jpeg_with_restarts};

/// Small JPEGs of every supported kind, and two of others.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (at, subsamp) in SUBSAMPLINGS.into_iter().enumerate() {
        let picture = Picture::photo(33 + at, 27, at as u64);
        seeds.push(jpeg(&picture, 60 + 8 * at as i32, subsamp, at % 2 == 0));
        seeds.push(jpeg_with_restarts(&picture, subsamp, 1 + at as i32));
    }
    seeds.push(jpeg(&Picture::noise(17, 40, 7), 100, SUBSAMPLINGS[3], true));
    seeds.push(pictures::progressive(&Picture::photo(20, 20, 1)));
    seeds.push(pictures::arithmetic(&Picture::photo(20, 20, 1)));
    seeds
}

/// Up to eight changes: bits, bytes, markers, and runs cut out, repeated or cut off.
pub fn mutate(jpeg: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(8) {
        if jpeg.len() < 4 {
            return;
        }
        let at = random.below(jpeg.len());
        let run = at..jpeg.len().min(at + 1 + random.below(24));
        match random.below(16) {
            0..4 => jpeg[at] ^= 1 << random.below(8),
            4..8 => jpeg[at] = random.byte(),
            8..10 => jpeg[at] = [0, 1, 0x7F, 0x80, 0xFE, 0xFF][random.below(6)],
            10 => drop(jpeg.splice(at..at, [0xFF, random.byte()])),
            11 => drop(jpeg.splice(at..at, [0xFF, 0xC0 | random.byte() & 0x3F])),
            12 => drop(jpeg.drain(run)),
            13 => jpeg.extend_from_within(run),
            14 => jpeg
                .splice(at..at, vec![random.byte(); run.len()])
                .for_each(drop),
            _ if random.below(8) == 0 => jpeg.truncate(at),
            _ => jpeg.swap(at, run.end - 1),
        }
    }
}
