//! What edges on one Redis know of each other's purges.
//!
//! Every purge is an entry of one stream, which each edge reads from where it stopped: an edge that
//! was away misses nothing. An object in Redis carries the mark of the last entry that its edge
//! knew when it asked for the object, and is believed only by an edge that knows all entries since.

use super::marks::Marks;
use super::note::{Change, Note, What};
use super::outbox::Outbox;
use crate::breaker::Down;
use crate::cache::purge::{Force, Name, Purges};
use crate::observe::RedisMetrics;
use crate::redis::{Ear, Heard, Link, Mark};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

pub const PURGES: &str = "lakh:purges";
pub const CHANGES: &str = "lakh:changes";
/// About how many entries the streams keep.
pub const MAX_PURGES: i64 = 100_000;
pub const MAX_CHANGES: i64 = 10_000;

/// Entries read at a time.
const BATCH: u64 = 1000;
/// How long a read waits for news; a dead connection is noticed within a little more.
const PATIENCE: Duration = Duration::from_millis(500);
/// Before the next try after a failure.
const PAUSE: Duration = Duration::from_millis(200);

pub struct Fleet {
    /// Which of the edges this is.
    pub edge: u64,
    purges: Arc<Purges>,
    marks: Mutex<Marks>,
    /// Whether all purges are known, but for those of the last moments.
    in_touch: AtomicBool,
    was_in_touch: AtomicBool,
    metrics: RedisMetrics,
}

/// Called with what another edge found changed.
pub type Changed = Box<dyn Fn(Change) + Send + Sync>;

impl Fleet {
    pub fn new(purges: Arc<Purges>, metrics: RedisMetrics) -> Fleet {
        Fleet {
            edge: fastrand::u64(..),
            purges,
            marks: Mutex::default(),
            in_touch: AtomicBool::new(false),
            was_in_touch: AtomicBool::new(false),
            metrics,
        }
    }

    /// Takes it back here, and says so to all. The number that `Outbox` gave it.
    pub fn purge(&self, name: Name, force: Force, outbox: &Outbox) -> u64 {
        let time = {
            let mut marks = self.marks();
            let time = self.purges.purge(name, force);
            marks.expect(time);
            time
        };
        let what = What::Purge(name, force);
        let edge = self.edge;
        match outbox.purge(Note { edge, time, what }) {
            Some(number) => number,
            None => {
                self.everything(outbox);
                u64::MAX
            }
        }
    }

    /// For when there is too much to tell.
    pub fn everything(&self, outbox: &Outbox) {
        let mut marks = self.marks();
        let time = self.purges.everything();
        marks.expect_none_until(time);
        marks.expect(time);
        outbox.everything(self.edge, time);
    }

    /// For what is asked for at this time of the purges. None: not to be shared.
    pub fn mark(&self, asked_at: u64) -> Option<Mark> {
        self.marks().mark(asked_at)
    }

    /// The time for an object with this mark. None: it may have been purged.
    pub fn time(&self, mark: Mark) -> Option<u64> {
        let marks = self.marks();
        marks.time(mark, self.purges.now())
    }

    pub fn is_in_touch(&self) -> bool {
        self.in_touch.load(Ordering::Relaxed)
    }

    pub fn was_in_touch(&self) -> bool {
        self.was_in_touch.load(Ordering::Acquire)
    }

    /// Listens for ever.
    pub async fn listen(self: Arc<Fleet>, link: Arc<Link>, outbox: Arc<Outbox>, changed: Changed) {
        let mut changes_at = None;
        loop {
            // It ends only by a failure.
            let Err(Down) = self
                .session(&link, &outbox, &changed, &mut changes_at)
                .await;
            self.touch(false);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn session(
        &self,
        link: &Link,
        outbox: &Outbox,
        changed: &Changed,
        changes_at: &mut Option<Mark>,
    ) -> Result<std::convert::Infallible, Down> {
        link.ready().await?;
        let ear = link.listen().await?;
        self.resume(&ear, link, outbox).await?;
        if changes_at.is_none() {
            // What was changed before this edge began, it doesn't hold.
            *changes_at = Some(ear.last(CHANGES).await?.unwrap_or_default());
        }
        let mut patience = None;
        loop {
            let at = (
                self.marks().last().unwrap_or_default(),
                changes_at.unwrap_or_default(),
            );
            let streams = [(PURGES, at.0), (CHANGES, at.1)];
            let [purges, changes] = ear.read(streams, BATCH, patience).await?;
            let is_all = (purges.len().max(changes.len()) as u64) < BATCH;
            purges.iter().for_each(|heard| self.hear(heard));
            for heard in changes {
                *changes_at = Some(heard.mark);
                let change = Change::read(&heard.fields);
                change.filter(|c| c.edge != self.edge).map(changed);
            }
            patience = is_all.then_some(PATIENCE);
            if is_all {
                self.touch(true);
            }
        }
    }

    /// Goes on where the last session stopped, if that can be; else from the start, and what only
    /// this edge knows is told again.
    async fn resume(&self, ear: &Ear, link: &Link, outbox: &Outbox) -> Result<(), Down> {
        let first = ear.first(PURGES, Mark::default()).await?;
        let Some(last) = self.marks().last() else {
            if first.is_none() {
                begin(link).await?;
            }
            return Ok(());
        };
        let next = ear.first(PURGES, last).await?;
        if next.is_some_and(|next| next.mark == last) {
            return Ok(());
        }
        let is_begin =
            |heard: &Heard| Note::read(&heard.fields).is_some_and(|note| note.what == What::Begin);
        match &first {
            // Entries between the two are gone, and nobody knows which.
            Some(first) if first.mark > last && !is_begin(first) => {
                tracing::warn!("purges were missed: all that is stored is taken back");
                self.purges.everything();
            }
            Some(_) => {}
            None => begin(link).await?,
        }
        tracing::warn!("redis lost the log of purges: it is begun anew");
        let mut marks = self.marks();
        marks.restart(outbox.again());
        Ok(())
    }

    fn hear(&self, heard: &Heard) {
        let note = Note::read(&heard.fields);
        let mut marks = self.marks();
        let time = match note {
            // Carried out already, when it was said.
            Some(note) if note.edge == self.edge && note.what != What::Begin => {
                match note.what {
                    What::Everything => marks.expect_none_until(note.time),
                    _ => marks.expect_no_more(note.time),
                }
                note.time
            }
            Some(Note {
                what: What::Begin, ..
            }) => self.purges.now(),
            Some(Note {
                what: What::Purge(name, force),
                ..
            }) => {
                self.metrics.heard.inc();
                self.purges.purge(name, force)
            }
            // Of a later version, perhaps: what it means must not be kept.
            Some(Note {
                what: What::Everything,
                ..
            })
            | None => {
                self.metrics.heard.inc();
                self.purges.everything()
            }
        };
        marks.add(heard.mark, time);
    }

    fn touch(&self, in_touch: bool) {
        if in_touch {
            self.was_in_touch.store(true, Ordering::Release);
        }
        if self.in_touch.swap(in_touch, Ordering::Relaxed) != in_touch {
            match in_touch {
                true => tracing::info!("in touch with the fleet"),
                false => tracing::warn!(
                    "out of touch with redis, and nothing is read from it until it answers at its url"
                ),
            }
        }
        self.metrics.in_touch.set(in_touch.into());
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

/// The stream's first entry.
pub async fn begin(link: &Link) -> Result<(), Down> {
    let what = What::Begin;
    let note = Note {
        edge: 0,
        time: 0,
        what,
    };
    link.add(PURGES, MAX_PURGES, true, note.fields()).await?;
    Ok(())
}
