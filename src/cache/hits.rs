//! How often objects are asked for.

use super::key::Key;
use super::object::Object;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How often an object was found since it was stored.
#[derive(Debug, Default)]
pub struct Hits {
    count: AtomicU64,
    refreshing: AtomicBool,
}

impl Hits {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether somebody has begun to fetch the object anew before its end.
    pub fn is_refreshing(&self) -> bool {
        self.refreshing.load(Ordering::Relaxed)
    }

    /// True once: for who is to do it.
    pub fn may_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Of the objects looked at, those found most often.
pub struct Hottest {
    limit: usize,
    top: BinaryHeap<Reverse<Ranked>>,
}

impl Hottest {
    pub fn new(limit: usize) -> Hottest {
        let top = BinaryHeap::with_capacity(limit + 1);
        Hottest { limit, top }
    }

    /// `counts` is asked no more often than it must be.
    pub fn look(&mut self, key: &Key, object: &Arc<Object>, counts: impl Fn(&Object) -> bool) {
        let hits = object.hits.count();
        let is_full = self.top.len() >= self.limit;
        let is_less = |Reverse(least): &Reverse<Ranked>| hits <= least.hits;
        if is_full && self.top.peek().is_none_or(is_less) || !counts(object) {
            return;
        }
        let (key, object) = (key.clone(), object.clone());
        self.top.push(Reverse(Ranked { hits, key, object }));
        if is_full {
            self.top.pop();
        }
    }

    /// Most first.
    pub fn into_sorted(self) -> Vec<(Key, Arc<Object>)> {
        let ranked = self.top.into_sorted_vec();
        let pair = |Reverse(ranked): Reverse<Ranked>| (ranked.key, ranked.object);
        ranked.into_iter().map(pair).collect()
    }
}

/// By the hits that were read first: they go on while others are looked at.
struct Ranked {
    hits: u64,
    key: Key,
    object: Arc<Object>,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Ranked) -> std::cmp::Ordering {
        self.hits.cmp(&other.hits)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Ranked) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Ranked) -> bool {
        self.hits == other.hits
    }
}

impl Eq for Ranked {}
