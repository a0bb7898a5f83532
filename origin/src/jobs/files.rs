//! Large files, once all their chunks are there: whether they are what was announced, copies, and what is left of
//! those that are gone.

use super::{Failure, behind::behind};
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::file::Checksum;
use crate::domain::job::Lane;
use crate::storage::Object;
use crate::store::{Claim, LargeFile};
use sha2::{Digest, Sha256};

pub async fn check(app: &App, claim: &Claim) -> Result<(), Failure> {
    let Some(file) = find(app, claim).await? else {
        app.store.finish(claim).await?;
        return Ok(());
    };
    let mut hasher = Sha256::new();
    for chunk in app.store.chunks_of(file.id).await? {
        let object = Object {
            file: &file.key,
            checksum: chunk.sha256,
        };
        let bytes = app.storage.get(object).await?;
        hasher = behind(move || hasher.chain_update(bytes)).await?;
    }
    let is_whole = Checksum::done(hasher) == file.sha256;
    app.store
        .file_checked(claim, &file, is_whole, Moment::now())
        .await?;
    app.work_in(Lane::Files).notify_one();
    Ok(())
}

pub async fn copy(app: &App, claim: &Claim) -> Result<(), Failure> {
    if let Some(file) = find(app, claim).await? {
        for chunk in app.store.chunks_of(file.id).await? {
            let object = Object {
                file: &file.key,
                checksum: chunk.sha256,
            };
            app.storage.replicate(object).await?;
        }
        // Removed meanwhile, perhaps before what was copied last.
        if find(app, claim).await?.is_none() {
            app.storage.remove(&file.key).await?;
        }
    }
    app.store.finish(claim).await?;
    Ok(())
}

/// The subject is the file's key: of the file itself nothing is left.
pub async fn remove(app: &App, claim: &Claim) -> Result<(), Failure> {
    app.storage.remove(&claim.subject).await?;
    app.store.finish(claim).await?;
    Ok(())
}

/// None: it was removed.
async fn find(app: &App, claim: &Claim) -> Result<Option<LargeFile>, Failure> {
    let not_a_number = |_| Failure::ForGood("not a file's number".into());
    let id = claim.subject.parse().map_err(not_a_number)?;
    Ok(app.store.large_file(id).await?)
}
