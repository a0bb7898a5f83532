//! One server of an upstream: its load and its health, for as long as anybody uses it.
//!
//! A server lives over reloads: its `Group` finds it again by address, so a new configuration goes
//! on with the same counts and the same health. Requests hold it through a `Lease`, and the count
//! of requests in flight must never drift: only a `Lease` changes it.

use super::Time;
use super::group::Group;
use super::health::{Outcome, Record, Standing, State};
use crate::endpoint::Endpoint;
use crate::observe::ServerMetrics;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{info, warn};

pub struct Server {
    pub address: Endpoint,
    pub id: ServerId,
    pub metrics: ServerMetrics,
    load: Load,
    record: Mutex<Record>,
    /// Given by an operator, in the place of what configurations say.
    weight: Mutex<Option<u32>>,
    /// Wakes the probe when a request found the server dead.
    pub(super) suspected: Notify,
    group: Arc<Group>,
}

/// What requests read and write, kept together: one cache line each, not two.
#[repr(align(16))]
struct Load {
    in_flight: AtomicUsize,
    /// A success is news to the record. Most are not, and need no lock.
    in_doubt: AtomicBool,
}

/// Names a server in a sticky cookie. The same on every edge and over restarts, because it comes
/// from the address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServerId(pub(super) u64);

/// A server as the admin API shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub state: State,
    /// How long it has been in that state.
    pub since: Duration,
    /// Why it is in that state, or its last error while it is still up.
    pub why: Option<String>,
    pub active: usize,
    pub probe_error: Option<String>,
    pub breaker: &'static str,
    /// How long until one request may try an open breaker.
    pub open: Option<Duration>,
    /// How long until an ejection ends.
    pub ejected: Option<Duration>,
}

impl Server {
    pub(super) fn new(
        address: Endpoint,
        metrics: ServerMetrics,
        group: Arc<Group>,
        late: bool,
        now: Time,
    ) -> Arc<Server> {
        metrics.up.set(1);
        metrics.show(State::Up.label());
        Arc::new(Server {
            id: ServerId::of(&address),
            address,
            metrics,
            load: Load {
                in_flight: AtomicUsize::new(0),
                in_doubt: AtomicBool::new(false),
            },
            record: Mutex::new(Record::new(late, now)),
            weight: Mutex::default(),
            suspected: Notify::new(),
            group,
        })
    }

    /// Whose server it is.
    pub fn upstream(&self) -> &Arc<str> {
        &self.group.name
    }

    pub fn in_flight(&self) -> usize {
        self.load.in_flight.load(Relaxed)
    }

    pub fn state(&self) -> State {
        self.record().state()
    }

    /// For the admin API.
    pub fn shown(&self, now: Time) -> Shown {
        let record = self.record();
        let left = |until: Time| until.since(now);
        Shown {
            state: record.state(),
            since: now.since(record.since()),
            why: record.why().map(str::to_owned),
            active: self.in_flight(),
            probe_error: record.probe_error().map(str::to_owned),
            breaker: record.breaker().label(),
            open: record.breaker().until().map(left),
            ejected: record.ejected_until().map(left),
        }
    }

    /// A draining server finishes its requests and gets no new ones, not even when all others
    /// are down.
    pub fn set_draining(&self, draining: bool, now: Time) {
        self.change(now, |record| record.set_drained(draining, now));
    }

    pub fn is_drained(&self) -> bool {
        self.record().is_drained()
    }

    /// Pools made from here on go by it; None: by what their configuration says.
    pub fn weigh(&self, weight: Option<u32>) {
        *self.weight() = weight;
    }

    pub fn weight_by_hand(&self) -> Option<u32> {
        *self.weight()
    }

    pub(super) fn standing(&self, now: Time) -> Standing {
        let rules = self.group.rules();
        self.change(now, |record| record.standing(&rules, now))
    }

    /// Takes a probe's result; gives how long to wait before the next.
    pub(super) fn probed(&self, result: Result<(), String>, now: Time) -> Duration {
        let rules = self.group.rules();
        self.change(now, |record| record.probed(result, &rules, now))
    }

    pub(super) fn set_probed(&self, probed: bool, now: Time) {
        self.change(now, |record| record.set_probed(probed, now));
    }

