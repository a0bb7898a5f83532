//! AC coefficients, several at a time (T.81 F.2.2.2).

use crate::Error;
use crate::bits::Bits;
use crate::huffman::{Code, ENTRIES, Listing, Symbol, WIDTH, boxed, fill, value_in};
use crate::planes::Scale;

/// Added to an advance where the block ends: more than any position in it.
pub const END: usize = 128;

/// What any bits say of the coefficients they begin.
pub struct AcTable {
    code: Code,
    pairs: Box<[Pair; ENTRIES]>,
    skips: Box<[Skip; ENTRIES]>,
}

/// Up to two coefficients, and the end of the block if it follows within the table's width.
#[derive(Clone, Copy, Default)]
pub struct Pair(u64);

/// As many coefficients as the table's width shows, as something to step over.
#[derive(Clone, Copy, Default)]
pub struct Skip(u16);

impl AcTable {
    /// For decoding to `scale`: what that doesn't use is left empty.
    pub fn new(listing: Listing<'_>, scale: Scale) -> Result<Self, Error> {
        let code = Code::new(listing)?;
        let symbols = code.symbols_by_bits();
        let (mut pairs, mut skips) = (boxed(Pair::default()), boxed(Skip::default()));
        if scale.samples_per_block() > 1 {
            fill(&mut pairs, |bits| Pair::ahead(bits, &symbols));
        }
        if scale.samples_per_block() < 8 {
            fill(&mut skips, |bits| Skip::ahead(bits, &symbols));
        }
        Ok(Self { code, pairs, skips })
    }

    #[inline(always)]
    pub fn pair(&self, bits: &Bits<'_>) -> Pair {
        self.pairs[bits.peek(WIDTH)]
    }

    #[inline(always)]
    pub fn several(&self, bits: &Bits<'_>) -> Option<Skip> {
        let skip = self.skips[bits.peek(WIDTH)];
        (skip.0 != 0).then_some(skip)
    }

    /// Takes one coefficient, whatever its length: the zeros before it and its value; none at the
    /// end of the block. Leaves `bits` refilled.
    ///
    /// The bits come and go by value, here as in [`DcTable`], so that those of the caller's loop
    /// stay in registers.
    #[inline(never)]
    pub fn coefficient<'d>(
        &self,
        mut bits: Bits<'d>,
    ) -> Result<(Option<(usize, i16)>, Bits<'d>), Error> {
        bits.refill();
        let coefficient = match Ac::of(self.code.symbol(&mut bits)?) {
            Ac::Coefficient { run, size } => Some((run, bits.value(size) as i16)),
            Ac::EndOfBlock => None,
        };
        bits.refill();
        Ok((coefficient, bits))
    }
}

impl Pair {
    /// From the low end, in bytes: bits taken, place of the first and of the second coefficient
    /// behind the block's next one, advance; then the two values. A missing coefficient is a zero
    /// where a zero is anyway. If the first one's value is too long for the table there are no bits
    /// to take, but the length of its code, its run and its size.
    fn ahead(bits: usize, symbols: &[Symbol; ENTRIES]) -> Self {
        let (mut taken, mut advance, mut found) = (0, 0, 0);
        let (mut places, mut values) = ([0; 2], [0; 2]);
        while let Some((length, ac)) = next_ac(bits, taken, symbols) {
            let Ac::Coefficient { run, size } = ac else {
                (taken, advance) = (taken + length, advance + END);
                break;
            };
            if found == 0 && length + size > WIDTH {
                return Self(u64::from(length << 8 | size << 16) | (run as u64) << 24);
            }
            if found == 2 || taken + length + size > WIDTH {
                break;
            }
            values[found] = value_in(bits, taken + length, size);
            places[found] = advance + run;
            (taken, advance, found) = (taken + length + size, advance + run + 1, found + 1);
        }
        if found == 1 {
            places[1] = places[0] + 1;
        }
        let low = u64::from(taken) | (places[0] << 8 | places[1] << 16 | advance << 24) as u64;
        Self(low | u64::from(values[0] as u16) << 32 | u64::from(values[1] as u16) << 48)
    }

    #[inline(always)]
    pub fn bits(self) -> u32 {
        (self.0 & 255) as u32
    }

    #[inline(always)]
    pub fn places(self) -> [usize; 2] {
        [self.0 >> 8 & 255, self.0 >> 16 & 255].map(|place| place as usize)
    }

    #[inline(always)]
    pub fn values(self) -> [i16; 2] {
        [(self.0 >> 32) as i16, (self.0 >> 48) as i16]
    }

    /// Of a pair without bits to take: the run and the value of a coefficient that is too long for
    /// the table, which this takes; none if even its code is. `bits` must be just refilled.
    #[inline(always)]
    pub fn long(self, bits: &mut Bits<'_>) -> Option<(usize, i16)> {
        let [_, length, size, run, ..] = self.0.to_le_bytes().map(u32::from);
        bits.consume(length);
        (length != 0).then(|| (run as usize, bits.value(size) as i16))
    }

    /// How many places of the block these are; [`END`] more if the block ends behind them.
    #[inline(always)]
    pub fn advance(self) -> usize {
        (self.0 >> 24 & 255) as usize
    }
}

impl Skip {
    /// Bits taken in the low byte, advance in the high one. A value need not be seen to be skipped.
    fn ahead(bits: usize, symbols: &[Symbol; ENTRIES]) -> Self {
        let (mut taken, mut advance) = (0, 0);
        while let Some((length, ac)) = next_ac(bits, taken, symbols) {
            match ac {
                Ac::EndOfBlock => {
                    (taken, advance) = (taken + length, advance + END);
                    break;
                }
                Ac::Coefficient { run, size } if advance + run < 64 => {
                    (taken, advance) = (taken + length + size, advance + run + 1);
                }
                Ac::Coefficient { .. } => break,
            }
        }
        Self((taken | (advance as u32) << 8) as u16)
    }

    #[inline(always)]
    pub fn bits(self) -> u32 {
        u32::from(self.0 & 255)
    }

    #[inline(always)]
    pub fn advance(self) -> usize {
        usize::from(self.0 >> 8)
    }
}

/// The symbol behind the first `taken` of the table's bits, if all its code is among them.
fn next_ac(bits: usize, taken: u32, symbols: &[Symbol; ENTRIES]) -> Option<(u32, Ac)> {
    if taken >= WIDTH {
        return None;
    }
    let found = symbols[(bits << taken) & (ENTRIES - 1)];
    let length = u32::from(found.length);
    (length > 0 && taken + length <= WIDTH).then(|| (length, Ac::of(found.symbol)))
}

/// A run of zeros and the number of bits of the value behind it; or the end of the block.
#[derive(Clone, Copy)]
enum Ac {
    Coefficient { run: usize, size: u32 },
    EndOfBlock,
}

impl Ac {
    /// T.81 F.1.2.2.1. A run of 16 zeros is as a run of 15 and a value of no bits.
    fn of(symbol: u8) -> Self {
        match (usize::from(symbol >> 4), u32::from(symbol & 15)) {
            (run, 0) if run != 15 => Self::EndOfBlock,
            (run, size) => Self::Coefficient { run, size },
        }
    }
}
