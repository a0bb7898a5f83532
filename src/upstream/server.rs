//! One server of an upstream: its load and its health, for as long as anybody uses it.
//!
//! A server lives over reloads: the `Roll` finds it again by upstream and address, so a new
//! configuration goes on with the same counts and the same health. Requests hold it through a
//! `Lease`, and the count of requests in flight must never drift: only a `Lease` changes it.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tracing::{info, warn};

use super::health::{Health, Streak};
use super::settings::HealthCheckSettings;
use crate::observe::{Metrics, ServerMetrics};

/// How soon a server that is down or in doubt is probed again, when its interval is longer: it
/// should be back soon after it recovered.
const RECHECK: Duration = Duration::from_millis(500);

pub struct Server {
    pub address: SocketAddr,
    pub id: ServerId,
    pub metrics: ServerMetrics,
    upstream: Arc<str>,
    load: Load,
    health: Mutex<Record>,
    /// Wakes the probe when a request found the server dead.
    pub(super) suspected: Notify,
    roll: Arc<Roll>,
}

/// What picking reads of every server, kept together: one cache line each, not two.
#[repr(align(16))]
struct Load {
    in_flight: AtomicUsize,
    /// `DOWN` and `DRAINING`, in one byte so that usable is one comparison.
    barred: AtomicU8,
}

/// Fails its health check, or refused a connection.
const DOWN: u8 = 1;
const DRAINING: u8 = 2;

/// Names a server in a sticky cookie. The same on every edge and over restarts, because it comes
/// from the address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerId(pub(super) u64);

/// One request's hold on a server. Counts as in flight until dropped, however the request ends.
pub struct Lease {
    server: Arc<Server>,
    index: usize,
}

/// Every server that is in use, so that a reload finds it again.
pub(super) struct Roll {
    metrics: Arc<Metrics>,
    servers: Mutex<HashMap<Key, Weak<Server>>>,
}

/// Upstream and address.
pub(super) type Key = (Arc<str>, SocketAddr);

struct Record {
    streak: Streak,
    since: SystemTime,
    last_error: Option<String>,
    /// Whether a probe runs. Without one nothing would bring a server back up.
    probed: bool,
}

impl Server {
    /// May get requests: up, and not being drained.
    pub fn usable(&self) -> bool {
        self.load.barred.load(Relaxed) == 0
    }

    pub fn up(&self) -> bool {
        self.load.barred.load(Relaxed) & DOWN == 0
    }

    pub fn draining(&self) -> bool {
        self.load.barred.load(Relaxed) & DRAINING != 0
    }

    /// A draining server finishes its requests and gets no new ones, not even when all others
    /// are down.
    pub fn set_draining(&self, draining: bool) {
        self.load.bar(DRAINING, draining);
    }

    pub fn in_flight(&self) -> usize {
        self.load.in_flight.load(Relaxed)
    }

    /// For the admin API.
    pub fn health(&self) -> Health {
        let record = self.record();
        let last_error = record.last_error.clone();
        Health {
            up: record.streak.up(),
            since: record.since,
            last_error,
        }
    }

    /// The proxy calls this when the server refused a connection. Where a probe can bring it back
    /// it is down at once, instead of after as many lost requests as failed probes take.
    pub fn connect_failed(&self) {
        if !self.up() {
            return;
        }
        let mut record = self.record();
        if record.probed && record.streak.fall() {
            self.turn(&mut record, Some("refused a connection".into()));
            self.suspected.notify_one();
        }
    }

    /// Takes a probe's result; gives how long to wait before the next.
    pub(super) fn probed(
        &self,
        result: Result<(), String>,
        check: &HealthCheckSettings,
    ) -> Duration {
        let mut record = self.record();
        // A probe may end just after its task was told to stop: its word no longer counts.
        if record.probed {
            let turned = record.streak.observe(result.is_ok(), check);
            let error = result.err();
            if turned {
                self.turn(&mut record, error);
            } else if error.is_some() || record.streak.settled_up() {
                record.last_error = error;
            }
        }
        match record.streak.settled_up() {
            true => check.interval,
            false => check.interval.min(RECHECK),
        }
    }

    /// From here on a probe decides.
    pub(super) fn start_probing(&self) {
        self.record().probed = true;
    }

    /// From here on nobody decides: the server counts as up, as one that was never probed.
    pub(super) fn stop_probing(&self) {
        let mut record = self.record();
        if record.probed {
            record.probed = false;
            if record.streak.rise() {
                self.turn(&mut record, None);
            }
        }
    }

    /// Shows to everybody that the state has changed.
    fn turn(&self, record: &mut Record, error: Option<String>) {
        let up = record.streak.up();
        self.load.bar(DOWN, !up);
        self.metrics.up.set(up.into());
        record.since = SystemTime::now();
        record.last_error = error;
        let (upstream, server) = (&self.upstream, self.address);
        match &record.last_error {
            Some(why) => warn!(%upstream, %server, why, "server is down"),
            None => info!(%upstream, %server, "server is up"),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.health
            .lock()
            .expect("nothing panics while it holds a health record")
    }
}

impl Load {
    fn bar(&self, why: u8, barred: bool) {
        match barred {
            true => self.barred.fetch_or(why, Relaxed),
            false => self.barred.fetch_and(!why, Relaxed),
        };
    }
}

impl Drop for Server {
    /// Nobody uses it any more: no configuration, no request, no probe.
    fn drop(&mut self) {
        self.roll.forget(&(self.upstream.clone(), self.address));
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.address, self.upstream)
    }
}

