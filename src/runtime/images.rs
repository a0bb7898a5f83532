//! What pictures are made with: settings, the pools that they size, and what bounds and helps them.

mod memory;
mod together;

pub use memory::{Memory, SourceRoom};
pub use together::{Done, Ticket};

use crate::cache::{Key, Object};
use crate::pool::Pool;
use http::HeaderValue;
use http::header::{ETAG, LAST_MODIFIED};
use lakh_image::{ImageSettings, Overlays, Plan, Source};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use together::Together;

/// Sources whose renditions are remembered, and renditions of each.
const SOURCES: u64 = 16_384;
const RENDITIONS: usize = 32;

/// Of the threads that transform (setpriority(2)): those that serve come first, and those that make what
/// is not waited for last.
const NICENESS: i32 = 10;
const SLOW_NICENESS: i32 = 15;

pub struct Images {
    pub settings: ImageSettings,
    pub pool: Pool,
    /// For what takes so long that there is something else to have sooner, which it must not hold up.
    pub slow_pool: Pool,
    pub together: Together,
    pub memory: Arc<Memory>,
    pub late: Late,
    pub shelf: Shelf,
    pub overlays: Overlays,
}

impl Images {
    pub fn new(settings: ImageSettings) -> Images {
        let pool = |what, niceness| Pool::nice(what, settings.workers, settings.queue, niceness);
        Images {
            pool: pool("image", NICENESS),
            slow_pool: pool("avif", SLOW_NICENESS),
            together: Together::default(),
            memory: Arc::new(Memory::new(settings.max_memory)),
            late: Late::default(),
            shelf: Shelf::new(),
            overlays: settings.overlays(),
            settings,
        }
    }

    /// What is made into a picture for this URL, path and query, whether it would be made or not.
    pub fn source_of(&self, host: &str, target: &str) -> Option<Source> {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let asked = lakh_image::Request {
            host,
            path,
            query,
            client: lakh_image::Client::default(),
            now: 0,
        };
        lakh_image::source_of(&asked, &self.settings)
    }

    /// The one that makes it.
    pub fn pool_for(&self, plan: &Plan) -> &Pool {
        match is_slow(plan) {
            true => &self.slow_pool,
            false => &self.pool,
        }
    }
}

fn is_slow(plan: &Plan) -> bool {
    plan.sooner().is_some()
}

/// Renditions that are still being made though nobody could wait for them any longer. They are not
/// begun a second time. As many as the pool has jobs at most.
#[derive(Default)]
pub struct Late(Mutex<HashSet<Key>>);

/// It is late until this is dropped.
pub struct IsLate<'l>(&'l Late, Key);

impl Late {
    pub fn add(&self, key: &Key) -> IsLate<'_> {
        lock(&self.0).insert(key.clone());
        IsLate(self, key.clone())
    }

    pub fn has(&self, key: &Key) -> bool {
        lock(&self.0).contains(key)
    }
}

impl Drop for IsLate<'_> {
    fn drop(&mut self) {
        lock(&self.0.0).remove(&self.1);
    }
}

/// Which renditions of a source were stored lately, whether they still are or not.
pub struct Shelf(moka::sync::Cache<Key, Arc<Mutex<Vec<Kept>>>>);

struct Kept {
    plan: Plan,
    key: Key,
    made_of: Option<MadeOf>,
}

/// What a stored rendition was made of, as far as that can be told without looking at all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeOf {
    pub source: Validators,
    /// The rendition's own tag: another one may have come in its place.
    pub tag: HeaderValue,
}

/// What a source that is still the same still has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    tag: Option<HeaderValue>,
    changed: Option<HeaderValue>,
    /// Of its bytes, where its server says neither.
    digest: Option<[u8; 32]>,
    length: usize,
}

impl Validators {
    /// None: its server doesn't say, and nobody has looked at all of its bytes.
    pub fn of(source: &Object) -> Option<Validators> {
        let field = |name| source.headers.get(name).cloned();
        let (tag, changed) = (field(ETAG), field(LAST_MODIFIED));
        let is_told = tag.is_some() || changed.is_some();
        let digest = source.known_digest.get().filter(|_| !is_told);
        (is_told || digest.is_some()).then_some(Validators {
            tag,
            changed,
            digest: digest.map(|digest| **digest),
            length: source.body.len(),
        })
    }
}

