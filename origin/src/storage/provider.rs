//! One of those who keep objects. It is asked again when it fails; then it rests for a while, after which one
//! asks and the others wait for what comes of that.

use crate::domain::clock::Moment;
use axum::body::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutPayload, Result};
use prometheus::IntCounterVec;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;
use tokio::time;

const ATTEMPTS: u32 = 3;

/// Before the second attempt; before the third, twice as long.
const WAIT: Duration = Duration::from_millis(200);

/// For all attempts. Less than a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

const REST_SECONDS: i64 = 4;

/// Of one that has not failed.
const NO_REST: i64 = i64::MIN;

pub struct Provider {
    name: String,
    weight: u32,
    store: Arc<dyn ObjectStore>,
    rests_until: AtomicI64,
    counts: IntCounterVec,
}

impl Provider {
    pub fn new(
        name: String,
        weight: u32,
        store: Arc<dyn ObjectStore>,
        counts: &IntCounterVec,
    ) -> Self {
        Self {
            name,
            weight,
            store,
            rests_until: AtomicI64::new(NO_REST),
            counts: counts.clone(),
        }
    }

    pub fn weight(&self) -> (&str, u32) {
        (&self.name, self.weight)
    }

    pub fn rests(&self) -> bool {
        self.rests_until.load(Relaxed) > Moment::now().0
    }

    /// Whether it has not failed lately. Where it has rested, only the first who wants to know is told so.
    pub fn may_be_asked(&self) -> bool {
        let (until, now) = (self.rests_until.load(Relaxed), Moment::now());
        let rest = now.plus_seconds(REST_SECONDS).0;
        let takes_turn = || {
            let turn = self
                .rests_until
                .compare_exchange(until, rest, Relaxed, Relaxed);
            turn.is_ok()
        };
        until == NO_REST || (until <= now.0 && takes_turn())
    }

    pub async fn put(&self, path: &Path, bytes: &Bytes) -> Result<()> {
        let putting = || self.store.put(path, PutPayload::from(bytes.clone()));
        self.attempted("put", putting).await.map(drop)
    }

    pub async fn get(&self, path: &Path) -> Result<Bytes> {
        let getting = || async { self.store.get(path).await?.bytes().await };
        self.attempted("get", getting).await
    }

    /// In bytes, as far as is told without reading it.
    pub async fn size(&self, path: &Path) -> Result<u64> {
        let asking = || async { Ok(self.store.head(path).await?.size) };
        self.attempted("head", asking).await
    }

    /// What is already gone is as good as removed.
    pub async fn remove(&self, path: &Path) -> Result<()> {
        let removing = || self.store.delete(path);
        match self.attempted("remove", removing).await {
            Err(Error::NotFound { .. }) => Ok(()),
            removed => removed,
        }
    }

    /// All that is below that path.
    pub async fn remove_all(&self, below: &Path) -> Result<()> {
        let listing = || self.store.list(Some(below)).try_collect::<Vec<_>>();
        for found in self.attempted("list", listing).await? {
            self.remove(&found.location).await?;
        }
        Ok(())
    }

    /// Several times, but for what gets no better by it.
    async fn attempted<T, F>(&self, operation: &str, ask: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let attempts = async {
            for attempt in 1..ATTEMPTS {
                match ask().await {
                    Err(error) if !matches!(error, Error::NotFound { .. }) => {
                        time::sleep(WAIT * attempt).await;
                    }
                    answer => return answer,
                }
            }
            ask().await
        };
        let late = |_| {
            Err(Error::Generic {
                store: "storage",
                source: format!("{self} did not answer in time").into(),
            })
        };
        let answer = time::timeout(PATIENCE, attempts).await.unwrap_or_else(late);
        let (outcome, rests_until) = match &answer {
            Ok(_) => ("done", NO_REST),
            Err(Error::NotFound { .. }) => ("missing", NO_REST),
            Err(_) => ("failed", Moment::now().plus_seconds(REST_SECONDS).0),
        };
        self.rests_until.store(rests_until, Relaxed);
        self.counts
            .with_label_values(&[&self.name, operation, outcome])
            .inc();
        answer
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
