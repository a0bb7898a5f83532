//! The watched folder: a file in `requests/{device}/` is a request of that device. Several processes watch it,
//! each some devices' part of it, by leases that it renews; who goes silent is not counted any more when its
//! lease has run out, and the others take over.

use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::device::{DeviceName, MOST_TEXT};
use crate::domain::job::{Kind, Lane, MOST_WAITING};
use crate::domain::random::{hex, in_hex};
use crate::domain::shares::hand_of;
use crate::observe::log;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::{fs, select, time};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A process that is killed is missed for so long at most, and what it held is free.
const LEASE_SECONDS: i64 = 15;

/// In one look, of one device.
const MOST_FILES: usize = 100;

const WATCHER: &str = "watcher ";

pub async fn watch(app: Arc<App>) {
    let (name, mut stopping) = (hex::<8>(), app.stopping.subscribe());
    while !*stopping.borrow() {
        if let Err(error) = look(&app, &name).await {
            log::error("requests_folder", json!({ "reason": error.to_string() }));
        }
        select! {
            () = time::sleep(LOOK_EVERY) => {}
            _ = stopping.changed() => {}
        }
    }
    // Otherwise the others wait for the leases to run out.
    let _ = app.store.let_go(&name).await;
}

async fn look(app: &App, name: &str) -> Result<(), Box<dyn Error>> {
    let now = Moment::now();
    let until = now.plus_seconds(LEASE_SECONDS);
    let own = format!("{WATCHER}{name}");
    app.store.hold(&own, name, until, now).await?;
    let watchers = app.store.held(WATCHER, now).await?;
    for device in devices(&app.requests).await? {
        if hand_of(device.as_str(), &watchers) != Some(&own) {
            continue;
        }
        // Whoever had it until now may still be at it.
        let part = format!("requests of {device}");
        if app.store.hold(&part, name, until, now).await?
            && let Err(error) = take(app, &device).await
        {
            // The next device may be another shard's.
            log::error("requests_folder", json!({ "reason": error.to_string() }));
        }
    }
    Ok(())
}

async fn devices(folder: &Path) -> std::io::Result<Vec<DeviceName>> {
    let mut names = Vec::new();
    let mut entries = fs::read_dir(folder).await?;
    while let Some(entry) = entries.next_entry().await? {
        let name = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        names.extend(name);
    }
    Ok(names)
}

/// A file is removed when its request is kept; who dies in between finds the request there already.
async fn take(app: &App, device: &DeviceName) -> Result<(), Box<dyn Error>> {
    // What lies there waits as well as what is in the queue.
    let Ok(shard) = app.shards.of(device) else {
        return Ok(());
    };
    if shard.store.waiting(Kind::Request).await? >= MOST_WAITING {
        return Ok(());
    }
    let mut entries = fs::read_dir(app.requests.join(device.as_str())).await?;
    for _ in 0..MOST_FILES {
        let Some(entry) = entries.next_entry().await? else {
            break;
        };
        // What is still being written has a name that begins with a dot, until it is renamed.
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || !entry.file_type().await?.is_file() {
            continue;
        }
        match text(&entry.path()).await? {
            Some(text) => {
                let what = format!("{device}\0{}\0{text}", name.display());
                let source = in_hex(&Sha256::digest(what));
                shard
                    .store
                    .ask(device, &text, Some(&source), Moment::now())
                    .await?;
                app.work_in(Lane::Requests).notify_one();
                fs::remove_file(entry.path()).await?;
            }
            None => set_aside(&entry.path()).await?,
        }
    }
    Ok(())
}

/// None for what is no request: too long, empty or not text.
async fn text(file: &Path) -> std::io::Result<Option<String>> {
    if fs::metadata(file).await?.len() > 4 * MOST_TEXT as u64 {
        return Ok(None);
    }
    let text = String::from_utf8(fs::read(file).await?).ok();
    let text = text.map(|text| text.trim().to_owned());
    Ok(text.filter(|text| (1..=MOST_TEXT).contains(&text.chars().count()) && !text.contains('\0')))
}

/// For somebody to look at, under a name that is not looked at here.
async fn set_aside(file: &Path) -> std::io::Result<()> {
    let name = file.file_name().unwrap_or_default().display();
    let aside: PathBuf = file.with_file_name(format!(".refused-{name}"));
    log::error(
        "request_refused",
        json!({ "file": aside.display().to_string() }),
    );
    fs::rename(file, aside).await
}
