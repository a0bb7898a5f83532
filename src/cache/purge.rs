//! Taking back what is stored, by what it is called: its URL, its host, a folder, or a tag that its
//! origin gave it.
//!
//! Every object carries the hashes of its names, and a purge only notes a name and the time, which
//! is a count of purges. An object is gone when one of its names was purged after it was asked for.
//! So a purge costs the same however much it takes back, and variants, renditions and fills under
//! way go with the rest. Objects that were looked at since the last purge cost one comparison.

use super::key::Key;
use http::{HeaderMap, HeaderName};
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Where origins write an object's tags: separated by spaces, or by commas.
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// Purged names that are remembered. When one more comes, what is older than the first of them is
/// gone as a whole: fetched again once, which is safe.
const MAX_PURGED: usize = 100_000;
/// Of one object; more are ignored, as other caches do with fields that grow without bound.
const MAX_TAGS: usize = 256;
const MAX_FOLDERS: usize = 32;

/// A name that objects can be purged by. Two with the same hash are purged together.
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
        Name::of(b'f', &[host.to_ascii_lowercase().as_bytes(), folder])
    }

    /// `address` is `KeyRules::address`.
    pub fn url(address: &Key) -> Name {
        Name::of(b'u', &[address.as_bytes()])
    }

    fn of(kind: u8, parts: &[&[u8]]) -> Name {
        let mut hasher = DefaultHasher::new();
        (kind, parts).hash(&mut hasher);
        Name(hasher.finish())
    }
}

/// What an object is called, and since when it counts as asked for.
#[derive(Debug, Default)]
pub struct Names {
    since: u64,
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
    /// Of an answer for `path` on `host`; `address` is `KeyRules::address`.
    pub fn new(host: &str, path: &[u8], address: &Key, answer: &HeaderMap, since: u64) -> Names {
        let mut names = vec![Name::url(address), Name::host(host)];
        let folders = memchr::memchr_iter(b'/', path).take(MAX_FOLDERS);
        names.extend(folders.map(|slash| Name::folder(host, &path[..=slash])));
        names.extend(tags(answer).take(MAX_TAGS).map(Name::tag));
        Names {
            since,
            names: names.into(),
            kept_at: AtomicU64::new(since),
        }
    }

    /// The same names, asked for anew.
    pub fn since(&self, since: u64) -> Names {
        Names {
            since,
            names: self.names.clone(),
            kept_at: AtomicU64::new(since),
        }
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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    purged: HashMap<Name, Times>,
    order: VecDeque<(u64, Name)>,
    /// What was asked for before is gone.
    floor: u64,
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

    pub fn purge(&self, name: Name, force: Force) {
        let mut state = self.lock();
        let now = self.now() + 1;
        let times = state.purged.entry(name).or_default();
        match force {
            Force::Hard => times.hard = now,
            Force::Soft => times.soft = now,
        }
        state.order.push_back((now, name));
        state.forget_oldest();
        self.count.store(now, Ordering::Release);
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
        while self.order.len() > MAX_PURGED {
            let Some((time, name)) = self.order.pop_front() else {
                return;
            };
            self.floor = time;
            // Unless it was purged again since.
            let last = |times: &Times| times.hard.max(times.soft);
            if self
                .purged
                .get(&name)
                .is_some_and(|times| last(times) == time)
            {
                self.purged.remove(&name);
            }
        }
    }
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
        Names::new("h", path.as_bytes(), &address(path), &answer, since)
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