impl Shelf {
    fn new() -> Shelf {
        Shelf(moka::sync::Cache::new(SOURCES))
    }

    pub fn add(&self, source: &Key, plan: &Plan, key: &Key, made_of: Option<MadeOf>) {
        let shelf = self.0.get_with_by_ref(source, Arc::default);
        let mut kept = lock(&shelf);
        kept.retain(|kept| kept.key != *key);
        if kept.len() == RENDITIONS {
            kept.remove(0);
        }
        let (plan, key) = (plan.clone(), key.clone());
        kept.push(Kept { plan, key, made_of });
    }

    /// What the rendition under `key` was made of.
    pub fn made_of(&self, source: &Key, key: &Key) -> Option<MadeOf> {
        let shelf = self.0.get(source)?;
        let kept = lock(&shelf);
        kept.iter().find(|kept| kept.key == *key)?.made_of.clone()
    }

    /// Those that differ in nothing but size, the nearest one first; of two, the larger.
    pub fn nearest(&self, source: &Key, plan: &Plan) -> Vec<Key> {
        let Some(shelf) = self.0.get(source) else {
            return Vec::new();
        };
        let width = |plan: &Plan| i64::from(plan.width().unwrap_or(u32::MAX));
        let wanted = width(plan);
        let kept = lock(&shelf);
        let mut alike: Vec<_> = kept.iter().filter(|kept| kept.plan.is_like(plan)).collect();
        alike.sort_by_key(|kept| {
            let width = width(&kept.plan);
            (width.abs_diff(wanted), std::cmp::Reverse(width))
        });
        alike.into_iter().map(|kept| kept.key.clone()).collect()
    }
}

/// No code panics while it holds one of these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{KeyRules, Scheme, Url};

    fn key(path: &str) -> Key {
        let url = Url::new("h", path.as_bytes());
        KeyRules::default().key("app", Scheme::Http, &url, &http::HeaderMap::new())
    }

    fn plan(query: &str) -> Plan {
        let plan = Plan::from_request(Some(query), None, &ImageSettings::default());
        plan.expect("good").expect("a plan")
    }

    #[test]
    fn avif_does_not_hold_up_what_is_sent_in_its_place() {
        let images = Images::new(ImageSettings {
            avif: true,
            ..ImageSettings::default()
        });
        let accept = Some("image/avif,image/webp");
        let plan = Plan::from_request(Some("w=9"), accept, &images.settings);
        let plan = plan.expect("good").expect("a plan");
        let sooner = plan.sooner().expect("WebP");
        assert!(std::ptr::eq(
            images.pool_for(&plan),
            &raw const images.slow_pool
        ));
        assert!(std::ptr::eq(
            images.pool_for(&sooner),
            &raw const images.pool
        ));
    }

    #[test]
    fn the_nearest_differs_in_size_alone() {
        let (shelf, source) = (Shelf::new(), key("/p"));
        for query in ["w=100", "w=400", "w=800", "w=500&f=png", "w=500&blur=3"] {
            let plan = plan(query);
            shelf.add(&source, &plan, &source.derived(&plan.key()), None);
        }
        let nearest = |query: &str| shelf.nearest(&source, &plan(query)).first().cloned();
        let made = |query: &str| Some(source.derived(&plan(query).key()));
        assert_eq!(nearest("w=420"), made("w=400"));
        assert_eq!(nearest("w=250"), made("w=400"), "of two, the larger");
        assert_eq!(nearest("q=20"), made("w=800"));
        assert_eq!(nearest("w=9&f=png"), made("w=500&f=png"));
        assert_eq!(nearest("w=9&f=webp"), None);
        assert!(shelf.nearest(&key("/other"), &plan("w=9")).is_empty());
        for width in 1..100 {
            let plan = plan(&format!("w={width}"));
            shelf.add(&source, &plan, &source.derived(&plan.key()), None);
        }
        assert_eq!(shelf.nearest(&source, &plan("w=9")).len(), RENDITIONS);
    }

    #[test]
    fn what_is_late_is_late_until_it_is_done() {
        let late = Late::default();
        let is_late = late.add(&key("/p"));
        assert!(late.has(&key("/p")) && !late.has(&key("/q")));
        drop(is_late);
        assert!(!late.has(&key("/p")));
    }
}