    pub(super) fn judge(&self, now: Time) {
        let rules = self.group.rules();
        self.change(now, |record| record.judged_by(&rules, now));
    }

    fn told(&self, outcome: Outcome, now: Time) {
        let rules = self.group.rules();
        let may_eject = || self.group.may_eject();
        self.change(now, |record| record.told(outcome, &rules, may_eject, now));
        if outcome == Outcome::Refused {
            self.suspected.notify_one();
        }
    }

    /// All changes go this way, so that whatever turns is shown to everybody.
    fn change<R>(&self, now: Time, change: impl FnOnce(&mut Record) -> R) -> R {
        let mut record = self.record();
        let (before, was_out) = (record.state(), record.ejected());
        record.settle(now);
        let result = change(&mut record);
        if was_out && !record.ejected() {
            self.group.is_back();
        }
        self.load.in_doubt.store(record.in_doubt(), Relaxed);
        if record.state() != before {
            self.turned(&record);
        }
        result
    }

    fn turned(&self, record: &Record) {
        let state = record.state().label();
        self.metrics.up.set(record.healthy().into());
        self.metrics.show(state);
        let (upstream, server) = (&self.group.name, &self.address);
        match record.why() {
            Some(why) => warn!(%upstream, %server, state, why, "server is out"),
            None => info!(%upstream, %server, state, "server changed"),
        }
        self.group.change();
    }

    fn weight(&self) -> MutexGuard<'_, Option<u32>> {
        self.weight.lock().expect("nothing panics with it")
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record
            .lock()
            .expect("nothing panics while it holds a record")
    }
}

impl Drop for Server {
    /// Nobody uses it any more: no configuration, no request, no probe.
    fn drop(&mut self) {
        if self.record().ejected() {
            self.group.is_back();
        }
        self.group.forget(&self.address);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.address, self.group.name)
    }
}

impl ServerId {
    pub fn of(address: &Endpoint) -> ServerId {
        let digest = Sha256::digest(address.to_string());
        let first = digest.first_chunk().expect("a SHA-256 digest has 32 bytes");
        ServerId(u64::from_be_bytes(*first))
    }
}

/// One request's hold on a server. Counts as in flight until dropped, however the request ends.
pub struct Lease {
    server: Arc<Server>,
    /// It is the one request that an open breaker lets through, and has not been told of yet.
    trial: bool,
    /// Its answer has begun, and not failed so far.
    well: bool,
}

impl Lease {
    pub(super) fn new(server: Arc<Server>) -> Lease {
        Lease::hold(server, false)
    }

    /// The one request that an open breaker lets through when time is up; None when another has it.
    pub(super) fn trial(server: Arc<Server>, now: Time) -> Option<Lease> {
        let claimed = server.change(now, |record| record.try_once(now));
        claimed.then(|| Lease::hold(server, true))
    }

    fn hold(server: Arc<Server>, trial: bool) -> Lease {
        server.load.in_flight.fetch_add(1, Relaxed);
        server.group.began();
        server.metrics.requests.inc();
        Lease {
            server,
            trial,
            well: false,
        }
    }

    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// How the request went. Told once for what the answer's head says, and again if its body
    /// breaks off. A success costs one look, unless the server was in doubt.
    pub fn tell(&mut self, outcome: Outcome, now: Time) {
        self.well = !outcome.is_failure();
        match outcome {
            Outcome::Answered(status) if status < 500 => {
                if !self.server.load.in_doubt.load(Relaxed) {
                    return;
                }
            }
            Outcome::Answered(_) => {}
            _ => self.server.metrics.failures.inc(),
        }
        self.trial = false;
        self.server.told(outcome, now);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.load.in_flight.fetch_sub(1, Relaxed);
        self.server.group.ended();
        if self.well && self.server.load.in_doubt.load(Relaxed) {
            self.server.change(Time::now(), Record::finished);
        }
        if self.trial {
            let now = Time::now();
            self.server.change(now, |record| record.abandon_trial(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_the_address_alone() {
        let of = |port| Endpoint::Tcp(([10, 0, 0, 1], port).into());
        let (one, other) = (of(80), of(81));
        assert_ne!(ServerId::of(&one), ServerId::of(&other));
        // Cookies of older versions must go on working.
        assert_eq!(ServerId::of(&one), ServerId(0xE0F2_AF3B_3DAB_FB17));
    }
}
