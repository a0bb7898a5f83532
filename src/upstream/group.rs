//! What the servers of one upstream share, for as long as any of them is in use.
//!
//! A group lives over reloads, found again by the upstream's name: its servers by address, how
//! they are judged, how many are out, how many requests they carry. Pools come and go above it.

use super::Time;
use super::gate::Gate;
use super::health::Rules;
use super::server::Server;
use crate::endpoint::Endpoint;
use crate::observe::{Metrics, PoolMetrics};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use tokio::sync::Notify;

pub struct Group {
    pub name: Arc<str>,
    pub metrics: PoolMetrics,
    pub gate: Arc<Gate>,
    families: Arc<Metrics>,
    servers: Mutex<HashMap<Endpoint, Weak<Server>>>,
    rules: ArcSwap<Rules>,
    /// Counts the changes of any server's standing, so that pools know when to look again.
    changes: AtomicU64,
    in_flight: AtomicUsize,
    websockets: AtomicUsize,
    /// Of those, requests that are in another try.
    retrying: AtomicUsize,
    /// Told when one of those ends.
    pub(super) retry_freed: Notify,
    /// Servers that are ejected, and how many may be.
    ejected: AtomicUsize,
    most_ejected: AtomicUsize,
    /// A configuration with this upstream is or was in force.
    serves: AtomicBool,
}

/// An open WebSocket, or another protocol switched to; counted until dropped.
pub struct WebSocket(Arc<Group>);

impl WebSocket {
    pub fn begin(group: &Arc<Group>) -> WebSocket {
        group.websockets.fetch_add(1, Relaxed);
        WebSocket(group.clone())
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        self.0.websockets.fetch_sub(1, Relaxed);
    }
}

impl Group {
    pub fn new(name: &str, families: Arc<Metrics>) -> Arc<Group> {
        Arc::new(Group {
            name: name.into(),
            metrics: families.pool(name),
            gate: Gate::new(),
            families,
            servers: Mutex::default(),
            rules: ArcSwap::default(),
            changes: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            websockets: AtomicUsize::new(0),
            retrying: AtomicUsize::new(0),
            retry_freed: Notify::new(),
            ejected: AtomicUsize::new(0),
            most_ejected: AtomicUsize::new(0),
            serves: AtomicBool::new(false),
        })
    }

    /// The server that has this address now, or a new one.
    pub fn enlist(self: &Arc<Group>, address: &Endpoint) -> Arc<Server> {
        let mut servers = self.lock();
        let entry = servers.entry(address.clone()).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let metrics = self.families.server(&self.name, &address.to_string());
            let late = self.serves.load(Relaxed);
            let server = Server::new(address.clone(), metrics, self.clone(), late, Time::now());
            *entry = Arc::downgrade(&server);
            server
        })
    }

    /// All that are in use, those that left the configuration included.
    pub fn servers(&self) -> Vec<Arc<Server>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// `rules` are in force for all servers; at most so many may be ejected at once.
    pub fn judge(&self, rules: Rules, most_ejected: usize, now: Time) {
        self.serves.store(true, Relaxed);
        self.most_ejected.store(most_ejected, Relaxed);
        self.rules.store(Arc::new(rules));
        self.servers().iter().for_each(|server| server.judge(now));
        self.change();
    }

    pub fn rules(&self) -> arc_swap::Guard<Arc<Rules>> {
        self.rules.load()
    }

    pub fn changes(&self) -> u64 {
        // What was changed before the count must be seen by who sees the count.
        self.changes.load(std::sync::atomic::Ordering::Acquire)
    }

    pub fn change(&self) {
        self.changes
            .fetch_add(1, std::sync::atomic::Ordering::Release);
    }

    pub(super) fn report(&self) {
        for server in self.servers() {
            server.metrics.active.set(server.in_flight() as i64);
        }
        self.metrics.running.set(self.gate.running() as i64);
        self.metrics.waiting.set(self.gate.waiting() as i64);
        self.metrics.concurrency.set(self.gate.size() as i64);
    }

    /// Requests that its servers carry.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    pub fn websockets(&self) -> usize {
        self.websockets.load(Relaxed)
    }

    /// Of those, requests that are in another try.
    pub fn retrying(&self) -> usize {
        self.retrying.load(Relaxed)
    }

    pub(super) fn began(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Takes a place among those that may be in another try.
    pub(super) fn begin_retry(&self, most: usize) -> bool {
        one_more_of(&self.retrying, most)
    }

    pub(super) fn end_retry(&self) {
        self.retrying.fetch_sub(1, Relaxed);
    }

    /// Takes a place among those that may be ejected.
    pub(super) fn may_eject(&self) -> bool {
        one_more_of(&self.ejected, self.most_ejected.load(Relaxed))
    }

    pub(super) fn is_back(&self) {
        self.ejected.fetch_sub(1, Relaxed);
    }

    pub(super) fn forget(&self, address: &Endpoint) {
        let mut servers = self.lock();
        // One of the same address may have come while this one went: the series are its own now.
        if servers
            .get(address)
            .is_some_and(|server| server.strong_count() == 0)
        {
            servers.remove(address);
            self.families
                .forget_server(&self.name, &address.to_string());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Endpoint, Weak<Server>>> {
        self.servers
            .lock()
            .expect("nothing panics while it holds the servers")
    }
}

fn one_more_of(count: &AtomicUsize, most: usize) -> bool {
    let one_more = |n: usize| (n < most).then_some(n + 1);
    count.fetch_update(Relaxed, Relaxed, one_more).is_ok()
}
