//! What an object is called: by its URL, its host, its folders, and the tags that its origin gave it.

use crate::cache::key::{Key, named};
use http::{HeaderMap, HeaderName};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use xxhash_rust::xxh3::Xxh3;

/// Where origins write an object's tags: separated by spaces, or by commas.
pub const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
pub const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

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

    pub(super) fn is_tag(self) -> bool {
        self.0 & 1 == 1
    }
}

/// What an object is called, and since when it counts as asked for.
#[derive(Debug, Default)]
pub struct Names {
    pub(super) since: u64,
    /// Of the fill that asked for it: a later one has a higher. 0: what another process asked for.
    fill: u64,
    pub(super) names: Arc<[Name]>,
    /// The last time that it was looked at and kept.
    pub(super) kept_at: AtomicU64,
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

    pub(in crate::cache) fn of(names: Arc<[Name]>, since: u64) -> Names {
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

    pub(in crate::cache) fn filled_by(self, fill: u64) -> Names {
        Names { fill, ..self }
    }

    pub(in crate::cache) fn fill(&self) -> u64 {
        self.fill
    }

    pub(in crate::cache) fn list(&self) -> &[Name] {
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
