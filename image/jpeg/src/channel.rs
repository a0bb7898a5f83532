//! A component on its way from entropy-coded data to samples, some MCUs of a row at a time.

use crate::Error;
use crate::ac::AcTable;
use crate::bits::Bits;
use crate::block::{Block, ZIGZAG};
use crate::header::{Component, Stream};
use crate::huffman::DcTable;
use crate::idct::{Basis, Batch, LANES, Line};
use crate::planes::{Plane, Scale};
use std::ops::Range;
use std::rc::Rc;

pub struct Channel {
    codes: Rc<Codes>,
    /// Of the quantisation, in the order of a block.
    steps: [f32; 64],
    /// In an MCU, across and down.
    blocks: (usize, usize),
    /// The last block's DC coefficient.
    predictor: i32,
    /// One for each scale.
    planes: Vec<Plane>,
    /// Of the MCUs under way, [`LANES`] at most: row by row.
    batches: Vec<Batch>,
}

struct Codes {
    dc: DcTable,
    ac: AcTable,
}

/// One for each component, with its plane of those at each scale.
pub fn channels(
    stream: &Stream<'_>,
    scales: &[Scale],
    planes: Vec<Vec<Plane>>,
) -> Result<Vec<Channel>, Error> {
    let most = scales.iter().max_by_key(|scale| scale.samples_per_block());
    let most = most.copied().unwrap_or(Scale::FULL);
    let mut planes: Vec<_> = planes.into_iter().map(Vec::into_iter).collect();
    let mut channels: Vec<Channel> = Vec::new();
    for component in &stream.components {
        let blocks = match channels.is_empty() {
            true => stream.header.sampling.luma_blocks(),
            false => (1, 1),
        };
        channels.push(Channel {
            codes: codes(component, stream, most, &channels)?,
            steps: steps(&component.steps),
            blocks,
            predictor: 0,
            planes: planes.iter_mut().filter_map(Iterator::next).collect(),
            batches: vec![[[0; LANES]; 128]; blocks.0 * blocks.1],
        });
    }
    Ok(channels)
}

/// Both components of colour usually have the same codes, whose tables take a while to make.
fn codes(
    component: &Component<'_>,
    stream: &Stream<'_>,
    scale: Scale,
    made: &[Channel],
) -> Result<Rc<Codes>, Error> {
    let listings = (component.dc, component.ac);
    let mut others = stream.components.iter().zip(made);
    match others.find(|(other, _)| (other.dc, other.ac) == listings) {
        Some((_, channel)) => Ok(Rc::clone(&channel.codes)),
        None => Ok(Rc::new(Codes {
            dc: DcTable::new(component.dc)?,
            ac: AcTable::new(component.ac, scale)?,
        })),
    }
}

fn steps(quantisation: &[u16; 64]) -> [f32; 64] {
    let mut steps = [0.0; 64];
    for (&place, &step) in ZIGZAG.iter().zip(quantisation) {
        steps[usize::from(place)] = f32::from(step);
    }
    steps
}

/// Takes the MCUs of `slots`, of which a row has [`LANES`] under way.
#[inline(always)]
pub fn fill<const N: usize>(
    channels: &mut [Channel],
    bits: &mut Bits<'_>,
    slots: Range<usize>,
) -> Result<(), Error> {
    let mut here = *bits;
    for slot in slots {
        for channel in &mut *channels {
            channel.mcu::<N>(&mut here, slot)?;
        }
    }
    *bits = here;
    Ok(())
}

impl Channel {
    /// T.81 F.2.1.3.1: nothing before a restart marker counts behind it.
    pub fn restart(&mut self) {
        self.predictor = 0;
    }

    pub fn into_planes(self) -> Vec<Plane> {
        self.planes
    }

    /// Fills the lanes of one MCU's blocks.
    #[inline(always)]
    fn mcu<const N: usize>(&mut self, bits: &mut Bits<'_>, slot: usize) -> Result<(), Error> {
        let (across, down) = self.blocks;
        for y in 0..down {
            for x in slot * across..(slot + 1) * across {
                bits.refill();
                let difference = self.codes.dc.difference(bits)?;
                self.predictor = self.predictor.wrapping_add(difference);
                let mut block = Block {
                    batch: &mut self.batches[y * across + x / LANES],
                    lane: x % LANES,
                };
                block.put(0, self.predictor as i16);
                self.codes.ac.fill::<N>(bits, &mut block)?;
            }
        }
        Ok(())
    }

    /// Writes the samples of the MCUs under way, up to the one before `behind`, to one plane.
    #[inline(always)]
    pub fn store<const N: usize>(
        &mut self,
        plane: usize,
        basis: &Basis<N>,
        (behind, row): (usize, usize),
    ) {
        let (across, down) = self.blocks;
        let plane = &mut self.planes[plane];
        let first = (behind - 1) / LANES * LANES * across;
        for (at, batch) in self.batches.iter().enumerate() {
            let from = first + at % across * LANES;
            let blocks = (behind * across).saturating_sub(from).min(LANES);
            if blocks == 0 {
                continue;
            }
            let mut lines = [[0; LANES]; N];
            basis.lines(batch, &self.steps, &mut lines);
            let top = (row * down + at / across) * N;
            for (y, line) in lines.iter().enumerate() {
                let to = &mut plane.samples[(top + y) * plane.stride + from * N..];
                write::<N>(line, &mut to[..blocks * N]);
            }
        }
    }

    /// Forgets the MCUs under way.
    pub fn clear(&mut self) {
        for batch in &mut self.batches {
            batch[..64].fill([0; LANES]);
        }
    }
}

/// Writes `N` samples of each lane, of as many lanes as there is room for.
#[inline(always)]
fn write<const N: usize>(line: &Line, to: &mut [u8]) {
    let (blocks, _) = to.as_chunks_mut::<N>();
    let copy =
        |(samples, word): (&mut [u8; N], &u64)| samples.copy_from_slice(&word.to_le_bytes()[..N]);
    match <&mut [[u8; N]; LANES]>::try_from(&mut *blocks) {
        Ok(all) => all.iter_mut().zip(line).for_each(copy),
        Err(_) => blocks.iter_mut().zip(line).for_each(copy),
    }
}
