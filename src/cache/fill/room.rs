//! What the bodies of a zone's running fills may take of memory together.

use std::sync::atomic::{AtomicU64, Ordering};

/// In bytes.
pub struct Room {
    most: u64,
    taken: AtomicU64,
}

impl Room {
    pub fn new(most: u64) -> Room {
        Room {
            most,
            taken: AtomicU64::new(0),
        }
    }

    /// False where there is not as much left; nothing is taken then.
    pub fn take(&self, bytes: u64) -> bool {
        let more = |taken: u64| taken.checked_add(bytes).filter(|taken| *taken <= self.most);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.taken.fetch_update(set, fetch, more).is_ok()
    }

    pub fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}
