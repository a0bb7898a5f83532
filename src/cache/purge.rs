//! Taking back what is stored, by what it is called: its URL, its host, a folder, or a tag that its
//! origin gave it.
//!
//! Every object carries the hashes of its names, and a purge only notes a name and the time, which
//! is a count of purges. An object is gone when one of its names was purged after it was asked for.
//! So a purge costs the same however much it takes back, and variants, renditions and fills under
//! way go with the rest. Objects that were looked at since the last purge cost one comparison.

use super::key::{Key, named};
use super::tier::Journal;
use http::{HeaderMap, HeaderName};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use xxhash_rust::xxh3::Xxh3;

/// Where origins write an object's tags: separated by spaces, or by commas.
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// Purged names that are remembered. When one more comes, what is older than the first of them is
/// gone as a whole: fetched again once, which is safe.
const MAX_PURGED: usize = 100_000;
/// Of one object; more are ignored, as other caches do with fields that grow without bound.
const MAX_TAGS: usize = 256;
const MAX_FOLDERS: usize = 32;

/// A name that objects can be purged by: a hash that is the same on every edge and in every version,
/// because records in shared tiers carry it. Two with the same hash are purged together. The lowest
/// bit says whether it is a tag, which is known only once an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(u64);

impl Name {
    pub fn tag(tag: &[u8]) -> Name {
        Name::of(b't', &[tag])
    }

    pub fn host(host: &str) -> Name {
        Name::of(b'h', &[host.to_ascii_lowercase().as_bytes()])
    }

    /// `folder` ends with a slash.
    pub fn folder(host: &str, folder: &[u8]) -> Name {
        Name::of(
            b'f',
            &[host.to_ascii_lowercase().as_bytes(), &named(folder)],
        )
    }

    /// `address` is `KeyRules::address`.
    pub fn url(address: &Key) -> Name {
        Name::of(b'u', &[address.as_bytes()])
    }

    fn of(kind: u8, parts: &[&[u8]]) -> Name {
        let mut hasher = Xxh3::new();
        hasher.update(&[kind]);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Name(hasher.digest() & !1 | u64::from(kind == b't'))
    }

    pub fn bits(self) -> u64 {
        self.0
    }

    /// What `bits` gave.
    pub fn from_bits(bits: u64) -> Name {
        Name(bits)
    }

    fn is_tag(self) -> bool {
        self.0 & 1 == 1
    }
}

/// What an object is called, and since when it counts as asked for.
#[derive(Debug, Default)]
pub struct Names {
    since: u64,
    /// Of the fill that asked for it: a later one has a higher. 0: what another process asked for.
    fill: u64,
    names: Arc<[Name]>,
    /// The last time that it was looked at and kept.
    kept_at: AtomicU64,
}

impl Clone for Names {
    fn clone(&self) -> Names {
        self.since(self.since)
    }
}

impl Names {
    /// What an answer for `path` on `host` is called before its tags are known; `address` is
    /// `KeyRules::address`.
    pub fn new(host: &str, path: &[u8], address: &Key, since: u64) -> Names {
        let path = named(path);
        let folders = memchr::memchr_iter(b'/', &path).take(MAX_FOLDERS);
        let folders = folders.map(|slash| Name::folder(host, &path[..=slash]));
        let names = [Name::url(address), Name::host(host)].into_iter();
        Names::of(names.chain(folders).collect(), since)
    }

    /// With the tags that the answer gives, instead of those before.
    pub fn tagged(&self, answer: &HeaderMap) -> Names {
        let names = self.names.iter().copied().filter(|name| !name.is_tag());
        let tags = tags(answer).take(MAX_TAGS).map(Name::tag);
        Names::of(names.chain(tags).collect(), self.since).filled_by(self.fill)
    }

    /// With these beside its own.
    pub fn also(&self, names: &[Name]) -> Names {
        let all = self.names.iter().chain(names).copied();
        Names::of(all.collect(), self.since).filled_by(self.fill)
    }

