//! Purges on disk, beside the objects that they take back.
//!
//! Every purge of the process is appended, so that after a restart an object on disk is compared
//! with all that were made since it was asked for. A thread writes and syncs; who must know that a
//! purge outlives a crash waits until it is settled. Objects are believed only as far as the
//! journal reaches back: without one, or with a damaged one, nothing from before is.

use super::marks::{MAX_MARKS, Marks};
use crate::cache::purge::{Force, Name, Purged, Purges};
use crate::redis::Mark;
use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::Duration;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of an entry: number, kind, name, checksum.
const ENTRY: usize = 32;
/// Bytes that the file takes at most, with twice as many entries as are remembered, and for a moment
/// the one that takes its place.
pub const MAX_BYTES: u64 = (4 * MAX_MARKS * ENTRY) as u64;
/// Left free between the numbers of two runs: the first may have given some that it had not written
/// when it was killed, and objects on disk may carry them.
const GAP: u64 = 1 << 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    number: u64,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    /// Before it nothing is known.
    Begin,
    Hard(Name),
    Soft(Name),
    Everything,
}

impl What {
    fn of(purged: Purged) -> What {
        match purged {
            Purged::Name(name, Force::Hard) => What::Hard(name),
            Purged::Name(name, Force::Soft) => What::Soft(name),
            Purged::Everything => What::Everything,
        }
    }

    fn purged(self) -> Option<Purged> {
        match self {
            What::Begin => None,
            What::Hard(name) => Some(Purged::Name(name, Force::Hard)),
            What::Soft(name) => Some(Purged::Name(name, Force::Soft)),
            What::Everything => Some(Purged::Everything),
        }
    }
}

pub struct Journal {
    state: Mutex<State>,
    news: Condvar,
    /// Number of the last entry on disk.
    settled: watch::Sender<u64>,
}

struct State {
    marks: Marks,
    number: u64,
    waiting: Vec<Entry>,
    closed: bool,
}

impl Journal {
    /// Opens the journal at `path`, or begins one, and makes its purges anew. It is told of all
    /// others, those before this included. `forget` is called first if nothing that was stored can
    /// be believed. `lock` is held for as long as the file may be written. Reads and writes a file:
    /// not for a worker thread.
    pub fn open(
        path: &Path,
        lock: Arc<File>,
        purges: &Purges,
        forget: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Arc<Journal>> {
        let bytes = match std::fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            bytes => bytes?,
        };
        let entries = match read(&bytes) {
            Some(entries) => entries,
            None => {
                forget()?;
                let (number, what) = (1, What::Begin);
                vec![Entry { number, what }]
            }
        };
        replace(path, &entries)?;
        let writer = Writer {
            path: path.to_owned(),
            file: OpenOptions::new().append(true).open(path)?,
            count: entries.len(),
            _lock: lock,
        };
        let earlier: Vec<_> = entries.iter().map(|entry| entry.what.purged()).collect();
        let journal = purges.adopt(&earlier, |times| Journal::of(&entries, times));
        let reader = Arc::downgrade(&journal);
        std::thread::Builder::new()
            .name("lakh-journal".into())
            .spawn(move || writer.run(&reader))?;
        Ok(journal)
    }

    fn of(entries: &[Entry], times: &[u64]) -> Arc<Journal> {
        let mut marks = Marks::default();
        for (entry, time) in entries.iter().zip(times) {
            marks.add(Mark(entry.number, 0), *time);
        }
        let number = entries.last().map_or(0, |last| last.number) + GAP;
        Arc::new(Journal {
            state: Mutex::new(State {
                marks,
                number,
                waiting: Vec::new(),
                closed: false,
            }),
            news: Condvar::new(),
            settled: watch::Sender::new(number),
        })
    }

    /// Called by `Purges` for each purge, in order, before anybody can act on it.
    pub fn note(&self, purged: Purged, time: u64) {
        let mut state = self.lock();
        state.number += 1;
        let number = state.number;
        state.marks.add(Mark(number, 0), time);
        let mut what = What::of(purged);
        if state.waiting.len() >= MAX_MARKS {
            // The disk doesn't keep up: after a restart all counts as purged.
            state.waiting.clear();
            what = What::Everything;
        }
        state.waiting.push(Entry { number, what });
        drop(state);
        self.news.notify_one();
    }

    /// For what was asked for at this time of the purges.
    pub fn mark(&self, asked_at: u64) -> Option<Mark> {
        self.lock().marks.mark(asked_at)
    }

    /// The time for an object with this mark. None: it may have been purged.
    pub fn time(&self, mark: Mark, purges: &Purges) -> Option<u64> {
        let state = self.lock();
        state.marks.time(mark, purges.now())
    }

