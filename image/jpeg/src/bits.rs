//! Bits of entropy-coded data, most significant first (T.81 F.2.2.5), byte stuffing removed.

/// Bits that can be looked at after [`Bits::refill`], at least.
pub const FILLED: u64 = 56;

/// A window of 64 bits over the data. Behind the data's end come zeros without end, so that no
/// read can fail; [`Bits::position`] tells whether it went too far.
#[derive(Clone, Copy)]
pub struct Bits<'d> {
    rest: &'d [u8],
    /// The next bits, at its top. Below the `held` ones may be a part of `rest`'s first byte.
    window: u64,
    held: u64,
    /// Bytes of zeros taken from behind the end.
    beyond: usize,
    len: usize,
}

impl<'d> Bits<'d> {
    /// Reads whole words, so the last [`Bits::PADDING`] bytes of `data` must be zeros that aren't
    /// part of it.
    pub fn new(data: &'d [u8]) -> Self {
        Self {
            rest: data,
            window: 0,
            held: 0,
            beyond: 0,
            len: data.len(),
        }
    }

    pub const PADDING: usize = 8;

    /// Without a branch but for the end: as many whole bytes are taken as fit, and the rest of the
    /// word is or-ed in again next time.
    #[inline(always)]
    pub fn refill(&mut self) {
        let taken = (63 - self.held) as usize >> 3;
        match self.rest.first_chunk::<8>() {
            Some(word) => {
                self.window |= u64::from_be_bytes(*word) >> self.held;
                self.rest = &self.rest[taken & 7..];
            }
            None => self.beyond = self.beyond.saturating_add(taken),
        }
        self.held |= FILLED;
    }

    /// The next `count` bits; 1 ≤ `count` ≤ 16.
    #[inline(always)]
    pub fn peek(&self, count: u32) -> usize {
        (self.window >> (64 - count)) as usize
    }

    /// At most as many as are held.
    #[inline(always)]
    pub fn consume(&mut self, count: u32) {
        self.window <<= count & 63;
        self.held = self.held.wrapping_sub(u64::from(count));
    }

    /// Takes a value of `size` bits as T.81 F.2.2.1 extends it: half of them negative. `size` ≤ 15.
    #[inline(always)]
    pub fn value(&mut self, size: u32) -> i32 {
        let raw = (self.window >> 1 >> (63 - size)) as i32;
        self.consume(size);
        extend(raw, size)
    }

    /// Bits consumed, those behind the end included.
    pub fn position(&self) -> usize {
        (self.len - self.rest.len() + self.beyond) * 8 - self.held as usize
    }
}

/// T.81 F.2.2.1, EXTEND.
#[inline(always)]
pub fn extend(raw: i32, size: u32) -> i32 {
    let half = (1 << size) >> 1;
    if raw < half {
        raw - (1 << size) + 1
    } else {
        raw
    }
}
