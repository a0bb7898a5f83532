//! The sizes that an AV1 bitstream says it has, whatever the container around it says: the decoder
//! allocates by them, and libavif doesn't bound them for libaom.

use crate::size::Size;

const SEQUENCE_HEADER: u8 = 1;

/// The largest size of every sequence in `stream`, which is OBUs one behind the other (AV1
/// specification §5.3). `None` where it isn't, or where a sequence has timing, as a still has not.
pub fn sizes(mut stream: &[u8]) -> Option<Vec<Size>> {
    let mut sizes = Vec::new();
    while let Some((&head, mut rest)) = stream.split_first() {
        let (is_forbidden, has_extension) = (head & 0x80 != 0, head & 4 != 0);
        if is_forbidden {
            return None;
        }
        if has_extension {
            rest = rest.get(1..)?;
        }
        let length = if head & 2 == 0 {
            rest.len()
        } else {
            leb128(&mut rest)?
        };
        let (payload, after) = rest.split_at_checked(length)?;
        if head >> 3 == SEQUENCE_HEADER {
            sizes.push(sequence_size(Bits {
                bytes: payload,
                at: 0,
            })?);
        }
        stream = after;
    }
    Some(sizes)
}

/// §4.10.5.
fn leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0usize;
    for at in 0..4 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// §5.5.1, up to the size.
fn sequence_size(mut bits: Bits<'_>) -> Option<Size> {
    let (_profile, _is_still) = (bits.read(3)?, bits.read(1)?);
    let is_reduced = bits.read(1)? == 1;
    if is_reduced {
        bits.read(5)?;
    } else {
        operating_points(&mut bits)?;
    }
    let (width_bits, height_bits) = (bits.read(4)? + 1, bits.read(4)? + 1);
    Some(Size::new(
        bits.read(width_bits)? + 1,
        bits.read(height_bits)? + 1,
    ))
}

fn operating_points(bits: &mut Bits<'_>) -> Option<()> {
    let has_timing = bits.read(1)? == 1;
    if has_timing {
        return None;
    }
    let has_delays = bits.read(1)? == 1;
    for _ in 0..=bits.read(5)? {
        bits.read(12)?;
        let level = bits.read(5)?;
        if level > 7 {
            bits.read(1)?;
        }
        if has_delays && bits.read(1)? == 1 {
            bits.read(4)?;
        }
    }
    Some(())
}

/// From the highest bit of each byte on.
struct Bits<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Bits<'_> {
    /// `count` is 16 at most.
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A reduced still picture's header with sides of 16 bits.
    fn still(width: u16, height: u16) -> Vec<u8> {
        let mut bits = vec![0u8, 0, 0, 1, 1, 0, 0, 0, 0, 0];
        bits.extend([1; 8]);
        for side in [width, height] {
            bits.extend((0..16).rev().map(|at| (side >> at & 1) as u8));
        }
        let bytes = bits.chunks(8).map(|bits| {
            bits.iter()
                .enumerate()
                .fold(0, |byte, (at, bit)| byte | bit << (7 - at))
        });
        let payload: Vec<u8> = bytes.collect();
        [&[0x0A, payload.len() as u8], payload.as_slice()].concat()
    }

    #[test]
    fn every_sequence_is_found() {
        let temporal_delimiter = [0x12, 0];
        let stream = [
            &temporal_delimiter[..],
            &still(159, 119),
            &still(29_999, 65_535),
        ]
        .concat();
        let expected = vec![Size::new(160, 120), Size::new(30_000, 65_536)];
        assert_eq!(sizes(&stream), Some(expected));
        assert_eq!(sizes(&stream[..stream.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            let _ = sizes(&bytes);
        }
    }
}