    /// Waits until all so far is on disk; for ever, if it can't be written.
    pub async fn settle(&self) {
        let number = self.lock().number;
        let mut settled = self.settled.subscribe();
        let wait = settled.wait_for(|settled| *settled >= number);
        if wait.await.is_err() {
            std::future::pending().await
        }
    }

    /// What waits, once there is something; None when it is over.
    fn take(&self) -> Option<Vec<Entry>> {
        let mut state = self.lock();
        if state.waiting.is_empty() && !state.closed {
            // Looks up now and then, to see whether it is still needed.
            let patience = Duration::from_millis(500);
            let waited = self.news.wait_timeout(state, patience);
            state = waited.expect("no code panics while it holds this lock").0;
        }
        let waiting = std::mem::take(&mut state.waiting);
        (!waiting.is_empty() || !state.closed).then_some(waiting)
    }

    /// Writes what waits, and no more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

/// The thread that writes.
struct Writer {
    path: PathBuf,
    file: File,
    /// Entries in the file.
    count: usize,
    _lock: Arc<File>,
}

impl Writer {
    fn run(mut self, journal: &Weak<Journal>) {
        while let Some(journal) = journal.upgrade()
            && let Some(entries) = journal.take()
        {
            let Some(last) = entries.last() else {
                continue;
            };
            if let Err(e) = self.write(&entries) {
                tracing::error!(path = %self.path.display(), error = %e, "the journal of purges can't be written: what is on disk will not outlive this process; see that there is room and that this user may write there");
                // Without it, nothing is believed after a restart.
                let _ = std::fs::remove_file(&self.path);
                return;
            }
            journal.settled.send_replace(last.number);
        }
    }

    fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        self.file.write_all(&bytes_of(entries))?;
        self.file.sync_data()?;
        self.count += entries.len();
        if self.count >= 2 * MAX_MARKS - entries.len().min(MAX_MARKS) {
            let all = read(&std::fs::read(&self.path)?).unwrap_or_default();
            let kept = compact(&all);
            replace(&self.path, &kept)?;
            self.file = OpenOptions::new().append(true).open(&self.path)?;
            self.count = kept.len();
        }
        Ok(())
    }
}

/// Of each name the last purge, and of those the newest half of what is remembered. What is older
/// than the first is not believed.
fn compact(entries: &[Entry]) -> Vec<Entry> {
    let mut seen = HashSet::new();
    let newest = entries.iter().rev().filter(|entry| seen.insert(entry.what));
    let mut kept: Vec<_> = newest.take(MAX_MARKS / 2).copied().collect();
    kept.reverse();
    kept
}

/// All entries. None: there is none, or one before the last is damaged. A last one that was being
/// written when the machine stopped was never said to be settled.
fn read(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut torn = false;
    for chunk in bytes.chunks(ENTRY) {
        let last = entries.last().map_or(0, |last| last.number);
        match entry(chunk).filter(|entry| entry.number > last) {
            Some(_) if torn => return None,
            Some(entry) => entries.push(entry),
            None => torn = true,
        }
    }
    (!entries.is_empty()).then_some(entries)
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    if word(24)? != xxh3_64(&bytes[..24]) {
        return None;
    }
    let name = Name::from_bits(word(16)?);
    let what = match word(8)? {
        0 => What::Begin,
        1 => What::Hard(name),
        2 => What::Soft(name),
        3 => What::Everything,
        _ => return None,
    };
    let number = word(0)?;
    Some(Entry { number, what })
}

fn bytes_of(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY);
    for entry in entries {
        let (kind, name) = match entry.what {
            What::Begin => (0, 0),
            What::Hard(name) => (1u64, name.bits()),
            What::Soft(name) => (2, name.bits()),
            What::Everything => (3, 0),
        };
        let words = [entry.number, kind, name].map(u64::to_le_bytes).concat();
        let sum = xxh3_64(&words);
        bytes.extend_from_slice(&words);
        bytes.extend_from_slice(&sum.to_le_bytes());
    }
    bytes
}

