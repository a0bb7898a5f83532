//! Writes that come together are committed together: a hundred uploads that end at once wait for one
//! sync of the disk, not for a hundred. Whoever asks is answered once it is committed.

use super::photos::add_photo;
use super::{Added, By, Store};
use crate::domain::photo::PhotoName;
use sqlx::Result;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// In one transaction; while it is open nobody else writes.
const MOST_AT_ONCE: usize = 128;

/// As many uploads as may run and wait.
const MOST_QUEUED: usize = 1_100;

pub struct Batches(mpsc::Sender<Addition>);

struct Addition {
    listing: i64,
    name: PhotoName,
    by: By,
    answer: oneshot::Sender<Result<Added>>,
}

impl Batches {
    /// Ends when it is dropped.
    pub fn start(store: Arc<Store>) -> Self {
        let (sender, mut queue) = mpsc::channel(MOST_QUEUED);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(MOST_AT_ONCE);
            while queue.recv_many(&mut batch, MOST_AT_ONCE).await > 0 {
                commit(&store, &mut batch).await;
            }
        });
        Self(sender)
    }

    pub async fn add_photo(&self, listing: i64, name: &PhotoName, by: By) -> Result<Added> {
        let (answer, answered) = oneshot::channel();
        let addition = Addition {
            listing,
            name: name.clone(),
            by,
            answer,
        };
        let gone = |_| sqlx::Error::PoolClosed;
        self.0
            .send(addition)
            .await
            .map_err(|_| sqlx::Error::PoolClosed)?;
        answered.await.map_err(gone)?
    }
}

/// If the transaction fails, each is told so, by being tried alone.
async fn commit(store: &Store, batch: &mut Vec<Addition>) {
    let outcomes = match batch.len() {
        1 => None,
        _ => together(store, batch).await.ok(),
    };
    let Some(outcomes) = outcomes else {
        for one in batch.drain(..) {
            let alone = together(store, std::slice::from_ref(&one)).await;
            let outcome = alone.map(|outcomes| outcomes[0]);
            // Whoever asked may have left; then nobody shows what was added.
            let _ = one.answer.send(outcome);
        }
        return;
    };
    for (one, outcome) in batch.drain(..).zip(outcomes) {
        let _ = one.answer.send(Ok(outcome));
    }
}

async fn together(store: &Store, batch: &[Addition]) -> Result<Vec<Added>> {
    let mut writing = store.write().await?;
    let mut outcomes = Vec::with_capacity(batch.len());
    for one in batch {
        outcomes.push(add_photo(&mut writing, one.listing, &one.name, one.by).await?);
    }
    writing.commit().await?;
    Ok(outcomes)
}
