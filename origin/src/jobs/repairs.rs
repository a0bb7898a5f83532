//! Whether large files still have their copies: one process looks at the next few chunks each minute, again and again
//! from the first to the last, and has those copied anew that a provider has lost. Only sizes are asked for; what a
//! copy is made from is read, and has the right SHA-256.

use crate::app::App;
use crate::domain::clock::Moment;
use crate::observe::log;
use crate::storage::Object;
use crate::store::StoredChunk;
use serde_json::json;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::{select, time};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// In a minute, by all processes together. As many as this are 600 MB, and a million of them, ten terabytes, are looked
/// at in twelve days.
const MOST_CHUNKS: u32 = 60;
const PAUSE_SECONDS: i64 = 60;

/// For so many chunks, where providers are slow; the others are the next ones.
const LONGEST: Duration = Duration::from_secs(60);

/// A process that is killed meanwhile is missed for so long: longer than one that is not takes for its last chunk.
const LEASE_SECONDS: i64 = 300;

/// Whether it is time.
const ASK_EVERY: Duration = Duration::from_secs(10);

pub async fn watch(app: Arc<App>) {
    if !app.storage.has_providers() {
        return;
    }
    let mut stopping = app.stopping.subscribe();
    while !*stopping.borrow() {
        if let Err(error) = look(&app).await {
            log::error("copies", json!({ "reason": error.to_string() }));
        }
        select! {
            () = time::sleep(ASK_EVERY) => {}
            _ = stopping.changed() => {}
        }
    }
}

/// Looks at the next chunks, if nobody has done so lately. A provider that fails ends it: what it has can't be told, and
/// the same chunks are the next ones.
async fn look(app: &App) -> Result<()> {
    let (now, start) = (Moment::now(), Instant::now());
    let until = now.plus_seconds(LEASE_SECONDS);
    let Some(mut last) = app.store.begin_copies_look(until, now).await? else {
        return Ok(());
    };
    let chunks = app.store.stored_chunks(last, MOST_CHUNKS).await?;
    let mut left = chunks.iter();
    let mut outcome = Ok(());
    while !*app.stopping.borrow() && start.elapsed() < LONGEST {
        let Some(chunk) = left.next() else {
            // There are no more, so the first ones are next.
            if chunks.len() < MOST_CHUNKS as usize {
                last = (0, 0);
            }
            break;
        };
        outcome = look_at(app, chunk).await;
        if outcome.is_err() {
            break;
        }
        last = (chunk.file, chunk.number);
    }
    let due = Moment::now().plus_seconds(PAUSE_SECONDS);
    app.store.end_copies_look(last, due).await?;
    outcome
}

async fn look_at(app: &App, chunk: &StoredChunk) -> Result<()> {
    let object = Object {
        file: &chunk.key,
        checksum: chunk.sha256,
    };
    if app.storage.has_copies(object, chunk.bytes).await? {
        return Ok(());
    }
    let copied = app.storage.replicate(object).await;
    // Removed meanwhile, perhaps before what was copied last.
    if app.store.large_file(chunk.file).await?.is_none() {
        return Ok(app.storage.remove(&chunk.key).await?);
    }
    app.metrics.repaired(copied.is_ok());
    let about = json!({ "file": chunk.file, "chunk": chunk.number,
                        "failed": copied.err().map(|error| error.to_string()) });
    log::error("copy_lost", about);
    Ok(())
}
