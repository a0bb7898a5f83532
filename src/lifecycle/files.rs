//! Files that change without anybody saying so: certificates, which are renewed by others; and the
//! configuration, where that is wanted.

use crate::config::Source;
use crate::runtime::{Foundation, Runtime};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

/// From one look to the next: some calls of `stat`.
const LOOK: Duration = Duration::from_secs(1);

/// Looks until it is dropped.
pub async fn watch(current: Arc<ArcSwap<Runtime>>, foundation: Arc<Foundation>) {
    loop {
        // Those that were issued are in hand before anybody looks.
        let _ = timeout(LOOK, foundation.certificates_changed()).await;
        look(current.load_full(), foundation.clone()).await;
    }
}

/// Not on a worker, because files may be slow.
pub async fn look(runtime: Arc<Runtime>, foundation: Arc<Foundation>) {
    let look = spawn_blocking(move || foundation.look_at_files(&runtime));
    // At the process's end it is cancelled.
    if look.await.is_err_and(|e| e.is_panic()) {
        tracing::error!("looking at files panicked");
    }
}

/// Says so when the configuration's files are others than they were, and have been for two looks: who
/// writes a file may not be done with it.
pub async fn watch_config(
    source: Source,
    current: Arc<ArcSwap<Runtime>>,
    changed: mpsc::Sender<()>,
) {
    let (mut told, mut last) = (None, None);
    loop {
        let (runtime, source) = (current.load_full(), source.clone());
        let is_wanted = runtime.config.reload_on_change;
        let look = spawn_blocking(move || source.stamps(&runtime.config.include));
        let now = look.await.ok();
        if told.is_none() || !is_wanted {
            told.clone_from(&now);
        } else if now == last && now != told {
            told.clone_from(&now);
            // One that has not been heard yet is enough.
            let _ = changed.try_send(());
        }
        last = now;
        sleep(LOOK).await;
    }
}
