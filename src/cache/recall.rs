//! What a zone asks its slower tiers for, and what it hands down to them.

use super::key::Key;
use super::object::Object;
use super::purge::Verdict;
use super::store::Zone;
use super::tier::{Found, Place, made_root};
use http::{HeaderMap, HeaderName};
use std::sync::Arc;

/// An object out of a slower tier.
pub struct Recalled {
    pub object: Box<Object>,
    /// Where it goes in memory.
    pub key: Key,
    /// The tier's name, for `Cache-Status`.
    pub tier: &'static str,
}

impl<H> Zone<H> {
    /// The object that this request asks for, fresh or stale; `key` is that of the object without
    /// variants, and `root` what it hangs on, which may be itself.
    pub async fn recall(
        &self,
        root: &Key,
        key: &Key,
        request: &HeaderMap,
        now: u64,
    ) -> Option<Recalled> {
        let below = |names: &[HeaderName]| key.variant(0, names, request);
        let (found, tier) = self.look_below(root, below).await?;
        let key = self.place(key, &found.names, request, &found.object.names);
        self.recalled(found, tier, key, now)
    }

    /// What was made of the object that this request asks for. `what`: as in `Key::derived`.
    pub async fn recall_made(
        &self,
        root: &Key,
        key: &Key,
        what: &str,
        request: &HeaderMap,
        now: u64,
    ) -> Option<Recalled> {
        let below = |names: &[HeaderName]| made_below(key, names, request, what);
        let (found, tier) = self.look_below(&made_root(root), below).await?;
        let key = self.place(key, &found.names, request, &found.object.names);
        self.recalled(found, tier, key.derived(what), now)
    }

    /// Whether there are any.
    pub fn has_slower(&self) -> bool {
        self.disk.is_some() || self.redis.is_some()
    }

    /// In the nearest tier first.
    async fn look_below(
        &self,
        root: &Key,
        below: impl Fn(&[HeaderName]) -> Key + Send + Sync,
    ) -> Option<(Found, &'static str)> {
        if let Some(disk) = &self.disk
            && let Some(found) = disk.get(root, &below).await
        {
            return Some((found, "disk"));
        }
        let found = self.redis.as_ref()?.get(root, &below).await?;
        Some((found, "redis"))
    }

    fn recalled(&self, found: Found, tier: &'static str, key: Key, now: u64) -> Option<Recalled> {
        let object = match self.purges.verdict(&found.object.names) {
            Verdict::Kept => found.object,
            Verdict::Stale => Box::new(self.aged(&found.object, now)),
            Verdict::Gone => return None,
        };
        Some(Recalled { object, key, tier })
    }

    /// Stores an object in the slower tiers, in the background; `names` is what it varies by.
    pub fn hand_down(
        &self,
        root: &Key,
        key: &Key,
        names: &[HeaderName],
        request: &HeaderMap,
        object: &Arc<Object>,
    ) {
        let below = || (names.to_vec(), key.variant(0, names, request));
        self.put_below(object, || Place {
            root: root.clone(),
            below: (root != key || !names.is_empty()).then(below),
        });
    }

    /// The same for what was made of it. `what`: as in `Key::derived`.
    pub fn hand_down_made(
        &self,
        root: &Key,
        key: &Key,
        names: &[HeaderName],
        request: &HeaderMap,
        what: &str,
        object: &Arc<Object>,
    ) {
        self.put_below(object, || Place {
            root: made_root(root),
            below: Some((names.to_vec(), made_below(key, names, request, what))),
        });
    }

    fn put_below(&self, object: &Arc<Object>, place: impl Fn() -> Place) {
        if let Some(disk) = &self.disk {
            disk.put(place(), object);
        }
        if let Some(redis) = &self.redis {
            redis.put(place(), object);
        }
    }
}

/// What was made of the variant that this request asks for. Generations are a process' own.
fn made_below(key: &Key, names: &[HeaderName], request: &HeaderMap, what: &str) -> Key {
    match names {
        [] => key.derived(what),
        names => key.variant(0, names, request).derived(what),
    }
}
