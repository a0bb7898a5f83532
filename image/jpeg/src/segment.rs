//! Entropy-coded segments, freed of byte stuffing (T.81 B.1.1.5, F.1.2.3).

use crate::Error;
use crate::bits::Bits;

/// What is left of the stream, from inside its entropy-coded data.
pub struct Stuffed<'j> {
    pub rest: &'j [u8],
}

impl Stuffed<'_> {
    /// Moves everything up to the next marker into `plain`, zeros as [`Bits`] needs them behind
    /// it, and gives the marker.
    pub fn next_segment(&mut self, plain: &mut Vec<u8>) -> Result<u8, Error> {
        plain.clear();
        loop {
            let run = until_ff(self.rest);
            plain.extend_from_slice(&self.rest[..run]);
            let behind = &self.rest[run..];
            // Any number of 0xFF may fill up before a marker's own, and before a stuffed zero as
            // libjpeg reads it.
            let fill = behind.iter().take_while(|&&byte| byte == 0xFF).count();
            let &code = behind.get(fill).ok_or(Error::Damaged("it ends early"))?;
            self.rest = &behind[fill + 1..];
            if code != 0 {
                plain.extend_from_slice(&[0; Bits::PADDING]);
                return Ok(code);
            }
            plain.push(0xFF);
        }
    }
}

/// How many bytes come before the first 0xFF.
fn until_ff(bytes: &[u8]) -> usize {
    let (blocks, _) = bytes.as_chunks::<32>();
    let clean = |block: &&[u8; 32]| {
        !block
            .iter()
            .fold(false, |found, &byte| found | (byte == 0xFF))
    };
    let start = blocks.iter().take_while(clean).count() * 32;
    let rest = &bytes[start..];
    start
        + rest
            .iter()
            .position(|&byte| byte == 0xFF)
            .unwrap_or(rest.len())
}
