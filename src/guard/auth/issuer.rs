//! Keys that an issuer publishes: fetched by a task of their own, and kept in use while the issuer
//! can't be asked.

use super::jwks;
use super::keys::Key;
use super::settings::JwksSettings;
use crate::observe::{KeysMetrics, Trouble};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

/// Requests whose key is not known have the set fetched this far apart at the closest, together.
const APART: Duration = Duration::from_secs(5);
/// How long such a request waits.
const PATIENCE: Duration = Duration::from_secs(3);
/// From a first failure to the next try; doubles up to `refresh`.
const AGAIN: Duration = Duration::from_secs(1);

/// Gets what is at a URL: `runtime` knows how.
pub type Fetch = Arc<dyn Fn(String) -> Fetched + Send + Sync>;
pub type Fetched = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>;

/// Keys, and which of an issuer's sets they are.
pub struct KeySet {
    pub keys: Vec<Key>,
    pub generation: u64,
    document: Bytes,
}

impl KeySet {
    /// One that does not change.
    pub fn fixed(key: Key) -> KeySet {
        KeySet {
            keys: vec![key],
            generation: 0,
            document: Bytes::new(),
        }
    }
}

pub struct Issuer {
    pub settings: JwksSettings,
    /// None until a set has come.
    pub keys: ArcSwapOption<KeySet>,
    metrics: KeysMetrics,
    asks: Mutex<Asks>,
    wanted: Arc<Notify>,
    fetching: AtomicBool,
    /// Fetches that have ended, however.
    ended: watch::Sender<u64>,
    started: AtomicBool,
    trouble: Trouble,
}

impl Issuer {
    pub fn new(settings: JwksSettings, metrics: KeysMetrics) -> Issuer {
        Issuer {
            settings,
            keys: ArcSwapOption::empty(),
            metrics,
            asks: Mutex::default(),
            wanted: Arc::default(),
            fetching: AtomicBool::new(false),
            ended: watch::Sender::new(0),
            started: AtomicBool::new(false),
            trouble: Trouble::default(),
        }
    }

    /// Begins to fetch, and goes on until nobody has the issuer any more. Once.
    pub fn start(self: &Arc<Issuer>, fetch: &Fetch) {
        if !self.started.swap(true, Ordering::Relaxed) {
            tokio::spawn(keep_up(Arc::downgrade(self), fetch.clone()));
        }
    }

    /// Until the first fetch has ended.
    pub async fn asked_once(&self) {
        // An error means that it is gone, and nobody waits for that.
        let _ = self.ended.subscribe().wait_for(|n| *n > 0).await;
    }

    /// For a request whose key is not known: has the set fetched, if that may be done now, and waits
    /// for it a while. Whoever asks while a fetch runs waits for that one.
    pub async fn ask(&self) {
        let mut ended = self.ended.subscribe();
        let may_ask = self
            .asks
            .lock()
            .expect("no code panics while it holds this lock")
            .may(Instant::now());
        if may_ask {
            self.wanted.notify_one();
        } else if !self.fetching.load(Ordering::Relaxed) {
            return;
        }
        // Too late is as good as never.
        let _ = timeout(PATIENCE, ended.changed()).await;
    }

    pub(super) async fn fetch(&self, fetch: &Fetch) -> bool {
        self.fetching.store(true, Ordering::Relaxed);
        let fetched = fetch(self.settings.url.clone()).await;
        let taken = fetched.and_then(|document| self.take(document));
        match &taken {
            Ok(keys) => {
                self.metrics.fetched.inc();
                self.metrics.keys.set(*keys as i64);
                if self.trouble.is_over() {
                    tracing::info!(url = self.settings.url, "the key set is there again");
                }
            }
            Err(why) => {
                self.metrics.failed.inc();
                if self.trouble.is_news(why) {
                    let url = &self.settings.url;
                    tracing::warn!(
                        url,
                        why,
                        "a key set can't be had; the one before stays in use, and it is asked for \
                         again: see that the URL answers from this machine"
                    );
                }
            }
        }
        self.metrics.stale.set(taken.is_err().into());
        self.fetching.store(false, Ordering::Relaxed);
        self.ended.send_modify(|n| *n += 1);
        taken.is_ok()
    }

    /// What was verified with the keys before must be verified anew only where they changed.
    fn take(&self, document: Bytes) -> Result<usize, String> {
        let known = self.keys.load();
        if let Some(known) = known.as_ref().filter(|known| known.document == document) {
            return Ok(known.keys.len());
        }
        let keys = jwks::read(&document)?;
        let count = keys.len();
        self.keys.store(Some(Arc::new(KeySet {
            keys,
            generation: known.as_ref().map_or(1, |known| known.generation + 1),
            document,
        })));
        Ok(count)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.wanted.notify_one();
    }
}

async fn keep_up(issuer: Weak<Issuer>, fetch: Fetch) {
    let mut failures = 0;
    while let Some(issuer) = issuer.upgrade() {
        failures = match issuer.fetch(&fetch).await {
            true => 0,
            false => failures + 1,
        };
        let (wait, wanted) = (
            pause(issuer.settings.refresh, failures),
            issuer.wanted.clone(),
        );
        drop(issuer);
        tokio::select! {
            () = sleep(wait) => {}
            () = wanted.notified() => {}
        }
    }
}

/// From one fetch to the next.
fn pause(refresh: Duration, failures: u32) -> Duration {
    match failures {
        0 => refresh,
        n => refresh.min(AGAIN * 2u32.saturating_pow((n - 1).min(16))),
    }
}

/// When requests last had the set fetched.
#[derive(Default)]
struct Asks(Option<Instant>);

impl Asks {
    fn may(&mut self, now: Instant) -> bool {
        let may = self
            .0
            .is_none_or(|last| now.saturating_duration_since(last) >= APART);
        if may {
            self.0 = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_a_set_fetched_once_in_a_while_however_many_ask() {
        let (mut asks, start) = (Asks::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let allowed: Vec<u64> = (0..20_000)
            .step_by(7)
            .filter(|ms| asks.may(at(*ms)))
            .collect();
        assert_eq!(allowed, [0, 5005, 10_010, 15_015]);
    }

    #[test]
    fn failures_are_tried_again_soon_and_then_less_often() {
        let pauses = |refresh| {
            (0..5)
                .map(|n| pause(Duration::from_secs(refresh), n).as_secs())
                .collect::<Vec<_>>()
        };
        assert_eq!(pauses(600), [600, 1, 2, 4, 8]);
        assert_eq!(pauses(3), [3, 1, 2, 3, 3]);
        assert_eq!(pause(Duration::from_secs(600), u32::MAX).as_secs(), 600);
    }
}