    pub(super) fn of(names: Arc<[Name]>, since: u64) -> Names {
        Names {
            since,
            fill: 0,
            names,
            kept_at: AtomicU64::new(since),
        }
    }

    /// Whether it has one of these.
    pub fn any(&self, names: &[Name]) -> bool {
        names.iter().any(|name| self.names.contains(name))
    }

    /// The time of `Purges` at which the object was asked for.
    pub fn asked_at(&self) -> u64 {
        self.since
    }

    pub(super) fn filled_by(self, fill: u64) -> Names {
        Names { fill, ..self }
    }

    pub(super) fn fill(&self) -> u64 {
        self.fill
    }

    pub(super) fn list(&self) -> &[Name] {
        &self.names
    }

    /// The same names, counting as asked for anew.
    pub fn since(&self, since: u64) -> Names {
        Names::of(self.names.clone(), since).filled_by(self.fill)
    }

    /// The same names, asked for when what is called `asked` was.
    pub fn asked_with(&self, asked: &Names) -> Names {
        Names::of(self.names.clone(), asked.since).filled_by(asked.fill)
    }

    /// Bytes, for the weight of what carries them.
    pub fn size(&self) -> usize {
        size_of_val(&*self.names)
    }
}

/// The tags in both fields.
fn tags(answer: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let keys = answer.get_all(SURROGATE_KEY).iter();
    let keys = keys.flat_map(|line| line.as_bytes().split(u8::is_ascii_whitespace));
    let tags = answer.get_all(CACHE_TAG).iter();
    let tags = tags.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    keys.chain(tags)
        .map(<[u8]>::trim_ascii)
        .filter(|tag| !tag.is_empty())
}

/// The tags in one field, separated by commas or spaces.
pub fn tags_in<'a>(fields: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = fields.get_all(name).into_iter();
    let separates = |b: &u8| *b == b',' || b.is_ascii_whitespace();
    lines
        .flat_map(move |line| line.as_bytes().split(separates))
        .filter(|tag| !tag.is_empty())
}