impl ServerId {
    pub fn of(address: SocketAddr) -> ServerId {
        let digest = Sha256::digest(address.to_string());
        let first = digest.first_chunk().expect("a SHA-256 digest has 32 bytes");
        ServerId(u64::from_be_bytes(*first))
    }
}

impl Lease {
    /// `index` is the server's place in the pool that it was picked from.
    pub(super) fn new(server: Arc<Server>, index: usize) -> Lease {
        server.load.in_flight.fetch_add(1, Relaxed);
        server.metrics.active.inc();
        server.metrics.requests.inc();
        Lease { server, index }
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Counts a failure: no connection, broken, timed out.
    pub fn failed(&self) {
        self.server.metrics.failures.inc();
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.load.in_flight.fetch_sub(1, Relaxed);
        self.server.metrics.active.dec();
    }
}

impl Roll {
    pub(super) fn new(metrics: Arc<Metrics>) -> Arc<Roll> {
        Arc::new(Roll {
            metrics,
            servers: Mutex::default(),
        })
    }

    /// The server that has this name now, or a new one.
    pub(super) fn enlist(
        self: &Arc<Roll>,
        upstream: &Arc<str>,
        address: SocketAddr,
    ) -> Arc<Server> {
        let mut servers = self.servers();
        let entry = servers.entry((upstream.clone(), address)).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let server = Arc::new(self.new_server(upstream.clone(), address));
            *entry = Arc::downgrade(&server);
            server
        })
    }

    fn new_server(self: &Arc<Roll>, upstream: Arc<str>, address: SocketAddr) -> Server {
        let metrics = self.metrics.server(&upstream, &address.to_string());
        metrics.up.set(1);
        let record = Record {
            streak: Streak::new(),
            since: SystemTime::now(),
            last_error: None,
            probed: false,
        };
        Server {
            address,
            id: ServerId::of(address),
            metrics,
            upstream,
            load: Load {
                in_flight: AtomicUsize::new(0),
                barred: AtomicU8::new(0),
            },
            health: Mutex::new(record),
            suspected: Notify::new(),
            roll: self.clone(),
        }
    }

    fn forget(&self, key: &Key) {
        let mut servers = self.servers();
        // One of the same name may have come while this one went: the series are its own now.
        if servers
            .get(key)
            .is_some_and(|server| server.strong_count() == 0)
        {
            servers.remove(key);
            self.metrics.forget_server(&key.0, &key.1.to_string());
        }
    }

    fn servers(&self) -> MutexGuard<'_, HashMap<Key, Weak<Server>>> {
        self.servers
            .lock()
            .expect("nothing panics while it holds the roll")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Arc<Server> {
        let roll = Roll::new(Arc::new(Metrics::new()));
        roll.enlist(&"app".into(), ([127, 0, 0, 1], 9001).into())
    }

    fn check() -> HealthCheckSettings {
        HealthCheckSettings {
            unhealthy_after: 2,
            healthy_after: 2,
            ..Default::default()
        }
    }

    fn broken() -> Result<(), String> {
        Err("status 503".into())
    }

    #[test]
    fn a_lease_counts_until_it_is_dropped_even_by_a_panic() {
        let server = server();
        let lease = Lease::new(server.clone(), 0);
        assert_eq!((server.in_flight(), server.metrics.active.get()), (1, 1));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = lease;
            std::panic::resume_unwind(Box::new("a phase panicked"));
        }))
        .expect_err("it panicked");
        assert_eq!((server.in_flight(), server.metrics.active.get()), (0, 0));
        assert_eq!(server.metrics.requests.get(), 1);
    }

    #[test]
    fn probes_take_it_down_and_bring_it_back() {
        let server = server();
        server.start_probing();
        assert_eq!(server.probed(broken(), &check()), RECHECK);
        assert!(server.up());
        server.probed(broken(), &check());
        assert!(!server.up() && !server.usable());
        assert_eq!(server.metrics.up.get(), 0);
        assert_eq!(server.health().last_error.as_deref(), Some("status 503"));
        server.probed(Ok(()), &check());
        assert!(!server.up());
        assert_eq!(server.probed(Ok(()), &check()), check().interval);
        assert!(server.up());
        assert_eq!(server.health().last_error, None);
        assert_eq!(server.metrics.up.get(), 1);
    }

    #[test]
    fn a_refused_connection_counts_only_where_a_probe_can_bring_it_back() {
        let server = server();
        server.connect_failed();
        assert!(server.up());
        server.start_probing();
        server.connect_failed();
        assert!(!server.up());
        let why = server.health().last_error.expect("it says why");
        assert_eq!(why, "refused a connection");
    }

    #[test]
    fn without_a_probe_it_is_up_and_late_results_are_ignored() {
        let server = server();
        server.start_probing();
        server.connect_failed();
        server.stop_probing();
        assert!(server.up());
        for _ in 0..3 {
            server.probed(broken(), &check());
        }
        assert!(server.up() && server.health().last_error.is_none());
    }

    #[test]
    fn a_draining_server_is_up_but_not_usable() {
        let server = server();
        server.set_draining(true);
        assert!(server.up() && !server.usable());
    }

    #[test]
    fn an_id_depends_on_the_address_alone() {
        let (one, other) = (([10, 0, 0, 1], 80).into(), ([10, 0, 0, 1], 81).into());
        assert_ne!(ServerId::of(one), ServerId::of(other));
        // Cookies of older versions must go on working.
        assert_eq!(ServerId::of(one), ServerId(0xE0F2_AF3B_3DAB_FB17));
    }
}
