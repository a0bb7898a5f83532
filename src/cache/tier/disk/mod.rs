//! The tier on this machine's disk, which outlives the process.
//!
//! Its folder belongs to one process at a time; until it is ours, and has been read, nothing is
//! stored there, as far as anybody can see. The disk is read and written on threads of their own.
//! Records lie in the engine, and beside them the journal of purges, without which none of them is
//! believed: the engine itself forgets nothing but what is oldest.

mod engine;
mod oldest;
mod writer;

use super::journal::{self, Journal};
use super::record::{self, Record};
use super::redis::Redis;
use super::settings::DiskSettings;
use super::shelf::{Found, Place, Shelf};
use crate::breaker::{Breaker, Down};
use crate::cache::key::Key;
use crate::cache::object::Object;
use crate::cache::purge::Purges;
use crate::observe::{DiskMetrics, Trouble};
use engine::{Engine, Shape};
use http::HeaderName;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use writer::{Outgoing, Writer};
use xxhash_rust::xxh3::xxh3_128;

/// For one record. A disk that is slower than this is no help against most origins.
const PATIENCE: Duration = Duration::from_millis(250);
/// Before the next try to open a folder.
const PAUSE: Duration = Duration::from_millis(500);

/// One zone's part of the disk.
pub struct Disk {
    pub settings: DiskSettings,
    /// Bytes of one body.
    max_object: u64,
    purges: Arc<Purges>,
    /// Whose purges of before must be known, if there is a fleet.
    fleet: Option<Arc<Redis>>,
    metrics: DiskMetrics,
    breaker: Mutex<Breaker>,
    outgoing: Arc<Outgoing>,
    open: Arc<OnceLock<Open>>,
    /// Whether opening it has been tried.
    tried: watch::Sender<bool>,
    runtime: OnceLock<Threads>,
}

/// A folder that is ours.
#[derive(Clone)]
struct Open {
    engine: Arc<Engine>,
    journal: Arc<Journal>,
    _lock: Arc<File>,
}

impl Disk {
    /// Does nothing until `start`.
    pub fn new(
        settings: DiskSettings,
        max_object: u64,
        purges: Arc<Purges>,
        fleet: Option<Arc<Redis>>,
        metrics: DiskMetrics,
    ) -> Disk {
        Disk {
            outgoing: Arc::new(Outgoing::new(metrics.clone())),
            breaker: Mutex::default(),
            open: Arc::default(),
            tried: watch::Sender::new(false),
            runtime: OnceLock::new(),
            settings,
            max_object,
            purges,
            fleet,
            metrics,
        }
    }

    /// Whether this one will do for these.
    pub fn is_for(&self, settings: &DiskSettings, max_object: u64, fleet: Option<&Redis>) -> bool {
        let mine = self.fleet.as_deref().map(std::ptr::from_ref);
        self.settings == *settings
            && self.max_object == max_object
            && mine == fleet.map(std::ptr::from_ref)
    }

    /// Opens the folder in the background, as soon as no other process has it. Once; later calls do
    /// nothing.
    pub fn start(&self) {
        if self.runtime.get().is_some() {
            return;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(16)
            .thread_name("lakh-disk")
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => Threads(Some(runtime)),
            Err(e) => {
                let path = self.settings.path.display();
                self.tried.send_replace(true);
                tracing::error!(%path, error = %e, "no threads for the disk, which is not used; raise the limit of processes (ulimit -u)");
                return;
            }
        };
        let opening = Opening {
            settings: self.settings.clone(),
            purges: self.purges.clone(),
            runtime: runtime.handle(),
        };
        let writer = Writer {
            purges: self.purges.clone(),
            outgoing: self.outgoing.clone(),
            max_record: self.shape().max_record(),
            max_object: self.max_object,
        };
        let (open, tried) = (self.open.clone(), self.tried.clone());
        runtime.handle().spawn(async move {
            let opened = opening.run(&tried).await;
            let _ = open.set(opened.clone());
            tried.send_replace(true);
            writer.run(opened).await;
        });
        let _ = self.runtime.set(runtime);
    }

    /// Until what it holds can be found, or it turned out that it can't be opened yet.
    pub async fn tried(&self) {
        // The sender is ours, so it is there.
        let _ = self.tried.subscribe().wait_for(|tried| *tried).await;
    }

    fn shape(&self) -> Shape {
        Shape::of(self.settings.size.saturating_sub(journal::MAX_BYTES))
    }

    /// The object under `root`, or the one that hangs on it under the key that `below` makes.
    pub async fn get(
        &self,
        root: &Key,
        below: impl FnOnce(&[HeaderName]) -> Key + Send,
    ) -> Option<Found> {
        // Until then a purge may be unknown that was made while this edge was away.
        let is_known = self.fleet.as_ref().is_none_or(|fleet| fleet.was_in_touch());
        if !is_known || self.open.get().is_none() {
            self.metrics.tier.misses.inc();
            return None;
        }
        let found = self.find(root, below).await;
        self.metrics.tier.count(&found);
        found.ok().flatten()
    }

