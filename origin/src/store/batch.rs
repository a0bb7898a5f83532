//! Writes that come together are committed together: a hundred uploads that end at once wait for one
//! sync of the disk, not for a hundred. Whoever asks is answered once it is committed.

use super::photos::{Wanted, add_photos};
use super::{Added, By, Store};
use crate::domain::photo::PhotoName;
use sqlx::Result;
use std::{slice, sync::Arc};
use tokio::sync::{mpsc, oneshot};

/// In one transaction; while it is open nobody else writes.
const MOST_AT_ONCE: usize = 128;

/// As many uploads as may run and wait.
const MOST_QUEUED: usize = 1_100;

pub struct Batches(mpsc::Sender<(Wanted, Answer)>);

type Answer = oneshot::Sender<Result<Added>>;

impl Batches {
    /// Ends when it is dropped.
    pub fn start(store: Arc<Store>) -> Self {
        let (sender, mut queue) = mpsc::channel(MOST_QUEUED);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(MOST_AT_ONCE);
            while queue.recv_many(&mut batch, MOST_AT_ONCE).await > 0 {
                let (wanted, answers): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
                commit(&store, &wanted, answers).await;
            }
        });
        Self(sender)
    }

    pub async fn add_photo(&self, listing: i64, name: &PhotoName, by: By) -> Result<Added> {
        let (answer, answered) = oneshot::channel();
        let name = name.clone();
        let gone = |_| sqlx::Error::PoolClosed;
        self.0
            .send((Wanted { listing, name, by }, answer))
            .await
            .map_err(|_| sqlx::Error::PoolClosed)?;
        answered.await.map_err(gone)?
    }
}

/// If the transaction fails, each is told so, by being tried alone.
async fn commit(store: &Store, wanted: &[Wanted], answers: Vec<Answer>) {
    // Whoever asked may have left; then nobody shows what was added.
    if wanted.len() > 1
        && let Ok(outcomes) = together(store, wanted).await
    {
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            let _ = answer.send(Ok(outcome));
        }
        return;
    }
    for (one, answer) in wanted.iter().zip(answers) {
        let alone = together(store, slice::from_ref(one)).await;
        let _ = answer.send(alone.map(|outcomes| outcomes[0]));
    }
}

async fn together(store: &Store, wanted: &[Wanted]) -> Result<Vec<Added>> {
    let mut writing = store.write().await?;
    let outcomes = add_photos(&mut writing, wanted).await?;
    writing.commit().await?;
    Ok(outcomes)
}
