//! The application: its parts, built in order.

use crate::credentials::{Passwords, Tokens, signing_secret};
use crate::domain::clock::Moment;
use crate::domain::file::CHUNKS_AT_ONCE;
use crate::domain::job::Lane;
use crate::handlers::admission::{Each, Gate};
use crate::handlers::machine::Machine;
use crate::handlers::turns::Turns;
use crate::mail::Mail;
use crate::observe::metrics::Metrics;
use crate::payments::{Provider, Sandbox};
use crate::processing::{Model, Processor, Rules};
use crate::settings::{Settings, Signing};
use crate::shards::Shards;
use crate::storage::Storage;
use crate::store::{Batches, PhotoFiles, Store};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use std::{error::Error, io, sync::Arc};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time;

const UPLOADS_AT_ONCE: usize = 100;
const UPLOADS_WAITING: usize = 1_000;

/// Of those who send fast: what two would have at once, the first one has sooner if the second one waits.
const UPLOADS_READ_AT_ONCE: usize = 1;

/// That are read, but for their photo.
const FORMS: usize = 64;
const FORMS_WAITING: usize = 256;

/// Of large files; each is in memory while it comes.
const CHUNKS: usize = 12;
const CHUNKS_WAITING: usize = 120;

/// By one person, so that nobody has all the places.
const CHUNKS_FROM_ONE: usize = 2 * CHUNKS_AT_ONCE;
const DOWNLOADS_BY_ONE: usize = 8;

/// Who read large files, each with a chunk in memory.
const MOST_DOWNLOADS: usize = 32;

/// Who watch a photo become ready.
const MOST_FOLLOWERS: usize = 1_000;

/// Whether it is one's turn: whoever waits for that in the kernel can't be told to stop.
const TRY_EVERY: Duration = Duration::from_millis(50);

pub struct App {
    pub store: Arc<Store>,
    pub batches: Batches,
    pub files: Arc<PhotoFiles>,
    pub passwords: Passwords,
    pub tokens: Tokens,
    pub sandbox: Arc<Sandbox>,
    pub provider: Arc<dyn Provider>,
    pub uploads: Gate,
    pub forms: Gate,
    /// Of uploads, to be read.
    pub turns: Turns,
    pub storage: Storage,
    pub chunks: Gate,
    pub chunks_of_each: Arc<Each>,
    pub chunks_from_each: Arc<Each>,
    pub downloads: Arc<Semaphore>,
    pub downloads_by_each: Arc<Each>,
    pub followers: Arc<Semaphore>,
    pub metrics: Metrics,
    /// Databases with what belongs to devices.
    pub shards: Shards,
    pub processor: Arc<dyn Processor>,
    pub mail: Mail,
    /// Whose files become requests.
    pub requests: PathBuf,
    /// Told when there is a job for a worker of this process.
    pub work: Notify,
    asked: Notify,
    written: Notify,
    filed: Notify,
    pub lease: Duration,
    /// How long a finished one is kept.
    pub keep_jobs: Duration,
    /// How long it is kept who changed what.
    pub keep_audit: Duration,
    /// Whether photos of the demonstration may still come.
    pub drawing: AtomicBool,
    /// Whether the process is about to end.
    pub stopping: watch::Sender<bool>,
}

/// One process after the other makes the data folder ready. Dropping the file lets the next in.
pub async fn turn(data: &Path) -> io::Result<File> {
    fs::create_dir_all(data)?;
    let turn = File::create(data.join("start.lock"))?;
    loop {
        match turn.try_lock() {
            Ok(()) => return Ok(turn),
            Err(TryLockError::WouldBlock) => time::sleep(TRY_EVERY).await,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

impl App {
    pub async fn open(settings: &Settings) -> Result<Self, Box<dyn Error>> {
        let data = settings.data.as_path();
        let _turn = turn(data).await?;
        let store = Arc::new(Store::open(settings).await?);
        let shards = Shards::open(settings, &store).await?;
        let secret = signing_secret(data, "payments.secret")?;
        let sandbox = Arc::new(Sandbox::new(secret, store.clone()));
        let requests = data.join("requests");
        fs::create_dir_all(&requests)?;
        let processor: Arc<dyn Processor> = match &settings.processor {
            Some(url) => Arc::new(Model::new(
                url,
                &settings.model,
                settings.model_key.as_deref(),
            )),
            None => Arc::new(Rules::new(store.clone())),
        };
        let metrics = Metrics::new()?;
        Ok(Self {
            batches: Batches::start(store.clone()),
            store,
            files: Arc::new(PhotoFiles::open(data)?),
            passwords: Passwords::new()?,
            tokens: match settings.tokens {
                Signing::Hs256 => Tokens::by_secret(&signing_secret(data, "jwt.secret")?),
                Signing::Eddsa => Tokens::by_key(&signing_secret(data, "jwt.ed25519")?)?,
            },
            provider: sandbox.clone(),
            sandbox,
            uploads: Gate::of(UPLOADS_AT_ONCE, UPLOADS_WAITING),
            forms: Gate::of(FORMS, FORMS_WAITING),
            turns: Turns::of(UPLOADS_READ_AT_ONCE, Machine::open(data)?),
            storage: Storage::open(&settings.storage, data, &metrics.storage)?,
            chunks: Gate::of(CHUNKS, CHUNKS_WAITING),
            chunks_of_each: Each::at_most(CHUNKS_AT_ONCE),
            chunks_from_each: Each::at_most(CHUNKS_FROM_ONE),
            downloads: Arc::new(Semaphore::new(MOST_DOWNLOADS)),
            downloads_by_each: Each::at_most(DOWNLOADS_BY_ONE),
            followers: Arc::new(Semaphore::new(MOST_FOLLOWERS)),
            metrics,
            shards,
            processor,
            mail: Mail::open(settings.mail.as_deref(), &settings.mail_from, data)?,
            requests,
            work: Notify::new(),
            asked: Notify::new(),
            written: Notify::new(),
            filed: Notify::new(),
            lease: settings.lease(),
            keep_jobs: settings.keep_jobs(),
            keep_audit: settings.keep_audit(),
            drawing: AtomicBool::new(settings.wants_demo()),
            stopping: watch::Sender::new(false),
        })
    }

    /// Told when there is a job in that lane.
    pub fn work_in(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Work => &self.work,
            Lane::Requests => &self.asked,
            Lane::Letters => &self.written,
            Lane::Files => &self.filed,
        }
    }

    /// All databases, the main one first.
    pub fn stores(&self) -> impl Iterator<Item = &Arc<Store>> {
        let shards = self.shards.all().iter().map(|shard| &shard.store);
        let others = shards.filter(|store| !Arc::ptr_eq(store, &self.store));
        std::iter::once(&self.store).chain(others)
    }

    /// Where jobs of that lane may be, each database first in its turn.
    pub fn queues(&self, lane: Lane) -> Vec<&Arc<Store>> {
        match lane {
            Lane::Requests => self.shards.in_turn().map(|shard| &shard.store).collect(),
            Lane::Work | Lane::Letters | Lane::Files => vec![&self.store],
        }
    }

    /// Of a job that is taken now.
    pub fn lease_end(&self, now: Moment) -> Moment {
        now.plus_seconds(self.lease.as_secs().cast_signed())
    }
}