/// Whether an answer has tags of its own.
pub fn has_tags(answer: &HeaderMap) -> bool {
    tags(answer).next().is_some()
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{KeyRules, Url};
    use proptest::prelude::*;

    fn address(path: &str) -> Key {
        KeyRules::default().address(&Url::new("h", path.as_bytes()))
    }

    fn names(path: &str, tags: &[(&'static str, &'static str)], since: u64) -> Names {
        let fields = tags.iter().map(|(name, value)| {
            let value = http::HeaderValue::from_static(value);
            (HeaderName::from_static(name), value)
        });
        let answer = HeaderMap::from_iter(fields);
        Names::new("h", path.as_bytes(), &address(path), since).tagged(&answer)
    }

    #[test]
    fn an_object_goes_by_each_of_its_names() {
        let object = || {
            let tags = [("surrogate-key", "one two"), ("cache-tag", "three, four")];
            names("/a/b/c", &tags, 0)
        };
        let gone_by = |name| {
            let purges = Purges::default();
            purges.purge(name, Force::Hard);
            purges.verdict(&object()) == Verdict::Gone
        };
        assert!(gone_by(Name::url(&address("/a/b/c"))));
        assert!(gone_by(Name::host("H")));
        for folder in ["/", "/a/", "/a/b/"] {
            assert!(gone_by(Name::folder("h", folder.as_bytes())), "{folder}");
        }
        for tag in ["one", "two", "three", "four"] {
            assert!(gone_by(Name::tag(tag.as_bytes())), "{tag}");
        }
        for spelling in ["/%61/b/c", "//a/./b//c", "/x/../a/b/c"] {
            assert!(gone_by(Name::url(&address(spelling))), "{spelling}");
        }
        assert!(gone_by(Name::folder("h", b"//a/%62/")));
        for other in [
            Name::url(&address("/a/b/")),
            Name::host("other"),
            Name::folder("h", b"/b/"),
            Name::tag(b"h"),
        ] {
            assert!(!gone_by(other));
        }
    }

    #[test]
    fn what_is_asked_for_after_a_purge_is_kept() {
        let (purges, old) = (Purges::default(), names("/a", &[], 0));
        assert_eq!(purges.verdict(&old), Verdict::Kept);
        purges.purge(Name::host("h"), Force::Soft);
        assert_eq!(purges.verdict(&old), Verdict::Stale);
        let new = old.since(purges.now());
        assert_eq!(purges.verdict(&new), Verdict::Kept);
        purges.purge(Name::tag(b"another"), Force::Hard);
        assert_eq!(purges.verdict(&new), Verdict::Kept);
        purges.purge(Name::host("h"), Force::Hard);
        assert_eq!(purges.verdict(&new), Verdict::Gone);
    }

    #[test]
    fn purges_beyond_the_bound_take_back_what_is_old() {
        let (purges, old) = (Purges::default(), names("/a", &[], 0));
        for n in 0..=MAX_PURGED {
            purges.purge(Name::tag(&n.to_le_bytes()), Force::Hard);
        }
        assert_eq!(purges.lock().purged.len(), MAX_PURGED);
        assert_eq!(purges.verdict(&old), Verdict::Gone);
        assert_eq!(purges.verdict(&old.since(purges.now())), Verdict::Kept);
    }

    /// As writes to one URL do.
    #[test]
    fn one_name_purged_again_and_again_takes_one_place() {
        let (purges, old) = (Purges::default(), names("/a", &[], 0));
        for _ in 0..3 * MAX_PURGED {
            purges.purge(Name::tag(b"t"), Force::Hard);
        }
        assert_eq!(purges.verdict(&old), Verdict::Kept);
        assert!(purges.lock().order.len() <= 2 * MAX_PURGED);
    }

    #[test]
    fn only_what_cannot_have_been_purged_is_spared_before_its_tags_are_known() {
        let (purges, coming) = (Purges::default(), names("/a", &[], 0));
        purges.purge(Name::host("other"), Force::Hard);
        assert!(purges.spare(&coming));
        purges.purge(Name::tag(b"t"), Force::Hard);
        assert!(!purges.spare(&coming));
        let later = coming.since(purges.now());
        assert!(purges.spare(&later));
        purges.purge(Name::host("h"), Force::Soft);
        assert!(!purges.spare(&later));
    }

    #[test]
    fn everything_is_everything_so_far() {
        let (purges, old) = (Purges::default(), names("/a", &[], 0));
        purges.everything();
        assert_eq!(purges.verdict(&old), Verdict::Gone);
        assert_eq!(purges.verdict(&old.since(purges.now())), Verdict::Kept);
    }

    /// They are in records that other versions wrote.
    #[test]
    fn names_are_the_same_for_ever() {
        assert_eq!(Name::tag(b"one").bits(), 13462407492367309641);
        assert_eq!(Name::tag(b"one").bits() & 1, 1);
        assert_eq!(Name::host("one").bits() & 1, 0);
    }

    proptest! {
        /// The model: an object is gone when, since it was asked for, one of its names was purged.
        #[test]
        fn as_the_model_says(
            steps in prop::collection::vec((0u8..4, any::<bool>(), any::<bool>()), 0..40),
        ) {
            let purges = Purges::default();
            let tags = [("cache-tag", "0"), ("cache-tag", "1")];
            let mut object = names("/", &tags, 0);
            let (mut hard, mut soft) = (false, false);
            for (tag, is_soft, refetch) in steps {
                purges.purge(Name::tag(tag.to_string().as_bytes()), if is_soft { Force::Soft } else { Force::Hard });
                if tag < 2 {
                    if is_soft { soft = true } else { hard = true }
                }
                let expected = match (hard, soft) {
                    (true, _) => Verdict::Gone,
                    (_, true) => Verdict::Stale,
                    _ => Verdict::Kept,
                };
                prop_assert_eq!(purges.verdict(&object), expected);
                if refetch {
                    object = object.since(purges.now());
                    (hard, soft) = (false, false);
                }
            }
        }
    }
}
