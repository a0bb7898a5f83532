//! Several databases, each with what belongs to some devices.

use crate::devices::Listener;
use crate::harness::Origin;
use serde_json::{Value, json};
use sqlx::any::install_drivers;
use sqlx::{AnyConnection, Connection, raw_sql};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::sync::Once;
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};

/// One on each of three shards, in their order.
pub const DEVICES: [&str; 3] = ["alpha", "kiosk", "scanner"];

/// A database of its own, of the kind that these tests are about.
pub struct Shard {
    folder: TempDir,
    pub postgres: Option<String>,
}

impl Shard {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            postgres: crate::database(),
        }
    }

    pub fn url(&self) -> String {
        let file = || format!("sqlite://{}/lakh.sqlite", self.folder.path().display());
        self.postgres.clone().unwrap_or_else(file)
    }

    /// Whose messages and requests are there, by a backup of it alone.
    fn devices(&self) -> BTreeSet<String> {
        let file = self.folder.path().join("backup");
        let mut command = Command::new(env!("CARGO_BIN_EXE_lakh-origin"));
        command.arg("--data").arg(self.folder.path());
        if let Some(url) = &self.postgres {
            command.args(["--database", url]);
        }
        let made = command.arg("backup").arg(&file).output();
        assert!(made.expect("the binary starts").status.success());
        let lines = fs::read_to_string(&file).expect("a backup");
        fs::remove_file(&file).expect("it is ours");
        let rows = lines.lines().skip(1).map(|line| {
            let row: (String, Value) = serde_json::from_str(line).expect("a row");
            row
        });
        rows.filter(|(table, _)| ["messages", "requests"].contains(&table.as_str()))
            .map(|(_, row)| row["device"].as_str().expect("a device").to_owned())
            .collect()
    }
}

pub fn sharded(shards: &[String]) -> Vec<String> {
    let named = shards
        .iter()
        .map(|shard| ["--shard".to_owned(), shard.clone()]);
    named.flatten().collect()
}

pub fn ask(origin: &Origin, token: &str, device: &str) -> String {
    let path = format!("/api/v1/devices/{device}/requests");
    let asked = origin.post(&path, Some(token), &json!({"text": "Who lends a ladder?"}));
    asked.expect_status(202).header("location").to_owned()
}

/// One request of each device, answered.
pub fn answered(origin: &Origin, token: &str) -> Vec<Value> {
    for device in DEVICES {
        ask(origin, token, device);
    }
    origin.wait_until("all are answered", || is_all_done(origin, token));
    listed(origin, token, 100)
}

fn is_all_done(origin: &Origin, token: &str) -> bool {
    let all = listed(origin, token, 100);
    all.len() == DEVICES.len() && all.iter().all(|one| one["state"] == "done")
}

/// Of all pages, by that many at once.
pub fn listed(origin: &Origin, token: &str, limit: u32) -> Vec<Value> {
    pages(origin, token, "/api/v1/requests", limit)
}

fn pages(origin: &Origin, token: &str, list: &str, limit: u32) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("{list}?limit={limit}{cursor}");
        let page = origin.get_as(token, &path).expect_status(200).json();
        all.extend(page["items"].as_array().expect("a list").iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break all,
        }
    }
}

