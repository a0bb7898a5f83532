//! What belongs to a device, its messages and its requests, is on one of several databases, its shard, chosen by the
//! device's name; whose the device is, and everything else, is on the main one. Without any in the settings there is
//! one shard, which is the main database. What is on a shard that can't be reached is refused, and nothing else.
//!
//! Messages, requests and their jobs are numbered across all shards: each new shard begins its numbers far above all
//! that were given before, so that a device that is moved to it goes on counting.

use crate::domain::clock::Moment;
use crate::domain::device::{DeviceName, Request};
use crate::domain::page::{Page, Stamp};
use crate::domain::random::hex;
use crate::domain::ranges::{Range, Ranges};
use crate::hub::{Bus, Hub};
use crate::settings::Settings;
use crate::store::{By, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(test)]
mod tests;

/// The database that has everything else.
const MAIN: &str = "main";

/// What it takes to look at all databases, for those that are killed meanwhile.
const MARK_SECONDS: i64 = 60;

pub struct Shards {
    ranges: Ranges,
    shards: Vec<Shard>,
    bus: Arc<Bus>,
    turn: AtomicUsize,
}

pub struct Shard {
    pub store: Arc<Store>,
    pub hub: Arc<Hub>,
}

/// A range of devices, and the URL of the database that has what is theirs.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    range: Range,
    url: String,
}

impl Place {
    fn is_main(&self) -> bool {
        self.url == MAIN
    }

    fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres")
    }
}

/// The shard that it takes does not answer, or takes no writes.
#[derive(Debug)]
pub struct Unreachable;

impl Shards {
    pub async fn open(settings: &Settings, main: &Arc<Store>) -> Result<Self, Box<dyn Error>> {
        let shards = Self::connect(settings, main).await?;
        for (number, store) in shards.with(main) {
            shards.check(store, number).await?;
        }
        Ok(shards)
    }

    /// Whatever is on them.
    async fn connect(settings: &Settings, main: &Arc<Store>) -> Result<Self, Box<dyn Error>> {
        let (ranges, urls) = placed(settings)?;
        let bus = Arc::new(Bus::join(settings.redis.as_deref())?);
        let name = Hub::new_name();
        let mut shards = Vec::with_capacity(urls.len());
        for url in urls {
            let store = match url {
                MAIN => main.clone(),
                url => {
                    let nodes = nodes(settings, url);
                    Arc::new(Store::open_nodes(&nodes, &settings.data).await?)
                }
            };
            let hub = Hub::open(&name, bus.clone());
            shards.push(Shard { store, hub });
        }
        let shards = Self {
            ranges,
            shards,
            bus,
            turn: AtomicUsize::new(0),
        };
        tell_apart(shards.with(main).map(|(_, store)| store)).await?;
        shards.number(main).await?;
        Ok(shards)
    }

    /// Those that have not been shards before.
    async fn number(&self, main: &Arc<Store>) -> sqlx::Result<()> {
        for Shard { store, .. } in &self.shards {
            if !Arc::ptr_eq(store, main) && !store.is_numbered().await? {
                store.number_from(main.next_epoch().await?).await?;
            }
        }
        Ok(())
    }

    /// And the main database, which may be none of them; with their numbers.
    fn with<'a>(&'a self, main: &'a Arc<Store>) -> impl Iterator<Item = (usize, &'a Arc<Store>)> {
        let stores = self.shards.iter().map(|shard| &shard.store);
        let is_shard = stores.clone().any(|store| Arc::ptr_eq(store, main));
        stores.chain((!is_shard).then_some(main)).enumerate()
    }

    /// Nobody would find what is on another shard than its device's.
    async fn check(&self, store: &Store, number: usize) -> Result<(), Box<dyn Error>> {
        match self.stray(store, number).await? {
            None => Ok(()),
            Some(device) => Err(format!(
                "--shard: what belongs to `{device}` is on another shard than that of its range; \
                 put the ranges back, or run `lakh-origin reshard` with these"
            )
            .into()),
        }
    }

    /// Some device whose belongings are there and should not be.
    async fn stray(&self, store: &Store, number: usize) -> sqlx::Result<Option<DeviceName>> {
        for range in self.ranges.of_others(number) {
            if let Some(device) = store.device_within(range).await? {
                return Ok(device.parse().ok());
            }
        }
        Ok(None)
    }

    pub fn all(&self) -> &[Shard] {
        &self.shards
    }

    /// Those that can be asked, each first in its turn.
    pub fn in_turn(&self) -> impl Iterator<Item = &Shard> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        let (before, after) = self.shards.split_at(first);
        let all = after.iter().chain(before);
        all.filter(|shard| shard.store.is_reachable())
    }

    /// Of that device, whether or not it can be reached.
    pub fn place_of(&self, device: &DeviceName) -> &Shard {
        &self.shards[self.ranges.shard_of(device)]
    }

    pub fn of(&self, device: &DeviceName) -> Result<&Shard, Unreachable> {
        self.place_of(device).reached()
    }

    /// It may be on any of them: a device may have been moved since it asked.
    pub async fn request(&self, id: i64) -> Result<Option<Request>, Failed> {
        let mut found = Ok(None);
        for shard in &self.shards {
            match shard.read() {
                Ok(shard) => match shard.store.request(id).await {
                    Ok(None) => {}
                    Ok(request) => return Ok(request),
                    Err(error) => found = Err(error.into()),
                },
                Err(unreachable) => found = Err(unreachable.into()),
            }
        }
        found
    }

    /// Of these devices, newest first; one more than the page holds, when there is more.
    pub async fn requests_of(
        &self,
        devices: Vec<DeviceName>,
        page: &Page<Stamp>,
    ) -> Result<Vec<Request>, Failed> {
        let mut by_shard: BTreeMap<usize, Vec<DeviceName>> = BTreeMap::new();
        for device in devices {
            let shard = self.ranges.shard_of(&device);
            by_shard.entry(shard).or_default().push(device);
        }
        let most = page.limit + 1;
        let mut found = Vec::new();
        for (number, devices) in by_shard {
            let store = &self.shards[number].read()?.store;
            found.extend(store.requests_of(&devices, page.before(), most).await?);
        }
        Ok(page.newest(found, Request::stamp))
    }

    pub fn wake_all(&self) {
        self.bus.wake_all();
    }

    pub fn hub_count(&self) -> usize {
        self.shards.iter().map(|shard| shard.hub.count()).sum()
    }
}

