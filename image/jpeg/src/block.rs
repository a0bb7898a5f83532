//! The coefficients of one block (T.81 F.2.2).

use crate::Error;
use crate::ac::{AcTable, END};
use crate::bits::Bits;
use crate::idct::{Batch, LANES};

/// One block's lane of a batch.
pub struct Block<'b> {
    pub batch: &'b mut Batch,
    pub lane: usize,
}

impl Block<'_> {
    /// Writes the coefficient at a place of the zigzag.
    #[inline(always)]
    pub fn put(&mut self, at: usize, value: i16) {
        let place = usize::from(PLACES[at % PLACES.len()]);
        self.batch[place % self.batch.len()][self.lane % LANES] = value;
    }

    /// The same, but nowhere outside the block. Gives the place behind it.
    #[inline(always)]
    fn put_checked(&mut self, at: usize, value: i16) -> Result<usize, Error> {
        if at >= 64 {
            return Err(Error::Damaged("a coefficient outside its block"));
        }
        self.put(at, value);
        Ok(at + 1)
    }
}

impl AcTable {
    /// Fills the block with what counts at `N` × `N` samples, and takes the rest of it.
    #[inline(always)]
    pub fn fill<const N: usize>(
        &self,
        bits: &mut Bits<'_>,
        block: &mut Block<'_>,
    ) -> Result<(), Error> {
        let mut next = 1;
        while next <= const { last_needed(N) } {
            let pair = self.pair(bits);
            if pair.bits() == 0 {
                next = match pair.long(bits) {
                    Some((run, value)) => block.put_checked(next + run, value)?,
                    None => self.one(bits, block, next)?,
                };
                bits.refill();
                continue;
            }
            for (place, value) in pair.places().into_iter().zip(pair.values()) {
                block.put(next + place, value);
            }
            let behind = next + pair.advance();
            if behind >= 64 {
                return self.leave(bits, block, next, behind, pair.bits());
            }
            bits.consume(pair.bits());
            bits.refill();
            next = behind;
        }
        self.skip(bits, block, next)
    }

    /// Steps over the rest of a block.
    #[inline(always)]
    fn skip(
        &self,
        bits: &mut Bits<'_>,
        block: &mut Block<'_>,
        mut next: usize,
    ) -> Result<(), Error> {
        while next < 64 {
            let Some(skip) = self.several(bits) else {
                next = self.one(bits, block, next)?;
                continue;
            };
            let behind = next + skip.advance();
            if behind >= 64 {
                return self.leave(bits, block, next, behind, skip.bits());
            }
            bits.consume(skip.bits());
            bits.refill();
            next = behind;
        }
        Ok(())
    }

    /// Takes the `count` bits that lead from `next` to `behind` if the block ends there: by its last
    /// place, or by an end code before that. Else some of them belong to the next block, and the
    /// coefficients are taken one by one.
    #[inline(always)]
    fn leave(
        &self,
        bits: &mut Bits<'_>,
        block: &mut Block<'_>,
        mut next: usize,
        behind: usize,
        count: u32,
    ) -> Result<(), Error> {
        if behind == 64 || (behind > END && behind < END + 64) {
            bits.consume(count);
            return Ok(());
        }
        while next < 64 {
            next = self.one(bits, block, next)?;
        }
        Ok(())
    }

    /// One coefficient, however long. Gives the place behind it, or [`END`] if it was the end of
    /// the block.
    #[inline(always)]
    fn one(&self, bits: &mut Bits<'_>, block: &mut Block<'_>, next: usize) -> Result<usize, Error> {
        let coefficient;
        (coefficient, *bits) = self.coefficient(*bits)?;
        let Some((run, value)) = coefficient else {
            return Ok(END);
        };
        block.put_checked(next + run, value)
    }
}

/// T.81 Figure A.6: places of a block's rows in zigzag order.
pub const ZIGZAG: [u8; 64] = zigzag();

const fn zigzag() -> [u8; 64] {
    let mut order = [0; 64];
    let (mut at, mut diagonal) = (0, 0);
    while diagonal < 15 {
        let mut along = 0;
        while along <= diagonal {
            // Odd diagonals go down, even ones up.
            let row = if diagonal % 2 == 1 {
                along
            } else {
                diagonal - along
            };
            let column = diagonal - row;
            if row < 8 && column < 8 {
                order[at] = (8 * row + column) as u8;
                at += 1;
            }
            along += 1;
        }
        diagonal += 1;
    }
    order
}

/// The same, and one beside the block for places that would lie behind.
const PLACES: [u8; 128] = {
    let mut places = [64; 128];
    let mut at = 0;
    while at < 64 {
        places[at] = ZIGZAG[at];
        at += 1;
    }
    places
};

/// The last place of the zigzag that lies in the lowest `n` × `n` frequencies.
const fn last_needed(n: usize) -> usize {
    let mut last = 0;
    while ZIGZAG[last] as usize != 9 * (n - 1) {
        last += 1;
    }
    last
}