#[test]
fn what_belongs_to_a_device_is_on_its_shard_alone_and_listed_with_all() {
    let (middle, last) = (Shard::new(), Shard::new());
    let shards = [
        "..h=main".to_owned(),
        format!("h..p={}", middle.url()),
        format!("p..={}", last.url()),
    ];
    let mut origin = Origin::start_always_with(&sharded(&shards));
    let other = origin.start_another();
    let token = origin.register("ada@example.org");
    let staff = origin.register_as("staff", "bob@example.org");
    let socket = |device: &str| format!("/api/v1/devices/{device}/socket");
    let mut listeners = DEVICES.map(|device| {
        let mut listener = Listener::open(&origin, &token, &socket(device));
        listener.welcomed();
        listener
    });
    let text = json!({"text": "to all"});
    let told = other.post("/api/v1/broadcasts", Some(&staff), &text);
    told.expect_status(202);
    let mut asked = Vec::new();
    for (device, listener) in DEVICES.iter().zip(&mut listeners) {
        assert_eq!(listener.hear()["body"]["text"], "to all");
        for _ in 0..2 {
            let request = ask(&other, &token, device);
            let ready = listener.hear();
            assert_eq!(
                format!("/api/v1/requests/{}", ready["body"]["request"]),
                request
            );
            let shown = origin.get_as(&token, &request).expect_status(200).json();
            assert_eq!(
                (&shown["device"], &shown["state"]),
                (&json!(device), &json!("done"))
            );
            asked.push(request);
        }
    }
    let numbers: BTreeSet<_> = asked.iter().collect();
    assert_eq!(numbers.len(), 6, "no two shards give one number");

    // In pages of any size the same list, in order.
    let whole = listed(&origin, &token, 100);
    assert_eq!(whole.len(), 6);
    let place = |one: &Value| (one["created_at"].to_string(), one["id"].as_i64());
    assert!(
        whole.is_sorted_by(|one, next| place(one) > place(next)),
        "{whole:?}"
    );
    for limit in [1, 2, 4] {
        assert_eq!(listed(&other, &token, limit), whole);
    }
    assert_eq!(listed(&origin, &staff, 100), Vec::<Value>::new());
    everything_noted_is_one_list(&origin);
    origin
        .get_as(&token, "/api/v1/requests?cursor=n5")
        .expect_status(400);

    // What a device missed is there after all processes have ended, and its numbers go on.
    let last_heard = {
        let tell = format!("/api/v1/devices/{}/messages", DEVICES[2]);
        origin.post(&tell, Some(&token), &text).expect_status(202);
        listeners[2].hear()["id"].clone()
    };
    drop((listeners, other));
    assert_eq!(origin.stop("TERM"), Some(0));
    origin.start_again();
    let path = format!("{}?after={last_heard}", socket(DEVICES[2]));
    let mut again = Listener::open(&origin, &token, &path);
    again.welcomed();
    ask(&origin, &token, DEVICES[2]);
    assert!(again.hear()["id"].as_i64() > last_heard.as_i64());

    drop(origin);
    // An empty name: to all.
    for (shard, device) in [(&middle, DEVICES[1]), (&last, DEVICES[2])] {
        assert_eq!(shard.devices(), BTreeSet::from(["".into(), device.into()]));
    }
}

/// After a broadcast, and two requests of each device.
fn everything_noted_is_one_list(origin: &Origin) {
    let admin = origin.register_as("admin", "eve@example.org");
    let whole = pages(origin, &admin, "/api/v1/audit", 100);
    let numbers: BTreeSet<_> = whole.iter().map(|one| one["id"].as_i64()).collect();
    assert_eq!(numbers.len(), whole.len(), "no two shards give one number");
    let count = |action: &str| whole.iter().filter(|one| one["action"] == action).count();
    assert_eq!(
        (count("broadcast"), count("ask"), count("respond")),
        (3, 6, 6)
    );
    assert_eq!(pages(origin, &admin, "/api/v1/audit", 3), whole);
}

#[test]
fn gaps_overlaps_and_what_is_on_another_shard_are_refused_by_name() {
    let elsewhere = Shard::new();
    let url = elsewhere.url();
    let mut origin = Origin::start();
    let refused = |origin: &Origin, shards: &[String]| {
        let arguments = sharded(shards);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        origin.refused_with(&arguments)
    };
    let gap = refused(&origin, &["..g=main".into(), format!("m..={url}")]);
    assert!(
        gap.contains("no shard has devices from `g` up to `m`"),
        "{gap}"
    );
    let twice = refused(&origin, &["..m=main".into(), format!("g..={url}")]);
    assert!(
        twice.contains("two shards have devices from `g` up to `m`"),
        "{twice}"
    );
    let wrong = refused(&origin, &["..=mysql://host/name".into()]);
    assert!(wrong.contains("write a shard as"), "{wrong}");

    // There is something that belongs to a device which is to be elsewhere from now on.
    let token = origin.register("ada@example.org");
    ask(&origin, &token, "zebra");
    assert_eq!(origin.stop("TERM"), Some(0));
    let stray = refused(&origin, &["..m=main".into(), format!("m..={url}")]);
    assert!(stray.contains("what belongs to `zebra`"), "{stray}");
    origin.start_again();
    assert_eq!(listed(&origin, &token, 10).len(), 1);
}

