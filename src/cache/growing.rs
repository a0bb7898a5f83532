//! A body of known length that is read while it comes: all its parts lie in one block, so that
//! when it is whole there is nothing to be copied together.

use bytes::Bytes;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;

/// The writing side.
pub struct Growing {
    block: Arc<Block>,
    filled: usize,
}

struct Block(Box<[UnsafeCell<MaybeUninit<u8>>]>);

// SAFETY: the one `Growing` writes to bytes from `filled` on, which no `Part` covers; what a `Part`
// covers was written before the part was made, and is not written again. Whoever has a part got it
// from the thread that made it, by means that order the writing before the reading.
unsafe impl Sync for Block {}

/// Bytes that have come.
struct Part {
    block: Arc<Block>,
    /// Within what was filled when the part was made.
    range: Range<usize>,
}

impl Growing {
    /// Room for `length` bytes. Memory is taken as they come.
    pub fn new(length: usize) -> Growing {
        let block = Box::<[UnsafeCell<MaybeUninit<u8>>]>::new_uninit_slice(length);
        // SAFETY: a cell of what may be uninitialised may itself be.
        let block = Arc::new(Block(unsafe { block.assume_init() }));
        Growing { block, filled: 0 }
    }

    /// Adds `bytes` and gives them back from where they now are. None: there is no room for them.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Bytes> {
        let range = self.filled..self.filled.checked_add(bytes.len())?;
        let room = self.block.0.get(range.clone())?;
        let room = UnsafeCell::raw_get(room.as_ptr());
        // SAFETY: `room` is as long as `bytes`, and by `&mut self` and the invariant of `Block`
        // nobody else touches it; `bytes` can't be part of it, being initialised and borrowed.
        unsafe {
            room.cast::<u8>()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
        self.filled = range.end;
        Some(self.part(range))
    }

    /// All that has come.
    pub fn whole(&self) -> Bytes {
        self.part(0..self.filled)
    }

    fn part(&self, range: Range<usize>) -> Bytes {
        let block = self.block.clone();
        Bytes::from_owner(Part { block, range })
    }
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        let cells = &self.block.0[self.range.clone()];
        let bytes = UnsafeCell::raw_get(cells.as_ptr()).cast::<u8>();
        // SAFETY: these bytes are initialised and never written again, see `Block`; they live as
        // long as `self` holds the block.
        unsafe { std::slice::from_raw_parts(bytes, cells.len()) }
    }
}

/// `make sanitize` runs these under AddressSanitizer.
#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn parts_are_read_by_others_while_more_is_written() {
        let pieces: Vec<Vec<u8>> = (0..200u8).map(|n| vec![n; usize::from(n) * 7]).collect();
        let body = pieces.concat();
        let mut growing = Growing::new(body.len());
        let (senders, readers): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let (sender, parts) = mpsc::channel::<Bytes>();
                let read = move || parts.iter().map(|part| part.to_vec()).collect::<Vec<_>>();
                (sender, std::thread::spawn(read))
            })
            .unzip();
        for piece in &pieces {
            let part = growing.push(piece).expect("there is room");
            for sender in &senders {
                sender.send(part.clone()).expect("it is read");
            }
        }
        drop(senders);
        for reader in readers {
            assert_eq!(reader.join().expect("it does not panic"), pieces);
        }
        assert_eq!(growing.whole(), body);
    }

    #[test]
    fn there_is_no_room_past_the_length() {
        let mut growing = Growing::new(5);
        assert_eq!(growing.push(b"abc").as_deref(), Some(&b"abc"[..]));
        assert_eq!(growing.push(b"def"), None);
        assert_eq!(growing.push(b"").as_deref(), Some(&b""[..]));
        assert_eq!(growing.push(b"de").as_deref(), Some(&b"de"[..]));
        assert_eq!(growing.push(b"f"), None);
        assert_eq!(growing.whole(), "abcde");
    }

    #[test]
    fn parts_outlive_the_writer() {
        let mut growing = Growing::new(1 << 20);
        let part = growing.push(b"here").expect("there is room");
        drop(growing);
        assert_eq!(part.slice(1..3), "er");
    }
}
