//! Files that change without anybody saying so: certificates, which are renewed by others.

use crate::runtime::{Foundation, Runtime};
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// From one look to the next: some calls of `stat`.
const LOOK: Duration = Duration::from_secs(1);

/// Looks until it is dropped; not on a worker, because files may be slow.
pub async fn watch(current: Arc<ArcSwap<Runtime>>, foundation: Arc<Foundation>) {
    loop {
        sleep(LOOK).await;
        let (runtime, foundation) = (current.load_full(), foundation.clone());
        let look = spawn_blocking(move || foundation.look_at_files(&runtime));
        if look.await.is_err() {
            tracing::error!("looking at files panicked");
        }
    }
}