/// Whatever stops it, either the file before or the new one is there afterwards.
fn replace(path: &Path, entries: &[Entry]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(&bytes_of(entries))?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::purge::{Names, Verdict};
    use proptest::prelude::*;

    fn folder() -> PathBuf {
        let name = format!("lakh-journal-{:x}", fastrand::u64(..));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("the temporary folder takes folders");
        folder
    }

    fn open(
        path: &Path,
        purges: &Purges,
        forget: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Arc<Journal>> {
        let lock = File::create(path.with_extension("lock"))?;
        Journal::open(path, Arc::new(lock), purges, forget)
    }

    fn object(name: Name, since: u64) -> Names {
        Names::of([name].into(), since)
    }

    fn verdict(journal: &Journal, purges: &Purges, name: Name, mark: Mark) -> Option<Verdict> {
        let since = journal.time(mark, purges)?;
        Some(purges.verdict(&object(name, since)))
    }

    #[tokio::test]
    async fn purges_outlive_the_process() {
        let folder = folder();
        let path = folder.join("purges");
        let (a, b) = (Name::tag(b"a"), Name::tag(b"b"));
        let mark = {
            let purges = Purges::default();
            let journal = open(&path, &purges, || Ok(())).expect("a journal");
            let mark = journal.mark(purges.now()).expect("it has begun");
            purges.purge(a, Force::Hard);
            journal.settle().await;
            mark
        };
        let purges = Purges::default();
        let known = || panic!("it is whole");
        let journal = open(&path, &purges, known).expect("a journal");
        assert_eq!(verdict(&journal, &purges, a, mark), Some(Verdict::Gone));
        assert_eq!(verdict(&journal, &purges, b, mark), Some(Verdict::Kept));
        let later = journal.mark(purges.now()).expect("it is known");
        assert_eq!(verdict(&journal, &purges, a, later), Some(Verdict::Kept));
        // What a killed process gave and had not written counts as asked for before the next purge.
        let unwritten = Mark(later.0 + 5, 0);
        purges.purge(b, Force::Hard);
        assert_eq!(
            verdict(&journal, &purges, b, unwritten),
            Some(Verdict::Gone)
        );
        std::fs::remove_dir_all(folder).expect("it is ours");
    }

    #[tokio::test]
    async fn purges_before_it_was_opened_are_in_it() {
        let folder = folder();
        let path = folder.join("purges");
        let [a, b, c] = [b"a", b"b", b"c"].map(|tag| Name::tag(tag));
        let (old, other) = {
            let purges = Purges::default();
            let journal = open(&path, &purges, || Ok(())).expect("a journal");
            purges.purge(c, Force::Hard);
            let mark = journal.mark(purges.now()).expect("it has begun");
            journal.settle().await;
            (mark, mark)
        };
        for _ in 0..2 {
            let purges = Purges::default();
            purges.purge(a, Force::Hard);
            let journal = open(&path, &purges, || panic!("it is whole")).expect("a journal");
            assert_eq!(verdict(&journal, &purges, a, old), Some(Verdict::Gone));
            assert_eq!(verdict(&journal, &purges, b, other), Some(Verdict::Kept));
            journal.settle().await;
            let purges = Purges::default();
            drop(journal);
            let journal = open(&path, &purges, || panic!("it is whole")).expect("a journal");
            assert_eq!(verdict(&journal, &purges, a, old), Some(Verdict::Gone));
            assert_eq!(verdict(&journal, &purges, c, old), Some(Verdict::Kept));
        }
        std::fs::remove_dir_all(folder).expect("it is ours");
    }

    #[test]
    fn a_journal_that_is_lost_or_damaged_makes_the_past_unknown() {
        let folder = folder();
        let path = folder.join("purges");
        let entries: Vec<_> = (1..9)
            .map(|number| Entry {
                number,
                what: What::Hard(Name::from_bits(number)),
            })
            .collect();
        let mut bytes = bytes_of(&entries);
        bytes[3 * ENTRY] ^= 1;
        for damaged in [&bytes[..], b"", b"short"] {
            std::fs::write(&path, damaged).expect("the folder is ours");
            let (purges, mut forgotten) = (Purges::default(), false);
            let forget = || {
                forgotten = true;
                Ok(())
            };
            let journal = open(&path, &purges, forget).expect("a journal");
            assert!(journal.mark(purges.now()).is_some());
            assert!(forgotten);
        }
        std::fs::remove_dir_all(folder).expect("it is ours");
    }

    #[test]
    fn a_compact_one_keeps_the_last_of_each_name() {
        let entry = |number, name| Entry {
            number,
            what: What::Hard(Name::from_bits(name)),
        };
        let all: Vec<_> = (1..=200_000u64).map(|n| entry(n, n % 10)).collect();
        assert_eq!(compact(&all), all[199_990..]);
        let all: Vec<_> = (1..=200_000u64).map(|n| entry(n, n)).collect();
        assert_eq!(compact(&all), all[150_000..]);
    }

    proptest! {
        #[test]
        fn a_torn_end_is_no_damage(count in 1usize..20, torn in 0usize..64) {
            let what = What::Soft(Name::tag(b"t"));
            let entries: Vec<_> = (1..=count as u64).map(|number| Entry { number, what }).collect();
            let bytes = bytes_of(&entries);
            let kept = bytes.len().saturating_sub(torn);
            let whole = kept / ENTRY;
            let expected = (whole > 0).then(|| entries[..whole].to_vec());
            prop_assert_eq!(read(&bytes[..kept]), expected);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }
    }
}