#[test]
fn a_range_is_moved_while_nobody_serves_and_its_devices_go_on_where_they_were() {
    let mut origin = Origin::start();
    let token = origin.register("ada@example.org");
    for device in DEVICES {
        ask(&origin, &token, device);
        ask(&origin, &token, device);
    }
    let all_done = |origin: &Origin| {
        listed(origin, &token, 100)
            .iter()
            .all(|one| one["state"] == "done")
    };
    origin.wait_until("all are answered", || all_done(&origin));
    let before = listed(&origin, &token, 100);
    let path = "/api/v1/devices/scanner/socket";
    let mut listener = Listener::open(&origin, &token, &format!("{path}?after=0"));
    listener.welcomed();
    let first = listener.hear()["id"].clone();
    let last = listener.hear()["id"].clone();
    drop(listener);

    let (middle, far) = (Shard::new(), Shard::new());
    let shards = sharded(&[
        "..h=main".into(),
        format!("h..p={}", middle.url()),
        format!("p..={}", far.url()),
    ]);
    let with_shards: Vec<&OsStr> = shards.iter().map(AsRef::as_ref).collect();
    let reshard = [&with_shards[..], &["reshard".as_ref()]].concat();
    assert!(!origin.run(&reshard), "it serves");
    assert_eq!(origin.stop("TERM"), Some(0));
    assert!(origin.run(&reshard));
    assert_eq!(far.devices(), BTreeSet::from(["scanner".into()]));
    assert_eq!(middle.devices(), BTreeSet::from(["kiosk".into()]));
    let arguments: Vec<&str> = shards.iter().map(String::as_str).collect();
    origin.start_again_with(&arguments);
    assert_eq!(listed(&origin, &token, 2), before);
    // It hears what it has missed, and what is new comes after that.
    let mut listener = Listener::open(&origin, &token, &format!("{path}?after={first}"));
    listener.welcomed();
    assert_eq!(listener.hear()["id"], last);
    ask(&origin, &token, "scanner");
    let next = listener.hear()["id"].clone();
    assert!(next.as_i64() > last.as_i64());
    drop(listener);
    origin.wait_until("it is answered", || all_done(&origin));

    // And back, from databases that are no shards any more.
    let before = listed(&origin, &token, 100);
    assert_eq!(origin.stop("TERM"), Some(0));
    let (one, other) = (middle.url(), far.url());
    assert!(origin.run(&["reshard".as_ref(), one.as_ref(), other.as_ref()]));
    origin.start_again();
    assert_eq!(listed(&origin, &token, 3), before);
    let mut listener = Listener::open(&origin, &token, &format!("{path}?after={last}"));
    listener.welcomed();
    assert_eq!(listener.hear()["id"], next);
    assert_eq!(
        (middle.devices(), far.devices()),
        (BTreeSet::new(), BTreeSet::new())
    );
}

/// While it is there nobody can remove a message from a database, and whoever tries to is at it for long.
struct Kept {
    runtime: Runtime,
    connection: AnyConnection,
    release: &'static str,
}

/// A database's own, beside the processes that serve on it.
pub fn connected(url: &str) -> (Runtime, AnyConnection) {
    static DRIVERS: Once = Once::new();
    DRIVERS.call_once(|| {
        install_drivers(&[sqlx::sqlite::any::DRIVER, sqlx::postgres::any::DRIVER])
            .expect("they are installed only here");
    });
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let connection = runtime.block_on(AnyConnection::connect(url));
    (runtime, connection.expect("the database is there"))
}

impl Kept {
    fn on(url: &str) -> Self {
        let (keep, release) = match url.starts_with("sqlite://") {
            // Trigger's statements have no WITH of their own.
            true => (
                "CREATE VIEW for_ever AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) \
                 SELECT n FROM n; CREATE TRIGGER keep BEFORE DELETE ON messages \
                 BEGIN SELECT count(*) FROM for_ever; END",
                "DROP TRIGGER keep; DROP VIEW for_ever",
            ),
            false => ("BEGIN; LOCK TABLE messages IN EXCLUSIVE MODE", "ROLLBACK"),
        };
        let (runtime, mut connection) = connected(url);
        let kept = runtime.block_on(raw_sql(keep).execute(&mut connection));
        kept.expect("nobody else has it");
        Self {
            runtime,
            connection,
            release,
        }
    }