    async fn read(&self, open: &Open, key: &Key) -> Result<Option<Record>, Down> {
        let address = address(key);
        if !open.engine.may_hold(address) {
            return Ok(None);
        }
        if !self.breaker().admits(Instant::now()) {
            return Err(Down);
        }
        let (open, key) = (open.clone(), key.clone());
        let (purges, limit) = (self.purges.clone(), self.max_object);
        let read = async move {
            let bytes = open.engine.get(address).await?;
            let since = |mark| open.journal.time(mark, &purges);
            Ok(bytes.and_then(|bytes| record::decode(&bytes, &key, limit, since)))
        };
        let read = match self.runtime.get() {
            Some(threads) => threads.handle().spawn(read),
            None => return Err(Down),
        };
        let abort = read.abort_handle();
        let answer = match tokio::time::timeout(PATIENCE, read).await {
            Ok(Ok(answer)) => answer,
            _ => Err(Down),
        };
        abort.abort();
        match answer {
            Ok(_) => self.breaker().succeeded(),
            Err(Down) => self.breaker().failed(Instant::now()),
        }
        answer
    }

    /// Stores it behind everybody's back.
    pub fn put(&self, place: Place, object: &Arc<Object>) {
        if self.open.get().is_some() && object.body.len() as u64 <= self.max_object {
            self.outgoing.add(place, object.clone());
        }
    }

    /// Whether something may hang on `root`, now or when the process starts anew.
    pub fn may_hold(&self, root: &Key) -> bool {
        match self.open.get() {
            // What is in there is not known yet.
            None => true,
            Some(open) => !self.outgoing.is_empty() || open.engine.may_hold(address(root)),
        }
    }

    /// Waits until all purges so far would outlive the machine.
    pub async fn settle_purges(&self) {
        match self.open.get() {
            Some(open) => open.journal.settle().await,
            // They are noted when it is opened, whenever that is.
            None => std::future::pending().await,
        }
    }

    /// Waits until all that was to be stored is.
    pub async fn flush(&self) {
        if self.open.get().is_some() {
            let (done, is_done) = oneshot::channel();
            self.outgoing.flush(done);
            // An error says that nobody writes any more.
            let _ = is_done.await;
        }
    }

    /// Brings the gauge up to date; called when metrics are read.
    pub fn report(&self) {
        self.metrics.in_use.set(self.open.get().is_some().into());
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().expect("no code panics with it")
    }
}

impl Shelf for Disk {
    async fn record(&self, key: &Key) -> Result<Option<Record>, Down> {
        match self.open.get() {
            Some(open) => self.read(open, key).await,
            None => Ok(None),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(open) = self.open.get() {
            open.journal.close();
        }
    }
}

/// Two keys may meet here: their records tell them apart.
fn address(key: &Key) -> u128 {
    xxh3_128(key.as_bytes())
}

/// Ends without waiting, wherever it is dropped.
struct Threads(Option<Runtime>);

impl Threads {
    fn handle(&self) -> tokio::runtime::Handle {
        let runtime = self.0.as_ref().expect("taken only by drop");
        runtime.handle().clone()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What is needed to open a folder.
struct Opening {
    settings: DiskSettings,
    purges: Arc<Purges>,
    runtime: tokio::runtime::Handle,
}

impl Opening {
    /// Tries until it is done.
    async fn run(self, tried: &watch::Sender<bool>) -> Open {
        let path = self.settings.path.display().to_string();
        let trouble = Trouble::default();
        loop {
            match self.open().await {
                Ok(open) => {
                    tracing::info!(path, "the disk is open");
                    return open;
                }
                Err(why) if trouble.is_news(&why) => {
                    tracing::warn!(
                        path,
                        why,
                        "the disk can't be used yet, and is tried again: see that the folder is there and that this user may write to it"
                    );
                }
                Err(_) => {}
            }
            tried.send_replace(true);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn open(&self) -> Result<Open, String> {
        let folder = &self.settings.path;
        std::fs::create_dir_all(folder).map_err(|e| e.to_string())?;
        let lock = Arc::new(lock(&folder.join("lock"))?);
        let shape = Shape::of(self.settings.size.saturating_sub(journal::MAX_BYTES));
        let forget = || engine::forget(folder);
        let journal = Journal::open(&folder.join("purges"), lock.clone(), &self.purges, forget)
            .map_err(|e| format!("the journal of purges: {e}"))?;
        let engine = Engine::open(folder, shape, self.runtime.clone()).await?;
        Ok(Open {
            engine: Arc::new(engine),
            journal,
            _lock: lock,
        })
    }
}

/// The lock ends with the process, however that ends.
fn lock(path: &std::path::Path) -> Result<File, String> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|e| format!("{}: {e}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err("another process uses it".to_owned()),
        Err(std::fs::TryLockError::Error(e)) => Err(io_text(path, &e)),
    }
}

fn io_text(path: &std::path::Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}
