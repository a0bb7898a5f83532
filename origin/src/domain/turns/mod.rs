//! Whose upload is read now. Uploads that are all read at once all end at the end, each long after its client has
//! sent the last byte; read a few at a time, those with the least left first, they end one after the other, each soon
//! after its last byte, and the rest waits where it is, with its client.
//!
//! A turn is for who sends fast: who has one must bring `RATE`, and may be a moment late once it was early. Who gives
//! less has none: it is read as it comes, holds up nobody, and waits for nobody. So while somebody waits, all turns are
//! out and each of them brings `RATE`; where nothing comes as fast as that, everything is read at once. Where a crowd
//! comes just as fast as that, one after the other leaves most of the machine idle: while somebody has waited long there
//! are more turns, one by one.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Over which it is counted what comes without a turn, and what a turn that was just given has to be used.
pub const WINDOW: Duration = Duration::from_millis(50);

/// Of somebody new, in a window, before it takes a turn to give more.
pub const TRICKLE: u64 = 16 * 1024;

/// Bytes that a turn must bring in a second: 64 Mbit/s.
pub const RATE: u64 = 8 * 1024 * 1024;

/// Of who had a turn and lost it, in a window, before it takes one again.
pub const FAST: u64 = RATE / 20;

/// By how much a turn may be early: so long it may then bring nothing, as happens where a processor or a line has much
/// else to do.
pub const EARLY: Duration = Duration::from_millis(100);

/// Who has waited for so long goes first, however much it has left.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// While somebody has waited as long as that, there is one turn more after each such time.
pub const WIDEN: Duration = Duration::from_millis(100);

/// Uploads that are under way. Whatever changes may give somebody else a turn: that one is told by its number.
pub struct Turns {
    /// As many as there are where nobody waits long.
    few: usize,
    turns: usize,
    /// How many of them are given.
    out: usize,
    /// When it was last looked whether somebody has waited too long.
    looked: Option<Instant>,
    uploads: BTreeMap<u64, Upload>,
    count: u64,
}

struct Upload {
    standing: Standing,
    /// Bytes that are still to come, at most.
    left: u64,
    /// When what is counted without a turn began, how much that is, and how much of it takes none.
    since: Instant,
    came: u64,
    allowance: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// It is read as it comes, which is little.
    Slow,
    /// Until it is its turn it is not read.
    Waiting { since: Instant },
    /// It has a turn, for which it has waited since then, and must bring something until then.
    Fast { since: Instant, until: Instant },
}

impl Turns {
    pub fn of(few: usize) -> Self {
        Self {
            few,
            turns: few,
            out: 0,
            looked: None,
            uploads: BTreeMap::new(),
            count: 0,
        }
    }

    /// The number of one that is new.
    pub fn enter(&mut self, left: u64, now: Instant) -> u64 {
        self.count += 1;
        let upload = Upload {
            standing: Standing::Slow,
            left,
            since: now,
            came: 0,
            allowance: TRICKLE,
        };
        self.uploads.insert(self.count, upload);
        self.count
    }

    /// It may be read only now, where it had to wait for more than its turn.
    pub fn begin(&mut self, number: u64, now: Instant) {
        let upload = self.upload_mut(number);
        if let Standing::Fast { until, .. } = &mut upload.standing {
            *until = now + WINDOW;
        }
    }

    pub fn standing(&self, number: u64) -> Standing {
        self.upload(number).standing
    }

    /// So many bytes of it were read; none, when it was waited for them until its time was over. Who goes on by that.
    pub fn came(&mut self, number: u64, bytes: u64, now: Instant) -> Option<u64> {
        let upload = self.upload_mut(number);
        upload.left = upload.left.saturating_sub(bytes);
        match upload.standing {
            Standing::Slow => {
                upload.count(bytes, now);
                if upload.came > upload.allowance {
                    upload.standing = Standing::Waiting { since: now };
                }
            }
            Standing::Fast { since, until } => {
                let until = (until + worth(bytes)).min(now + EARLY);
                upload.standing = Standing::Fast { since, until };
                if until <= now {
                    upload.standing = Standing::Slow;
                    upload.allowance = FAST;
                    self.out -= 1;
                }
            }
            Standing::Waiting { .. } => {}
        }
        self.next(now)
    }

    /// It has ended, in whatever way. Who goes on by that.
    pub fn leave(&mut self, number: u64, now: Instant) -> Option<u64> {
        let upload = self.uploads.remove(&number)?;
        if matches!(upload.standing, Standing::Fast { .. }) {
            self.out -= 1;
        }
        self.next(now)
    }

    /// Gives a turn, if there is one, or is to be one more, and somebody waits for it.
    fn next(&mut self, now: Instant) -> Option<u64> {
        let are_out = self.out >= self.turns;
        if are_out {
            if self.looked.is_some_and(|at| now < at + WIDEN) {
                return None;
            }
            self.looked = Some(now);
        }
        let first = self.first(now);
        self.turns = match first {
            Some((_, true)) if are_out => self.out + 1,
            Some((_, true)) => self.turns,
            _ => self.few,
        };
        if self.out >= self.turns {
            return None;
        }
        let (number, _) = first?;
        let upload = self.upload_mut(number);
        if let Standing::Waiting { since } = upload.standing {
            let until = now + WINDOW;
            upload.standing = Standing::Fast { since, until };
        }
        self.out += 1;
        Some(number)
    }

    /// Of those who wait, and whether that one has waited too long.
    fn first(&self, now: Instant) -> Option<(u64, bool)> {
        let waiting = self.uploads.iter().filter_map(|(number, upload)| {
            let Standing::Waiting { since } = upload.standing else {
                return None;
            };
            let is_patient = now.duration_since(since) < PATIENCE;
            let left = is_patient.then_some(upload.left);
            // None is before all others.
            Some((left, since, *number))
        });
        let (left, _, number) = waiting.min()?;
        Some((number, left.is_none()))
    }

    fn upload(&self, number: u64) -> &Upload {
        self.uploads.get(&number).expect("it has not left")
    }

    fn upload_mut(&mut self, number: u64) -> &mut Upload {
        self.uploads.get_mut(&number).expect("it has not left")
    }
}

impl Upload {
    fn count(&mut self, bytes: u64, now: Instant) {
        if now.duration_since(self.since) >= WINDOW {
            (self.since, self.came) = (now, 0);
        }
        self.came += bytes;
    }
}

/// How long so many bytes may take.
fn worth(bytes: u64) -> Duration {
    Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / RATE)
}
