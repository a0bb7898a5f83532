//! Whose upload is read now. Uploads that are all read at once all end at the end, each long after its client has
//! sent the last byte; read a few at a time, those with the least left first, they end one after the other, each soon
//! after its last byte, and the rest waits where it is, with its client.
//!
//! A turn is for who sends fast. Who gives little for a moment has none: it is read as it comes, holds up nobody, and
//! waits for nobody. So while somebody waits, all turns are out and each of them brings `FAST` bytes in every
//! `WINDOW`; where nothing comes as fast as that, everything is read at once.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long somebody may give little before that counts, and over which it is counted.
pub const WINDOW: Duration = Duration::from_millis(20);

/// Of somebody new, in a window, before it takes a turn to give more.
pub const TRICKLE: u64 = 16 * 1024;

/// What a turn must bring in a window.
pub const FAST: u64 = 128 * 1024;

/// Who has waited for so long goes first, however much it has left.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Uploads that are under way. Whatever changes may give somebody else a turn: that one is told by its number.
pub struct Turns {
    free: usize,
    uploads: BTreeMap<u64, Upload>,
    count: u64,
}

struct Upload {
    standing: Standing,
    /// Bytes that are still to come, at most.
    left: u64,
    /// When what is counted now began, and how much that is.
    since: Instant,
    came: u64,
    /// How much of it takes no turn.
    allowance: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing {
    /// It is read as it comes, which is little.
    Slow,
    /// Until it is its turn it is not read.
    Waiting { since: Instant },
    /// It has a turn, and must bring something until then.
    Fast { until: Instant },
}

impl Turns {
    pub fn of(most: usize) -> Self {
        Self {
            free: most,
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

    pub fn standing(&self, number: u64) -> Standing {
        self.upload(number).standing
    }

    /// So many bytes of it were read; none, when it was waited for them until its time was over. Who goes on by that.
    pub fn came(&mut self, number: u64, bytes: u64, now: Instant) -> Option<u64> {
        let upload = self.upload_mut(number);
        upload.left = upload.left.saturating_sub(bytes);
        let is_over = now.duration_since(upload.since) >= WINDOW;
        match upload.standing {
            Standing::Slow => {
                if is_over {
                    upload.begin_window(now);
                }
                upload.came += bytes;
                if upload.came <= upload.allowance {
                    return None;
                }
                upload.standing = Standing::Waiting { since: now };
                self.next(now)
            }
            Standing::Fast { .. } => {
                upload.came += bytes;
                if !is_over {
                    return None;
                }
                let is_fast = upload.came >= FAST;
                upload.begin_window(now);
                if is_fast {
                    upload.standing = upload.fast();
                    return None;
                }
                upload.standing = Standing::Slow;
                upload.allowance = FAST;
                self.free += 1;
                self.next(now)
            }
            Standing::Waiting { .. } => None,
        }
    }

    /// It has ended, in whatever way. Who goes on by that.
    pub fn leave(&mut self, number: u64, now: Instant) -> Option<u64> {
        let upload = self.uploads.remove(&number)?;
        if matches!(upload.standing, Standing::Fast { .. }) {
            self.free += 1;
        }
        self.next(now)
    }

    /// Gives a turn, if there is one and somebody waits for it.
    fn next(&mut self, now: Instant) -> Option<u64> {
        if self.free == 0 {
            return None;
        }
        let waiting = self.uploads.iter_mut().filter_map(|(number, upload)| {
            let Standing::Waiting { since } = upload.standing else {
                return None;
            };
            let is_patient = now.duration_since(since) < PATIENCE;
            let left = is_patient.then_some(upload.left);
            // None is before all others.
            Some(((left, since, *number), upload))
        });
        let ((_, _, number), upload) = waiting.min_by_key(|(place, _)| *place)?;
        upload.begin_window(now);
        upload.standing = upload.fast();
        self.free -= 1;
        Some(number)
    }

    fn upload(&self, number: u64) -> &Upload {
        self.uploads.get(&number).expect("it has not left")
    }

    fn upload_mut(&mut self, number: u64) -> &mut Upload {
        self.uploads.get_mut(&number).expect("it has not left")
    }
}

impl Upload {
    fn begin_window(&mut self, now: Instant) {
        self.since = now;
        self.came = 0;
    }

    /// Within the window that has begun.
    fn fast(&self) -> Standing {
        Standing::Fast {
            until: self.since + WINDOW,
        }
    }
}
