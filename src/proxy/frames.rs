//! Where one frame of a WebSocket ends and the next begins: RFC 6455 §5.2. Pure.

/// Says "I go away" to a client: a Close with 1001. §7.4.1.
pub const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];
/// The same to a server, masked, as clients do it; by zeros, for there is nothing to hide.
pub const GOING_AWAY_MASKED: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

/// Asks a client whether it is there: a Ping, which it answers by a Pong. §5.5.2.
pub const PING: [u8; 2] = [0x89, 0];
/// The same to a server.
pub const PING_MASKED: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];

const CLOSE: u8 = 8;

/// The frames that have passed one way.
#[derive(Default)]
pub struct Frames {
    /// The present frame's head, as far as it has come: two bytes, up to eight of length, four of mask.
    head: [u8; 14],
    came: usize,
    /// Bytes of the present frame after its head.
    left: u64,
    closed: bool,
}

impl Frames {
    /// These bytes pass.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let body = bytes
                    .len()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= body as u64;
                bytes = &bytes[body..];
                continue;
            }
            self.head[self.came] = *first;
            self.came += 1;
            bytes = rest;
            if self.came >= 2 && self.came == self.length_of_head() {
                self.left = self.length_of_body();
                self.closed |= self.head[0] & 0x0f == CLOSE;
                self.came = 0;
            }
        }
    }

    /// Whether another frame may be put in here: control frames may, even between the parts of a
    /// message. §5.4.
    pub fn is_between(&self) -> bool {
        self.came == 0 && self.left == 0
    }

    /// Whether this side has said that it closes.
    pub fn closed(&self) -> bool {
        self.closed
    }

    fn length_of_head(&self) -> usize {
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    fn length_of_body(&self) -> u64 {
        let longer = |bytes: &[u8]| bytes.iter().fold(0, |sum, b| sum << 8 | u64::from(*b));
        match self.head[1] & 0x7f {
            126 => longer(&self.head[2..4]),
            127 => longer(&self.head[2..10]),
            short => short.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            ..126 => frame.push(mask | length as u8),
            126..65536 => {
                frame.push(mask | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.resize(frame.len() + length + if masked { 4 } else { 0 }, 0xff);
        frame
    }

    proptest! {
        /// However the bytes are cut, it is between frames exactly where one ends.
        #[test]
        fn ends_are_where_frames_end(
            frames in proptest::collection::vec(
                (prop_oneof![Just(1u8), Just(2), Just(9)],
                 prop_oneof![0usize..130, 65_530usize..65_540], any::<bool>()), 1..6),
            cut in 1usize..70_000,
        ) {
            let (mut seen, mut all, mut ends) = (Frames::default(), Vec::new(), Vec::new());
            for (opcode, length, masked) in frames {
                all.extend(frame(opcode, length, masked));
                ends.push(all.len());
            }
            let mut passed = 0;
            for part in all.chunks(cut) {
                seen.pass(part);
                passed += part.len();
                prop_assert_eq!(seen.is_between(), ends.contains(&passed));
            }
            prop_assert!(!seen.closed());
            seen.pass(&frame(CLOSE, 2, true)[..3]);
            prop_assert!(!seen.closed());
            seen.pass(&GOING_AWAY_MASKED[3..]);
            prop_assert!(seen.closed() && seen.is_between());
        }
    }

    #[test]
    fn what_is_asked_is_one_frame() {
        for said in [&PING[..], &PING_MASKED] {
            let mut seen = Frames::default();
            seen.pass(said);
            assert!(seen.is_between() && !seen.closed());
        }
    }

    #[test]
    fn what_is_said_is_one_frame() {
        for said in [&GOING_AWAY[..], &GOING_AWAY_MASKED] {
            let mut seen = Frames::default();
            seen.pass(&said[..said.len() - 1]);
            assert!(!seen.is_between());
            seen.pass(&said[said.len() - 1..]);
            assert!(seen.is_between() && seen.closed());
        }
    }
}
