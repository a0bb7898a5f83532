//! Huffman codes, and the tables that answer them several at a time (T.81 Annex C, F.2.2).

use crate::Error;
use crate::bits::{Bits, extend};

/// Bits that index the tables. Twelve hold nearly every code with its value, often two.
pub const WIDTH: u32 = 12;
pub const ENTRIES: usize = 1 << WIDTH;

/// A table as a DHT segment lists it: how many codes there are of each length, and their symbols.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Listing<'j> {
    pub counts: &'j [u8; 16],
    pub symbols: &'j [u8],
}

/// One code: how long it is, and what it stands for.
#[derive(Clone, Copy, Default)]
pub struct Symbol {
    /// 0 where no code begins with these bits, or none as short as the table is wide.
    pub length: u8,
    pub symbol: u8,
}

/// The canonical code, of any length up to 16 bits (T.81 F.2.2.3).
pub struct Code {
    /// By length: the first 16 bits from which on no code is as short.
    limits: [u32; 17],
    /// By length: what to add to a code for its place in `symbols`, modulo 2³².
    offsets: [u32; 17],
    symbols: [u8; 256],
}

impl Code {
    pub fn new(listing: Listing<'_>) -> Result<Self, Error> {
        let mut code = Self {
            limits: [0; 17],
            offsets: [0; 17],
            symbols: [0; 256],
        };
        let symbols = code.symbols.get_mut(..listing.symbols.len());
        symbols.ok_or(TABLE)?.copy_from_slice(listing.symbols);
        let (mut next, mut listed) = (0_u32, 0_u32);
        for (length, &count) in (1_u32..).zip(listing.counts) {
            code.offsets[length as usize] = listed.wrapping_sub(next);
            (next, listed) = (next + u32::from(count), listed + u32::from(count));
            if next > 1 << length {
                return Err(TABLE);
            }
            code.limits[length as usize] = next << (16 - length);
            next <<= 1;
        }
        if listed as usize != listing.symbols.len() {
            return Err(TABLE);
        }
        Ok(code)
    }

    /// Takes one symbol, bit by bit.
    pub fn symbol(&self, bits: &mut Bits<'_>) -> Result<u8, Error> {
        let ahead = bits.peek(16) as u32;
        let length = (1..=16)
            .find(|&length| ahead < self.limits[length])
            .ok_or(CODE)?;
        bits.consume(length as u32);
        let place = (ahead >> (16 - length)).wrapping_add(self.offsets[length]);
        Ok(self.symbols[(place & 255) as usize])
    }

    /// Every symbol whose code is no longer than the table is wide, under all bits it begins.
    pub fn symbols_by_bits(&self) -> Box<[Symbol; ENTRIES]> {
        let mut table = boxed(Symbol::default());
        let mut from = 0;
        for length in 1..=WIDTH {
            let to = self.limits[length as usize] as usize >> (16 - WIDTH);
            for (bits, entry) in table.iter_mut().enumerate().take(to).skip(from) {
                let code = bits as u32 >> (WIDTH - length);
                let place = code.wrapping_add(self.offsets[length as usize]);
                let symbol = self.symbols[(place & 255) as usize];
                *entry = Symbol {
                    length: length as u8,
                    symbol,
                };
            }
            from = from.max(to);
        }
        table
    }
}

/// Differences of DC coefficients (T.81 F.2.2.1).
pub struct DcTable {
    code: Code,
    /// Bits of code and value in the low byte, the difference above; 0 if they don't fit.
    entries: Box<[u32; ENTRIES]>,
}

impl DcTable {
    pub fn new(listing: Listing<'_>) -> Result<Self, Error> {
        if listing.symbols.iter().any(|&size| size > 15) {
            return Err(TABLE);
        }
        let code = Code::new(listing)?;
        let mut entries = boxed(0);
        for (bits, (entry, found)) in entries
            .iter_mut()
            .zip(code.symbols_by_bits().iter())
            .enumerate()
        {
            let (length, size) = (u32::from(found.length), u32::from(found.symbol));
            if length > 0 && length + size <= WIDTH {
                let difference = value_in(bits, length, size) as u32;
                *entry = (length + size) | (difference << 8);
            }
        }
        Ok(Self { code, entries })
    }

    /// Takes one difference; `bits` must be just refilled. Leaves at least 44 bits.
    #[inline(always)]
    pub fn difference(&self, bits: &mut Bits<'_>) -> Result<i32, Error> {
        let entry = self.entries[bits.peek(WIDTH)];
        if entry == 0 {
            let difference;
            (difference, *bits) = self.long_difference(*bits)?;
            return Ok(difference);
        }
        bits.consume(entry & 255);
        Ok(entry as i32 >> 8)
    }

    #[inline(never)]
    fn long_difference<'d>(&self, mut bits: Bits<'d>) -> Result<(i32, Bits<'d>), Error> {
        let size = u32::from(self.code.symbol(&mut bits)?);
        let difference = bits.value(size);
        bits.refill();
        Ok((difference, bits))
    }
}

/// The value of `size` bits behind the first `taken` of the table's.
pub fn value_in(bits: usize, taken: u32, size: u32) -> i32 {
    let raw = (bits >> (WIDTH - taken - size)) & ((1 << size) - 1);
    extend(raw as i32, size)
}

pub fn fill<T>(table: &mut [T; ENTRIES], entry: impl Fn(usize) -> T) {
    for (bits, slot) in table.iter_mut().enumerate() {
        *slot = entry(bits);
    }
}

pub fn boxed<T: Copy>(entry: T) -> Box<[T; ENTRIES]> {
    let entries = vec![entry; ENTRIES].into_boxed_slice();
    entries
        .try_into()
        .unwrap_or_else(|_| unreachable!("as many as asked for"))
}

const TABLE: Error = Error::Damaged("a Huffman table is no code");
const CODE: Error = Error::Damaged("bits that are no Huffman code");