impl Shard {
    /// A replica has what there was, also where nobody takes writes.
    fn read(&self) -> Result<&Self, Unreachable> {
        let is_readable = self.store.is_readable();
        is_readable.then_some(self).ok_or(Unreachable)
    }

    pub fn reached(&self) -> Result<&Self, Unreachable> {
        let is_reachable = self.store.is_reachable();
        is_reachable.then_some(self).ok_or(Unreachable)
    }
}

/// Why something about devices can't be told.
#[derive(Debug)]
pub enum Failed {
    Unreachable,
    Database(sqlx::Error),
}

/// Numbers of shards by ranges, and the shards' URLs, each once.
fn placed(settings: &Settings) -> Result<(Ranges, Vec<&str>), Box<dyn Error>> {
    let places = &settings.shards;
    let is_of_a_shard = |replica: &&Place| {
        let mut shards = places.iter().filter(|shard| shard.is_postgres());
        replica.is_postgres() && shards.any(|shard| shard.range == replica.range)
    };
    let mut replicas = settings.shard_replicas.iter();
    if let Some(Place { range, .. }) = replicas.find(|replica| !is_of_a_shard(replica)) {
        return Err(format!(
            "--shard-replica: there is no --shard of PostgreSQL with just the range `{range}`, or this is none"
        )
        .into());
    }
    if places.is_empty() {
        let all = Ranges::of(vec![(Range::all(), 0)]).expect("it leaves out nothing");
        return Ok((all, vec![MAIN]));
    }
    let mut urls: Vec<&str> = Vec::new();
    let mut ranges = Vec::with_capacity(places.len());
    for Place { range, url } in places {
        let known = urls.iter().position(|known| known == url);
        let number = known.unwrap_or_else(|| {
            urls.push(url);
            urls.len() - 1
        });
        ranges.push((range.clone(), number));
    }
    let ranges = Ranges::of(ranges).map_err(|wrong| format!("--shard: {}", wrong.join("; ")))?;
    Ok((ranges, urls))
}

/// A shard's, of all its ranges, and those of its replicas.
fn nodes<'a>(settings: &'a Settings, shard: &'a str) -> Vec<&'a str> {
    let is_its = |replica: &&Place| {
        let mut places = settings.shards.iter().filter(|place| place.url == shard);
        places.any(|place| place.range == replica.range)
    };
    let replicas = settings.shard_replicas.iter().filter(is_its);
    let urls = replicas.map(|replica| replica.url.as_str());
    [shard].into_iter().chain(urls).collect()
}

/// By their names: shards by their ranges, and the main one last. As they are, none of them numbered.
pub async fn databases(
    settings: &Settings,
    main: &Arc<Store>,
) -> Result<Vec<(String, Arc<Store>)>, Box<dyn Error>> {
    placed(settings)?;
    let mut places: Vec<_> = settings.shards.iter().collect();
    places.retain(|place| !place.is_main());
    places.sort_by(|one, other| one.range.first.cmp(&other.range.first));
    let mut named: Vec<(String, &str)> = Vec::new();
    for Place { range, url } in places {
        match named.iter_mut().find(|(_, known)| known == url) {
            Some((name, _)) => *name += &format!(",{range}"),
            None => named.push((range.to_string(), url)),
        }
    }
    let mut databases = Vec::with_capacity(named.len() + 1);
    for (name, url) in named {
        let store = Store::open_nodes(&nodes(settings, url), &settings.data).await?;
        databases.push((name, Arc::new(store)));
    }
    databases.push((MAIN.into(), main.clone()));
    tell_apart(databases.iter().map(|(_, store)| store)).await?;
    Ok(databases)
}

