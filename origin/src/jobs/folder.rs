//! The watched folder: a file in `requests/{device}/` is a request of that device, once it is as it was at the look
//! before. Names that begin with a dot are not looked at; what is no request is put in `.refused` there. Several processes watch it,
//! each some devices' part of it, by leases that it renews; who goes silent is not counted any more when its
//! lease has run out, and the others take over.

use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::device::{DeviceName, MOST_TEXT};
use crate::domain::job::{Kind, Lane, MOST_WAITING};
use crate::domain::random::{hex, in_hex};
use crate::domain::shares::hand_of;
use crate::observe::log;
use crate::store::{By, Store};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::error::Error;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::{self, ReadDir};
use tokio::{select, time};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A process that is killed is missed for so long at most, and what it held is free.
const LEASE_SECONDS: i64 = 15;

/// In one look, of one device: that are looked at, and that are taken.
const MOST_SEEN: usize = 1_000;
const MOST_TAKEN: usize = 100;

/// For somebody to look at.
const REFUSED: &str = ".refused";

const WATCHER: &str = "watcher ";

/// Files, as they were seen.
type Sights = HashMap<PathBuf, Sight>;

/// What changes when a file is written, and when another one has its name.
#[derive(Clone, Copy, PartialEq)]
struct Sight {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Sight {
    fn of(file: &Metadata) -> Self {
        Self {
            inode: file.ino(),
            bytes: file.len(),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

pub async fn watch(app: Arc<App>) {
    let mut seen = Sights::new();
    let (name, mut stopping) = (hex::<8>(), app.stopping.subscribe());
    while !*stopping.borrow() {
        match look(&app, &name, &seen).await {
            Ok(sights) => seen = sights,
            Err(error) => log::error("requests_folder", json!({ "reason": error.to_string() })),
        }
        select! {
            () = time::sleep(LOOK_EVERY) => {}
            _ = stopping.changed() => {}
        }
    }
    // Otherwise the others wait for the leases to run out.
    let _ = app.store.let_go(&name).await;
}

async fn look(app: &App, name: &str, before: &Sights) -> Result<Sights, Box<dyn Error>> {
    let mut seen = Sights::new();
    let now = Moment::now();
    let watchers = watchers(&app.store, name, now).await?;
    for device in devices(&app.requests).await? {
        if has(&app.store, name, &device, &watchers, now).await?
            && let Err(error) = take(app, &device, before, &mut seen).await
        {
            // The next device may be another shard's.
            log::error("requests_folder", json!({ "reason": error.to_string() }));
        }
    }
    Ok(seen)
}

/// All that are counted on now, this one among them.
async fn watchers(store: &Store, name: &str, now: Moment) -> sqlx::Result<Vec<String>> {
    let until = now.plus_seconds(LEASE_SECONDS);
    store.hold(&watcher(name), name, until, now).await?;
    store.held(WATCHER, now).await
}

/// Whether a device's part is this watcher's. Whoever had it until now may still be at it.
async fn has(
    store: &Store,
    name: &str,
    device: &DeviceName,
    watchers: &[String],
    now: Moment,
) -> sqlx::Result<bool> {
    if hand_of(device.as_str(), watchers) != Some(&watcher(name)) {
        return Ok(false);
    }
    let (part, until) = (
        format!("requests of {device}"),
        now.plus_seconds(LEASE_SECONDS),
    );
    store.hold(&part, name, until, now).await
}

fn watcher(name: &str) -> String {
    format!("{WATCHER}{name}")
}

async fn devices(folder: &Path) -> io::Result<Vec<DeviceName>> {
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

async fn take(
    app: &App,
    device: &DeviceName,
    before: &Sights,
    seen: &mut Sights,
) -> Result<(), Box<dyn Error>> {
    // What lies there waits as well as what is in the queue.
    let Ok(shard) = app.shards.of(device) else {
        return Ok(());
    };
    if shard.store.waiting(Kind::Request).await? >= MOST_WAITING {
        return Ok(());
    }
    let folder = app.requests.join(device.as_str());
    let mut taken = 0;
    for (file, sight) in whole(&folder, before, seen).await? {
        let done = match text(&file).await {
            Ok(Some(text)) => {
                let source = source(device, &file, sight, &text);
                let (store, by) = (&shard.store, By::itself(Moment::now()));
                store.ask(device, &text, Some(&source), by).await?;
                app.work_in(Lane::Requests).notify_one();
                // Who dies before this finds the request there already.
                fs::remove_file(&file).await
            }
            Ok(None) => set_aside(&file).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => taken += 1,
            // The next ones have done nothing wrong.
            Err(error) => log::error(
                "request_file",
                json!({ "file": file.display().to_string(), "reason": error.to_string() }),
            ),
        }
        if taken == MOST_TAKEN {
            break;
        }
    }
    Ok(())
}

/// Those files that nobody writes any more, as far as can be seen.
async fn whole(
    folder: &Path,
    before: &Sights,
    seen: &mut Sights,
) -> io::Result<Vec<(PathBuf, Sight)>> {
    let mut whole = Vec::new();
    let mut entries = fs::read_dir(folder).await?;
    for _ in 0..MOST_SEEN {
        let Some((path, sight)) = next_file(&mut entries).await? else {
            break;
        };
        if before.get(&path) == Some(&sight) {
            whole.push((path.clone(), sight));
        }
        seen.insert(path, sight);
    }
    Ok(whole)
}

async fn next_file(entries: &mut ReadDir) -> io::Result<Option<(PathBuf, Sight)>> {
    while let Some(entry) = entries.next_entry().await? {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // What is gone by now is no file either.
        match entry.metadata().await {
            Ok(about) if about.is_file() => return Ok(Some((entry.path(), Sight::of(&about)))),
            _ => {}
        }
    }
    Ok(None)
}

/// Tells this file from every other one, also from one of the same name and text that comes after it.
fn source(device: &DeviceName, file: &Path, sight: Sight, text: &str) -> String {
    let name = file.file_name().unwrap_or_default().display();
    let Sight { inode, changed, .. } = sight;
    let what = format!("{device}\0{name}\0{inode}\0{changed:?}\0{text}");
    in_hex(&Sha256::digest(what))
}

/// None for what is no request: too long, empty or not text.
async fn text(file: &Path) -> io::Result<Option<String>> {
    if fs::metadata(file).await?.len() > 4 * MOST_TEXT as u64 {
        return Ok(None);
    }
    let text = String::from_utf8(fs::read(file).await?).ok();
    let text = text.map(|text| text.trim().to_owned());
    Ok(text.filter(|text| (1..=MOST_TEXT).contains(&text.chars().count()) && !text.contains('\0')))
}

async fn set_aside(file: &Path) -> io::Result<()> {
    let aside = file.with_file_name(REFUSED);
    fs::create_dir_all(&aside).await?;
    let aside = aside.join(file.file_name().unwrap_or_default());
    fs::rename(file, &aside).await?;
    log::error(
        "request_refused",
        json!({ "file": aside.display().to_string() }),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const KILLED: Moment = Moment(1_780_272_000_000);

    #[tokio::test]
    async fn the_folder_of_a_killed_watcher_is_another_one_s_within_thirty_seconds() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}/store", folder.path().display());
        let store = Store::open_at(&url, folder.path())
            .await
            .expect("an empty database");
        let device: DeviceName = "kiosk".parse().expect("a good name");
        let is_its = async |name: &str, now: Moment| {
            let all = watchers(&store, name, now).await.expect("it is held");
            let has = has(&store, name, &device, &all, now).await;
            has.expect("it is read and written")
        };
        assert!(is_its("killed", KILLED).await);
        let step = i64::try_from(LOOK_EVERY.as_millis()).expect("a second");
        let mut now = KILLED;
        while !is_its("other", now).await {
            now = Moment(now.0 + step);
        }
        // A file is looked at twice.
        let silent = now.0 + step - KILLED.0;
        assert!(
            (LEASE_SECONDS * 1_000..30_000).contains(&silent),
            "{silent} ms"
        );
    }

    #[tokio::test]
    async fn a_file_is_taken_when_it_is_as_it_was_before() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("one");
        let mut file = std::fs::File::create(&path).expect("the folder is ours");
        std::fs::write(folder.path().join(".hidden"), "x").expect("the folder is ours");
        let mut seen = Sights::new();
        let mut look = async || {
            let (before, mut now) = (seen.clone(), Sights::new());
            let whole = whole(folder.path(), &before, &mut now).await;
            seen = now;
            let whole = whole.expect("the folder is ours").into_iter();
            whole.map(|(path, _)| path).collect::<Vec<_>>()
        };
        let nothing = Vec::<PathBuf>::new();
        assert_eq!(look().await, nothing, "it is new");
        for _ in 0..3 {
            file.write_all(b"more").expect("the file is ours");
            assert_eq!(look().await, nothing, "it has grown");
        }
        assert_eq!(look().await, std::slice::from_ref(&path));
        // Another one takes its place.
        let other = folder.path().join(".other");
        std::fs::write(&other, "moremoremore").expect("the folder is ours");
        std::fs::rename(&other, &path).expect("the folder is ours");
        assert_eq!(look().await, nothing, "it is new");
        assert_eq!(look().await, [path]);
    }
}
