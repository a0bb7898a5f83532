//! What need not be known any longer goes, in portions: no statement runs long, and others write in between.

use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::device::MOST_BACKLOG;
use crate::observe::log;
use crate::store::{MOST_FORGOTTEN, Store};
use serde_json::json;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::task::spawn_blocking;
use tokio::{select, time};

const SWEEP_EVERY: Duration = Duration::from_secs(600);

pub async fn sweep(app: Arc<App>) {
    let mut stopping = app.stopping.subscribe();
    while !*stopping.borrow() {
        for store in app.stores().filter(|store| store.is_reachable()) {
            if let Err(error) = sweep_one(&app, store, Moment::now()).await {
                log::error("sweep", json!({ "reason": error.to_string() }));
            }
        }
        let files = app.files.clone();
        if let Ok(Err(error)) = spawn_blocking(move || files.sweep(SystemTime::now())).await {
            log::error("sweep", json!({ "reason": error.to_string() }));
        }
        if let Err(error) = sweep_doubtful(&app).await {
            log::error("sweep", json!({ "reason": error.to_string() }));
        }
        select! {
            () = time::sleep(SWEEP_EVERY.min(app.keep_jobs)) => {}
            _ = stopping.changed() => {}
        }
    }
}

async fn sweep_doubtful(app: &App) -> Result<(), Box<dyn Error>> {
    let files = app.files.clone();
    let doubtful = spawn_blocking(move || files.doubtful(SystemTime::now()));
    for name in doubtful.await?? {
        let is_shown = app.store.is_photo_shown(&name).await?;
        app.files.decide(&name, is_shown).await?;
    }
    Ok(())
}

async fn sweep_one(app: &App, store: &Store, now: Moment) -> sqlx::Result<()> {
    store.sweep(now).await?;
    let before = |kept: Duration| now.plus_seconds(-kept.as_secs().cast_signed());
    let finished = before(app.keep_jobs);
    in_portions(app, || async move {
        let count = store.forget_jobs(finished).await?;
        app.metrics.forgot(count);
        Ok(count)
    })
    .await?;
    in_portions(app, || store.forget_requests(finished)).await?;
    let noted = before(app.keep_audit);
    in_portions(app, || store.forget_audit(noted)).await?;
    sweep_messages(app, store).await
}

/// Those to all, and then each device's.
async fn sweep_messages(app: &App, store: &Store) -> sqlx::Result<()> {
    let mut crowded = vec![String::new()];
    let mut last = String::new();
    loop {
        for device in &crowded {
            in_portions(app, || store.forget_messages(device)).await?;
        }
        let counts = store.message_counts(&last).await?;
        let Some((device, _)) = counts.last().filter(|_| !*app.stopping.borrow()) else {
            return Ok(());
        };
        last.clone_from(device);
        let many = counts.into_iter();
        let many = many.filter(|(_, count)| *count > i64::from(MOST_BACKLOG));
        crowded = many.map(|(device, _)| device).collect();
    }
}

/// As long as there is a whole one left, and the process goes on.
async fn in_portions<F>(app: &App, portion: impl Fn() -> F) -> sqlx::Result<()>
where
    F: Future<Output = sqlx::Result<u64>>,
{
    while !*app.stopping.borrow() && portion().await? == MOST_FORGOTTEN {}
    Ok(())
}
