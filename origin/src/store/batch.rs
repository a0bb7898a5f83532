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

/// If the transaction fails, each is tried alone, and told what came of that.
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
        let _ = answer.send(alone(store, one).await);
    }
}

/// What fails may have been written all the same, now or with the others: a connection can end between a commit
/// and word of it.
async fn alone(store: &Store, wanted: &Wanted) -> Result<Added> {
    match together(store, slice::from_ref(wanted)).await {
        Ok(outcomes) => Ok(outcomes[0]),
        Err(error) => match store.is_photo_shown(&wanted.name).await {
            Ok(true) => Ok(Added::Yes),
            _ => Err(error),
        },
    }
}

async fn together(store: &Store, wanted: &[Wanted]) -> Result<Vec<Added>> {
    let mut writing = store.write().await?;
    let outcomes = add_photos(&mut writing, wanted).await?;
    writing.commit().await?;
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Moment;
    use crate::domain::listing::Draft;
    use serde_json::json;

    #[tokio::test]
    async fn what_was_written_though_it_was_not_said_so_is_not_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}/store", folder.path().display());
        let store = Store::open_at(&url, folder.path())
            .await
            .expect("an empty database");
        let by = By::itself(Moment(0));
        let ada = store.insert_user("Ada", "ada@example.org", "", by).await;
        let ada = ada.expect("it is written").expect("she is new").id;
        let draft = json!({"title": "Tent", "text": "x", "category": "travel", "price_cents": 500,
                           "place": "Lake Road"});
        let draft = Draft::read(draft).expect("a good listing");
        let listing = store.insert_listing(ada, &draft, by).await;
        let listing = listing.expect("it is written");
        let wanted = ["a.jpg", "b.jpg", "c.jpg"].map(|name| Wanted {
            listing,
            name: name.parse().expect("a good name"),
            by,
        });
        // Two of them were committed, and word of that was lost.
        together(&store, &wanted[..2]).await.expect("it is written");
        let (answers, answered): (Vec<_>, Vec<_>) =
            wanted.iter().map(|_| oneshot::channel()).unzip();
        commit(&store, &wanted, answers).await;
        for (one, answer) in wanted.iter().zip(answered) {
            let outcome = answer.await.expect("each is answered");
            assert_eq!(outcome.expect("it is written"), Added::Yes, "{}", one.name);
        }
    }
}