    fn release(mut self) {
        let released = raw_sql(self.release).execute(&mut self.connection);
        let released = self.runtime.block_on(released);
        released.expect("nobody else has it");
    }
}

#[test]
fn a_move_that_is_killed_while_it_removes_loses_nothing_and_is_completed_by_another_one() {
    let main = Shard::new();
    let database = main
        .postgres
        .clone()
        .map(|url| ["--database".to_owned(), url]);
    let mut origin = Origin::start_on(&database.into_iter().flatten().collect::<Vec<_>>());
    let token = origin.register("ada@example.org");
    let before = answered(&origin, &token);
    assert_eq!(origin.stop("TERM"), Some(0));

    let far = Shard::new();
    let shards = sharded(&["..p=main".into(), format!("p..={}", far.url())]);
    let arguments: Vec<&str> = shards.iter().map(String::as_str).collect();
    let mut reshard: Vec<&OsStr> = shards.iter().map(AsRef::as_ref).collect();
    reshard.push("reshard".as_ref());
    let file = format!("sqlite://{}/lakh.sqlite", origin.data().display());
    // Opened by one process before there are two.
    assert_eq!(far.devices(), BTreeSet::new());
    let kept = Kept::on(main.postgres.as_ref().unwrap_or(&file));
    let mut moving = origin.begin(&reshard);
    // Its copy is there, so it is about to remove what it has copied.
    origin.wait_until("it is copied", || far.devices().contains("scanner"));
    moving.kill().expect("our own child");
    moving.wait().expect("our own child");
    kept.release();

    let refused = origin.refused_with(&arguments);
    assert!(refused.contains("what belongs to `scanner`"), "{refused}");
    origin.start_again();
    assert_eq!(listed(&origin, &token, 100), before);
    assert_eq!(origin.stop("TERM"), Some(0));

    assert!(origin.run(&reshard));
    origin.start_again_with(&arguments);
    assert_eq!(listed(&origin, &token, 100), before);
    assert_eq!(far.devices(), BTreeSet::from(["scanner".into()]));
}

#[test]
fn a_backup_has_all_shards_and_is_restored_to_others_of_the_same_ranges() {
    let shards = || {
        let (middle, last) = (Shard::new(), Shard::new());
        let ranges = [
            format!("p..={}", last.url()),
            "..h=main".to_owned(),
            format!("h..p={}", middle.url()),
        ];
        (middle, last, sharded(&ranges))
    };
    let (_middle, _last, before) = shards();
    let origin = Origin::start_always_with(&before);
    let token = origin.register("ada@example.org");
    answered(&origin, &token);
    let file = origin.data().join("backup");
    assert!(origin.run(&["backup".as_ref(), file.as_os_str()]));

    // Where their ranges have no place, nothing is written.
    let (middle, last, after) = shards();
    let mut other = Origin::start_always_with(&after);
    assert_eq!(other.stop("TERM"), Some(0));
    let alone = Origin::start();
    let restore = ["restore", file.to_str().expect("a plain name")];
    let refused = alone.refused_with(&restore);
    assert!(refused.contains("`h..p`, `p..`, `main`"), "{refused}");
    assert_eq!(alone.get("/api/v1/listings").json()["items"], json!([]));

    assert!(other.run(&restore.map(AsRef::as_ref)));
    assert!(!other.run(&restore.map(AsRef::as_ref)), "it is not empty");
    for (shard, device) in [(&middle, DEVICES[1]), (&last, DEVICES[2])] {
        assert_eq!(shard.devices(), BTreeSet::from([device.into()]));
    }
    other.start_again();
    let login = json!({"email": "ada@example.org", "password": "correct horse"});
    let login = other.post("/api/v1/login", None, &login).expect_status(200);
    let login = login.json()["token"].clone();
    let there = login.as_str().expect("a token");
    let restored = listed(&other, there, 10);
    assert_eq!(restored, listed(&origin, &token, 10));
    // What comes next has numbers of its own.
    for device in DEVICES {
        let next = ask(&other, there, device);
        let is_its = |one: &Value| next.ends_with(&format!("/{}", one["id"]));
        assert!(!restored.iter().any(is_its), "{next}");
    }
}
