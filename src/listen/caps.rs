//! How many connections may be open: in all, and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

const SHARDS: usize = 64;

/// Counts of open connections; bounded by the connections themselves.
pub struct Caps {
    open: AtomicUsize,
    by_address: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    /// Told whenever the last one has closed.
    empty: Notify,
}

/// One connection's place; given back when dropped.
pub struct Place {
    caps: Arc<Caps>,
    address: IpAddr,
}

/// The places of one connection.
pub struct Places {
    /// Among all connections, and those of its address.
    pub all: Place,
    /// Among those of its listener.
    pub own: Place,
}

impl Caps {
    pub fn new() -> Arc<Caps> {
        Arc::new(Caps {
            open: AtomicUsize::new(0),
            by_address: std::array::from_fn(|_| Mutex::default()),
            empty: Notify::new(),
        })
    }

    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Until none is open; meaningful once nobody can enter any more.
    pub async fn emptied(&self) {
        while self.open() > 0 {
            self.empty.notified().await;
        }
    }

    /// A place for a connection from `address`, unless a cap is reached.
    pub fn enter(
        self: &Arc<Caps>,
        address: IpAddr,
        most: usize,
        per_address: usize,
    ) -> Option<Place> {
        let taken = |n: usize| (n < most).then_some(n + 1);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .ok()?;
        if !self.count(address, per_address) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Place {
            caps: self.clone(),
            address,
        })
    }

    /// Open from this address.
    pub fn open_of(&self, address: IpAddr) -> usize {
        self.shard(address).get(&address).copied().unwrap_or(0)
    }

    /// One more of this address, unless there are as many as may be.
    fn count(&self, address: IpAddr, most: usize) -> bool {
        let mut counts = self.shard(address);
        let count = counts.entry(address).or_insert(0);
        let fits = *count < most;
        if fits {
            *count += 1;
        } else if *count == 0 {
            counts.remove(&address);
        }
        fits
    }

    fn discount(&self, address: IpAddr) {
        let mut counts = self.shard(address);
        if let Some(count) = counts.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&address);
            }
        }
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        let last = match address {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(v6) => v6.octets()[15] ^ v6.octets()[7],
        };
        self.by_address[usize::from(last) % SHARDS]
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

impl Place {
    /// Counts for another address from here on: who is behind the proxy that has connected. False,
    /// and nothing changes, where that has as many places as it may.
    pub fn give_to(&mut self, address: IpAddr, per_address: usize) -> bool {
        let fits = self.caps.count(address, per_address);
        if fits {
            self.caps.discount(self.address);
            self.address = address;
        }
        fits
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.caps.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.caps.empty.notify_one();
        }
        self.caps.discount(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let caps = Caps::new();
        let (a, b) = (
            "10.0.0.1".parse().expect("ip"),
            "10.0.0.2".parse().expect("ip"),
        );
        let first = caps.enter(a, 3, 2).expect("a place");
        let _second = caps.enter(a, 3, 2).expect("a place");
        assert!(caps.enter(a, 3, 2).is_none(), "per address");
        let _third = caps.enter(b, 3, 2).expect("a place");
        assert!(caps.enter(b, 3, 2).is_none(), "in all");
        assert_eq!(caps.open(), 3);
        drop(first);
        let mut moved = caps.enter(a, 3, 2).expect("a place");
        assert!(!moved.give_to(b, 1));
        assert!(moved.give_to(b, 2));
        drop(moved);
        assert!(caps.enter(a, 3, 2).is_some());
        assert_eq!(caps.open(), 2, "that one was dropped at once");
    }
}