async fn tell_apart(stores: impl Iterator<Item = &Arc<Store>>) -> Result<(), Box<dyn Error>> {
    match are_different(stores).await? {
        true => Ok(()),
        false => {
            let reason = "--shard: two names lead to one database; write each database one way, \
                          and the main one as `main`";
            Err(reason.into())
        }
    }
}

/// Whether no two of them are one database: what is written by one of its names is read by the other. Something that
/// a database was given once would not do, for a copy of its files has that too.
async fn are_different(stores: impl Iterator<Item = &Arc<Store>>) -> sqlx::Result<bool> {
    let (mark, mut marked) = (hex::<16>(), Vec::new());
    let mut different = true;
    for store in stores {
        if store.holds_any(&mark).await? {
            different = false;
            break;
        }
        let (now, name) = (Moment::now(), format!("mark {mark}"));
        let until = now.plus_seconds(MARK_SECONDS);
        store.hold(&name, &mark, until, now).await?;
        marked.push(store);
    }
    for store in marked {
        store.let_go(&mark).await?;
    }
    Ok(different)
}

/// Stands for the number of a database that is no shard any more.
const FORMER: usize = usize::MAX;

/// How far the move of a device is. Whatever was reached lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// The shard that it goes to gives higher numbers than any so far.
    Numbered,
    /// All that belongs to it is there too.
    Copied,
    /// And there alone.
    Moved,
    /// Some of what was noted on a former shard is on the main database too.
    Noted,
}

/// Moves each device's belongings to the shard of its range: copies them to what it has there, looks whether the copy is
/// the same, and then removes them where they were. Where that was broken off before, it goes on, whatever was served
/// in between. What was noted on former shards goes to the main database, for nobody asks them any more. `reached` is
/// told of each step, and may break off after it. How many devices were moved.
pub async fn reshard(
    settings: &Settings,
    main: &Arc<Store>,
    former: &[String],
    mut reached: impl FnMut(Step) -> Result<(), Box<dyn Error>>,
) -> Result<u64, Box<dyn Error>> {
    if main.is_served(Moment::now()).await? {
        return Err(
            "processes serve on this database, or were killed just now; stop them first".into(),
        );
    }
    let shards = Shards::connect(settings, main).await?;
    let mut sources: Vec<_> = shards
        .with(main)
        .map(|(number, store)| (number, store.clone()))
        .collect();
    for url in former {
        // Of no range.
        sources.push((FORMER, Arc::new(Store::open_at(url, &settings.data).await?)));
    }
    // What is moved from a database to itself would be removed there.
    if !are_different(sources.iter().map(|(_, store)| store)).await? {
        let reason = "reshard: a former shard is the main database, a shard of these settings, or named twice; \
                      leave it out";
        return Err(reason.into());
    }
    let (mut moved, mut numbered) = (0, BTreeSet::new());
    for (number, source) in sources {
        while let Some(device) = shards.stray(&source, number).await? {
            let target = shards.ranges.shard_of(&device);
            let store = &shards.shards[target].store;
            // What comes there from now on has higher numbers than what is brought.
            if numbered.insert(target) {
                store.number_from(main.next_epoch().await?).await?;
                reached(Step::Numbered)?;
            }
            copy_device(&source, store, device.as_str()).await?;
            reached(Step::Copied)?;
            let by = By::itself(Moment::now());
            source.give_away(device.as_str(), by).await?;
            reached(Step::Moved)?;
            moved += 1;
        }
        if number == FORMER {
            move_notes(&source, main, || reached(Step::Noted)).await?;
        }
    }
    Ok(moved)
}

/// To the main database. What was noted of devices that move from shard to shard stays where it is: it is listed of all
/// databases, by its time, and none of them is left.
async fn move_notes(
    source: &Store,
    main: &Store,
    mut reached: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    // If the former shard is one again, its next lines get none of the main database's next numbers.
    main.number_from(main.next_epoch().await?).await?;
    while let Some(last) = main.take_in_notes(source).await? {
        reached()?;
        source.give_away_notes(last).await?;
    }
    Ok(())
}

async fn copy_device(source: &Store, target: &Store, device: &str) -> Result<(), Box<dyn Error>> {
    let there = target.belongings_of(device).await?;
    let all = source.belongings_of(device).await?.and(there);
    target
        .take_in(device, &all, By::itself(Moment::now()))
        .await?;
    match target.belongings_of(device).await? == all {
        true => Ok(()),
        false => Err(format!("the copy of what belongs to `{device}` is not the same").into()),
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a shard as a..m=postgres://host/name, =sqlite://file or =main";
        let (range, url) = text.split_once('=').ok_or_else(wrong)?;
        let is_url = ["postgres://", "postgresql://", "sqlite://"]
            .iter()
            .any(|scheme| url.starts_with(scheme));
        if !is_url && url != MAIN {
            return Err(wrong().into());
        }
        Ok(Self {
            range: range.parse()?,
            url: url.into(),
        })
    }
}

impl From<Unreachable> for Failed {
    fn from(_: Unreachable) -> Self {
        Self::Unreachable
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}
