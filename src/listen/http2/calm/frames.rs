//! Where the frames of a connection begin, and what each costs: RFC 9113 §4.1. Pure.

use super::budget::{IDLE, LIGHT};
use bytes::Buf;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const HEAD: usize = 9;
const PREFACE: usize = 24;

pub struct Frames {
    head: [u8; HEAD],
    came: usize,
    /// Bytes until the next head.
    left: usize,
    /// A request's head has begun, and CONTINUATION is to follow. §6.10.
    goes_on: bool,
    /// How often something has ended that is awaited to its end.
    ended: u64,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames {
            head: [0; HEAD],
            came: 0,
            left: PREFACE,
            goes_on: false,
            ended: 0,
        }
    }
}

impl Frames {
    /// These bytes have come; what their frames cost. `cancelled`: is told each stream that its client resets.
    pub fn pass(&mut self, mut bytes: &[u8], mut cancelled: impl FnMut(u32)) -> u64 {
        let mut cost = 0;
        while !bytes.is_empty() {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes.advance(skipped);
            let taken = (HEAD - self.came).min(bytes.len());
            self.head[self.came..self.came + taken].copy_from_slice(&bytes[..taken]);
            self.came += taken;
            bytes.advance(taken);
            if self.came == HEAD {
                let [a, b, c, kind, flags, stream @ ..] = self.head;
                (self.came, self.left) = (0, u32::from_be_bytes([0, a, b, c]) as usize);
                if kind == HEADERS || kind == CONTINUATION {
                    self.goes_on = flags & END_HEADERS == 0;
                }
                if kind == RST_STREAM {
                    // Without its first bit: RFC 9113 §4.1.
                    cancelled(u32::from_be_bytes(stream) & !(1 << 31));
                }
                self.ended += u64::from(!self.goes_on);
                cost += cost_of(kind, flags, self.left);
            }
        }
        cost
    }

    /// The number of what has begun and not ended, if that is no DATA: what a body may take is another
    /// matter, and so is the preface, which was awaited before.
    pub fn unfinished(&self) -> Option<u64> {
        let in_frame = self.left > 0 && self.head[3] != DATA;
        (self.came > 0 || in_frame || self.goes_on).then_some(self.ended)
    }
}

/// By what the edge does for it; a request has bounds of its own.
fn cost_of(kind: u8, flags: u8, length: usize) -> u64 {
    match kind {
        DATA if length == 0 && flags & END_STREAM == 0 => IDLE,
        PRIORITY | SETTINGS | PING => IDLE,
        WINDOW_UPDATE | RST_STREAM => LIGHT,
        kind if kind > CONTINUATION => IDLE,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = (length as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.resize(frame.len() + length, kind);
        frame
    }

    proptest! {
        /// However the bytes are cut, and whatever is in them.
        #[test]
        fn each_is_counted_once(
            frames in proptest::collection::vec((0u8..12, 0u8..2, 0usize..300), 0..30),
            cut in 1usize..400,
        ) {
            let (mut sent, mut cost, mut resets) = (vec![0; PREFACE], 0, 0);
            for (kind, flags, length) in frames {
                sent.extend(frame(kind, flags, length));
                cost += cost_of(kind, flags, length);
                resets += u32::from(kind == RST_STREAM);
            }
            let (mut seen, mut cancelled) = (Frames::default(), 0);
            // All of them are of the first stream.
            let parts = sent.chunks(cut);
            let counted: u64 = parts.map(|part| seen.pass(part, |stream| cancelled += stream)).sum();
            prop_assert_eq!((counted, cancelled), (cost, resets));
        }
    }

    #[test]
    fn a_frame_costs_by_what_is_done_for_it() {
        for (kind, flags, length, cost) in [
            (DATA, 0, 1, 0),
            (DATA, END_STREAM, 0, 0),
            (HEADERS, 0, 9, 0),
            (CONTINUATION, 0, 0, 0),
            (WINDOW_UPDATE, 0, 4, LIGHT),
            (RST_STREAM, 0, 4, LIGHT),
            (DATA, 0, 0, IDLE),
            (PING, 0, 8, IDLE),
            (PING, 1, 8, IDLE),
            (SETTINGS, 0, 0, IDLE),
            (0x21, 0, 1, IDLE),
        ] {
            assert_eq!(cost_of(kind, flags, length), cost, "{kind}");
        }
    }
}
