//! Taking back what is stored, by what it is called: its URL, its host, a folder, or a tag that its
//! origin gave it.
//!
//! Every object carries the hashes of its names, and a purge only notes a name and the time, which
//! is a count of purges. An object is gone when one of its names was purged after it was asked for.
//! So a purge costs the same however much it takes back, and variants, renditions and fills under
//! way go with the rest. Objects that were looked at since the last purge cost one comparison.

mod names;
#[cfg(test)]
mod tests;

use super::tier::Journal;
pub use names::{CACHE_TAG, Name, Names, SURROGATE_KEY, has_tags, tags_in};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

/// Purged names that are remembered. When one more comes, what is older than the first of them is
/// gone as a whole: fetched again once, which is safe.
const MAX_PURGED: usize = 100_000;

/// How much a purge takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// Gone.
    Hard,
    /// Stale: asked for again, and still there should the origin fail.
    Soft,
}

/// What one purge is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purged {
    Name(Name, Force),
    Everything,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Kept,
    Stale,
    Gone,
}

/// All purges of a process, for all its zones.
#[derive(Default)]
pub struct Purges {
    /// How many there were.
    count: AtomicU64,
    /// When a tag was purged last.
    last_tag: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    purged: HashMap<Name, Times>,
    /// By time; the older entries of a name that was purged again count for nothing.
    order: VecDeque<(u64, Name)>,
    /// What was asked for before is gone.
    floor: u64,
    /// Those that are told of every purge.
    journals: Vec<Weak<Journal>>,
}

#[derive(Clone, Copy, Default)]
struct Times {
    hard: u64,
    soft: u64,
}

impl Purges {
    /// The time, for what is asked for now.
    pub fn now(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// The time of the purge.
    pub fn purge(&self, name: Name, force: Force) -> u64 {
        self.change(Purged::Name(name, force))
    }

    /// What is stored now is gone: for when purges may have been missed.
    pub fn everything(&self) -> u64 {
        self.change(Purged::Everything)
    }

    /// Makes the purges of an earlier process anew, which gives their times; None stands for
    /// nothing. What `begin` makes of these is told of all other purges, before and after.
    pub(super) fn adopt(
        &self,
        earlier: &[Option<Purged>],
        begin: impl FnOnce(&[u64]) -> Arc<Journal>,
    ) -> Arc<Journal> {
        let mut state = self.lock();
        let known = state.known();
        let mut again = |purged: &Option<Purged>| match purged {
            Some(purged) => self.change_in(&mut state, *purged),
            None => self.now(),
        };
        let times: Vec<u64> = earlier.iter().map(&mut again).collect();
        let journal = begin(&times);
        for (time, purged) in known {
            journal.note(purged, time);
        }
        state.journals.retain(|known| known.strong_count() > 0);
        state.journals.push(Arc::downgrade(&journal));
        journal
    }

    fn change(&self, purged: Purged) -> u64 {
        self.change_in(&mut self.lock(), purged)
    }

    fn change_in(&self, state: &mut State, purged: Purged) -> u64 {
        let now = self.now() + 1;
        state.change(purged, now);
        if !matches!(purged, Purged::Name(name, _) if !name.is_tag()) {
            self.last_tag.store(now, Ordering::Release);
        }
        let journals = state.journals.iter().filter_map(Weak::upgrade);
        journals.for_each(|journal| journal.note(purged, now));
        self.count.store(now, Ordering::Release);
        now
    }

    /// Whether an object whose answer hasn't come is surely not among what was purged since it was
    /// asked for: none of its names was, and no tag, for any may be its own.
    pub fn spare(&self, object: &Names) -> bool {
        object.since >= self.last_tag.load(Ordering::Acquire)
            && self.verdict(object) == Verdict::Kept
    }

    pub fn verdict(&self, object: &Names) -> Verdict {
        if object.kept_at.load(Ordering::Relaxed) == self.now() {
            return Verdict::Kept;
        }
        let state = self.lock();
        let verdict = state.verdict(object);
        if verdict == Verdict::Kept {
            object.kept_at.store(self.now(), Ordering::Relaxed);
        }
        verdict
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

impl State {
    fn change(&mut self, purged: Purged, now: u64) {
        let Purged::Name(name, force) = purged else {
            self.purged.clear();
            self.order.clear();
            self.floor = now;
            return;
        };
        let times = self.purged.entry(name).or_default();
        match force {
            Force::Hard => times.hard = now,
            Force::Soft => times.soft = now,
        }
        self.order.push_back((now, name));
        self.forget_oldest();
    }

    /// All that count, by time.
    fn known(&self) -> Vec<(u64, Purged)> {
        let floor = (self.floor > 0).then_some((self.floor, Purged::Everything));
        let mut known: Vec<_> = floor.into_iter().collect();
        for (name, times) in &self.purged {
            for (time, force) in [(times.hard, Force::Hard), (times.soft, Force::Soft)] {
                if time > 0 {
                    known.push((time, Purged::Name(*name, force)));
                }
            }
        }
        known.sort_by_key(|(time, _)| *time);
        known
    }

    fn verdict(&self, object: &Names) -> Verdict {
        if object.since < self.floor {
            return Verdict::Gone;
        }
        let times = object.names.iter().filter_map(|name| self.purged.get(name));
        let mut verdict = Verdict::Kept;
        for times in times {
            if times.hard > object.since {
                return Verdict::Gone;
            }
            if times.soft > object.since {
                verdict = Verdict::Stale;
            }
        }
        verdict
    }

    fn forget_oldest(&mut self) {
        // What is purged again and again takes one place.
        if self.order.len() > 2 * MAX_PURGED {
            let purged = &self.purged;
            self.order
                .retain(|(time, name)| is_last(purged, *name, *time));
        }
        while self.purged.len() > MAX_PURGED {
            let Some((time, name)) = self.order.pop_front() else {
                return;
            };
            if is_last(&self.purged, name, time) {
                self.floor = time;
                self.purged.remove(&name);
            }
        }
    }
}

fn is_last(purged: &HashMap<Name, Times>, name: Name, time: u64) -> bool {
    let last = |times: &Times| times.hard.max(times.soft);
    purged.get(&name).map(last) == Some(time)
}
