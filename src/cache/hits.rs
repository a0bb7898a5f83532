//! How often objects are asked for.

use super::key::Key;
use super::store::Object;
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

/// The `limit` objects found most often, most first. Only those that `counts` are told of, which
/// is asked of no more than it must be.
pub fn hottest(
    objects: impl Iterator<Item = (Arc<Key>, Arc<Object>)>,
    limit: usize,
    counts: impl Fn(&Object) -> bool,
) -> Vec<(Arc<Key>, Arc<Object>)> {
    let mut top: BinaryHeap<Reverse<Ranked>> = BinaryHeap::with_capacity(limit + 1);
    for (key, object) in objects {
        let hits = object.hits.count();
        let full = top.len() >= limit;
        if full && top.peek().is_none_or(|Reverse(least)| hits <= least.hits) || !counts(&object) {
            continue;
        }
        top.push(Reverse(Ranked { hits, key, object }));
        if full {
            top.pop();
        }
    }
    let ranked = top.into_sorted_vec();
    ranked
        .into_iter()
        .map(|Reverse(r)| (r.key, r.object))
        .collect()
}

/// By the hits that were read first: they go on while others are looked at.
struct Ranked {
    hits: u64,
    key: Arc<Key>,
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
