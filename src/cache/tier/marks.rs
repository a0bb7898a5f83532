//! Which time of this process's purges stands for which mark in a log that outlives it.
//!
//! Records carry the mark of the purges that were known when their object was asked for. A process
//! counts purges in the order in which it learns of them, which is not the log's order: its own come
//! before it knows their marks. Both translations are safe where the orders differ: they make an
//! object look older than it is, so that it may be fetched again without need, and never the other
//! way round.

use crate::redis::Mark;
use std::collections::VecDeque;

/// Marks that are remembered; records older than the first of them are not believed.
pub const MAX_MARKS: usize = 100_000;

#[derive(Default)]
pub struct Marks {
    /// By mark. Both times grow from entry to entry.
    log: VecDeque<Entry>,
    /// This process's own purges that are not in the log yet, by time.
    coming: VecDeque<u64>,
}

struct Entry {
    mark: Mark,
    /// When this purge and all before it were known.
    all: u64,
    /// When the first of this purge and all after it was known.
    first: u64,
}

impl Marks {
    /// A purge of this process, which will be in the log.
    pub fn expect(&mut self, time: u64) {
        self.coming.push_back(time);
    }

    /// All own purges until then are in the log, or another stands for them.
    pub fn expect_none_until(&mut self, time: u64) {
        self.coming.retain(|coming| *coming > time);
    }

    /// An own purge has come.
    pub fn expect_no_more(&mut self, time: u64) {
        self.coming.retain(|coming| *coming != time);
    }

    /// The log is read from its start once more, and only these own purges will be in it anew.
    pub fn restart(&mut self, mut coming: Vec<u64>) {
        coming.sort_unstable();
        self.log.clear();
        self.coming = coming.into();
    }

    /// The purge at `mark`, after all marks so far, was known from `time` on.
    pub fn add(&mut self, mark: Mark, time: u64) {
        for entry in self.log.iter_mut().rev() {
            if entry.first <= time {
                break;
            }
            entry.first = time;
        }
        let all = self.log.back().map_or(time, |last| last.all.max(time));
        let first = time;
        self.log.push_back(Entry { mark, all, first });
        if self.log.len() > MAX_MARKS {
            self.log.pop_front();
        }
    }

    pub fn last(&self) -> Option<Mark> {
        self.log.back().map(|entry| entry.mark)
    }

    /// The mark for an object that was asked for at `time`. None: not even the first was known.
    pub fn mark(&self, time: u64) -> Option<Mark> {
        let known = self.log.partition_point(|entry| entry.all <= time);
        Some(self.log.get(known.checked_sub(1)?)?.mark)
    }

    /// The time at which an object with `mark` counts as asked for; `now` at most. None: what was
    /// purged since then is not known.
    pub fn time(&self, mark: Mark, now: u64) -> Option<u64> {
        let known = self.log.partition_point(|entry| entry.mark <= mark);
        known.checked_sub(1)?;
        let next = self.log.get(known).map(|entry| entry.first);
        let unknown = next.into_iter().chain(self.coming.front().copied());
        Some(unknown.fold(now, |time, purged| time.min(purged.saturating_sub(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_older_than_the_log_is_not_known() {
        let mut marks = Marks::default();
        assert_eq!(marks.time(Mark(5, 0), 9), None);
        assert_eq!(marks.mark(9), None);
        marks.add(Mark(5, 0), 3);
        assert_eq!(marks.time(Mark(4, 9), 9), None);
        assert_eq!(marks.time(Mark(5, 0), 9), Some(9));
        assert_eq!((marks.mark(2), marks.mark(3)), (None, Some(Mark(5, 0))));
    }

    #[test]
    fn own_purges_count_before_they_are_in_the_log() {
        let mut marks = Marks::default();
        marks.add(Mark(1, 0), 1);
        marks.expect(5);
        marks.expect(7);
        assert_eq!(marks.time(Mark(1, 0), 9), Some(4));
        marks.expect_no_more(5);
        marks.add(Mark(2, 0), 5);
        assert_eq!(marks.time(Mark(1, 0), 9), Some(4));
        assert_eq!(marks.time(Mark(2, 0), 9), Some(6));
        marks.expect_none_until(7);
        assert_eq!(marks.time(Mark(2, 0), 9), Some(9));
    }

    proptest! {
        /// The model: an object knows the purges up to its mark, or its time. Whoever translates it
        /// must count it as not knowing any purge that it doesn't.
        #[test]
        fn an_object_never_looks_younger(
            times in prop::collection::vec(1u64..20, 1..20).prop_shuffle(),
            asked in 0u64..21,
            mark in 1u64..21,
        ) {
            let mut marks = Marks::default();
            for (at, time) in times.iter().enumerate() {
                marks.add(Mark(at as u64 + 1, 0), *time);
            }
            if let Some(given) = marks.mark(asked) {
                // No purge up to the mark came after the object was asked for.
                for (at, time) in times.iter().enumerate() {
                    prop_assert!(at as u64 + 1 > given.0 || *time <= asked);
                }
                let next = times.get(given.0 as usize);
                prop_assert!(next.is_none_or(|time| *time > asked));
            }
            let time = marks.time(Mark(mark, 0), 20).expect("the first is known");
            for (at, purged) in times.iter().enumerate() {
                // Those after the mark take it back.
                prop_assert!((at as u64) < mark || *purged > time);
            }
            let last = times.iter().skip(mark as usize).min();
            prop_assert_eq!(time, last.map_or(20, |first| first - 1));
        }
    }
}
