//! Large files: in chunks, with providers that fail.

use crate::harness::{Client, Origin, Reply};
use crate::shards::{Shard, connected};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::raw_sql;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::{fs, slice};
use tempfile::TempDir;

pub const CHUNK: usize = 10 * 1024 * 1024;

/// Two chunks and a bit, all different.
pub fn content(seed: u32) -> Vec<u8> {
    (0..(2 * CHUNK / 4 + 1000) as u32)
        .flat_map(|at| (at ^ seed).wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

fn in_hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest_field(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let mut field = String::new();
    sfv::RefDictSerializer::new(&mut field)
        .bare_item_member("sha-256", &sfv::RefBareItem::ByteSeq(&digest))
        .expect("bytes can be written");
    field
}

/// Its path.
pub fn announce(origin: &Origin, token: &str, bytes: &[u8]) -> String {
    let draft = json!({"name": "Größe.mp4", "media_type": "video/mp4", "bytes": bytes.len(),
                       "sha256": in_hex(bytes)});
    let announced = origin.post("/api/v1/files", Some(token), &draft);
    announced.expect_status(201).header("location").to_owned()
}

fn put(client: &Client, token: &str, target: &str, digest: &str, bytes: &[u8]) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/octet-stream"),
        ("content-digest", digest),
    ];
    client.call("PUT", target, &headers, bytes)
}

pub fn put_chunk(client: &Client, token: &str, file: &str, number: usize, all: &[u8]) -> Reply {
    let chunk = all.chunks(CHUNK).nth(number).expect("there is one");
    let target = format!("{file}/chunks/{number}");
    put(client, token, &target, &digest_field(chunk), chunk)
}

/// A whole file; its path.
pub fn sent(origin: &Origin, token: &str, bytes: &[u8]) -> String {
    let file = announce(origin, token, bytes);
    for number in 0..bytes.chunks(CHUNK).count() {
        put_chunk(origin, token, &file, number, bytes).expect_status(200);
    }
    wait_for(origin, token, &file, "whole");
    file
}

fn shown(origin: &Origin, token: &str, file: &str) -> Value {
    origin.get_as(token, file).expect_status(200).json()
}

fn wait_for(origin: &Origin, token: &str, file: &str, state: &str) {
    origin.wait_until(state, || shown(origin, token, file)["state"] == state);
}

fn part(origin: &Origin, token: &str, file: &str, headers: &[(&str, &str)]) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [&[("authorization", bearer.as_str())], headers].concat();
    origin.call("GET", &format!("{file}/content"), &headers, b"")
}

pub fn read(origin: &Origin, token: &str, file: &str) -> Vec<u8> {
    part(origin, token, file, &[]).expect_status(200).body
}

/// How often each object is below the folders.
fn objects(folders: &[PathBuf]) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    let files = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let files = files
        .flatten()
        .filter_map(|file| fs::read_dir(file.ok()?.path()).ok());
    for object in files.flatten().flatten() {
        let name = object.file_name().to_string_lossy().into_owned();
        *counts.entry(name).or_default() += 1;
    }
    counts
}

#[test]
fn a_file_comes_in_any_order_over_a_crash_and_is_read_whole_and_in_part() {
    let mut origin = Origin::start();
    let token = origin.register("ada@example.org");
    let other = origin.register("eve@example.org");
    let bytes = content(1);
    let file = announce(&origin, &token, &bytes);
    put_chunk(&origin, &token, &file, 2, &bytes).expect_status(200);
    put_chunk(&origin, &token, &file, 0, &bytes).expect_status(200);
    origin.kill();
    origin.start_again();

    let open = shown(&origin, &token, &file);
    assert_eq!(
        (&open["state"], &open["received"]),
        (&json!("open"), &json!([0, 2]))
    );
    assert_eq!((&open["chunks"], &open["at_once"]), (&json!(3), &json!(3)));
    part(&origin, &token, &file, &[]).expect_status(409);
    put_chunk(&origin, &token, &file, 0, &bytes).expect_status(200);
    put_chunk(&origin, &token, &file, 1, &bytes).expect_status(200);
    wait_for(&origin, &token, &file, "whole");
    // Whoever has not heard the answer sends it again.
    put_chunk(&origin, &token, &file, 1, &bytes).expect_status(200);

    let whole = part(&origin, &token, &file, &[]).expect_status(200);
    assert!(whole.body == bytes);
    assert_eq!(whole.header("content-type"), "video/mp4");
    assert_eq!(whole.header("repr-digest"), digest_field(&bytes));
    let name = "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe%2Emp4";
    assert_eq!(whole.header("content-disposition"), name);

    parts_are_read(&origin, &token, &file, &bytes, whole.header("etag"));

    origin.get_as(&other, &file).expect_status(404);
    part(&origin, &other, &file, &[]).expect_status(404);
    put_chunk(&origin, &other, &file, 0, &bytes).expect_status(404);
    let theirs = origin.get_as(&other, "/api/v1/files").expect_status(200);
    assert_eq!(theirs.json()["items"], json!([]));
    let own = origin.get_as(&token, "/api/v1/files").expect_status(200);
    assert_eq!(own.json()["items"][0]["sha256"], in_hex(&bytes));

    let folder = origin.data().join("files");
    assert_eq!(objects(slice::from_ref(&folder)).len(), 3);
    origin.delete_as(&other, &file).expect_status(404);
    origin.delete_as(&token, &file).expect_status(204);
    origin.get_as(&token, &file).expect_status(404);
    origin.wait_until("nothing is left", || {
        objects(slice::from_ref(&folder)).is_empty()
    });
}

fn parts_are_read(origin: &Origin, token: &str, file: &str, bytes: &[u8], etag: &str) {
    let across = format!("bytes={}-{}", CHUNK - 2, 2 * CHUNK + 1);
    let answer = part(origin, token, file, &[("range", &across)]).expect_status(206);
    assert!(answer.body == bytes[CHUNK - 2..2 * CHUNK + 2]);
    let range = format!("bytes {}-{}/{}", CHUNK - 2, 2 * CHUNK + 1, bytes.len());
    assert_eq!(answer.header("content-range"), range);
    let same = [("range", "bytes=-5"), ("if-range", etag)];
    let answer = part(origin, token, file, &same).expect_status(206);
    assert!(answer.body == bytes[bytes.len() - 5..]);
    let changed = [("range", "bytes=-5"), ("if-range", "\"other\"")];
    part(origin, token, file, &changed).expect_status(200);
    let listed = format!("\"other\", {etag}");
    let known = part(origin, token, file, &[("if-none-match", &listed)]).expect_status(304);
    assert_eq!((known.header("etag"), known.body.len()), (etag, 0));
    part(origin, token, file, &[("if-none-match", "\"other\"")]).expect_status(200);
    part(origin, token, file, &[("if-match", etag)]).expect_status(200);
    part(origin, token, file, &[("if-match", "\"other\"")]).expect_status(412);
    let beyond = [("range", "bytes=999999999-")];
    let refused = part(origin, token, file, &beyond).expect_status(416);
    assert_eq!(
        refused.header("content-range"),
        format!("bytes */{}", bytes.len())
    );
}

#[test]
fn what_is_not_what_was_announced_is_refused() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let bytes = content(2);
    let file = announce(&origin, &token, &bytes);
    let last = &bytes[2 * CHUNK..];
    let to = |number: &str| format!("{file}/chunks/{number}");
    let right = digest_field(last);

    put(&origin, &token, &to("2"), "", last).expect_status(400);
    put(&origin, &token, &to("2"), &digest_field(b"x"), last).expect_status(422);
    put(&origin, &token, &to("2"), &right, &last[1..]).expect_status(422);
    put(&origin, &token, &to("0"), &right, last).expect_status(422);
    for nothing in ["3", "-1", "x", "99999999999999999999"] {
        put(&origin, &token, &to(nothing), &right, last).expect_status(404);
    }
    put(&origin, "none", &to("2"), &right, last).expect_status(401);
    assert_eq!(shown(&origin, &token, &file)["received"], json!([]));

    // Every chunk is what it says, and the whole is something else.
    let mut other = last.to_vec();
    other[0] ^= 1;
    put(&origin, &token, &to("2"), &digest_field(&other), &other).expect_status(200);
    put(&origin, &token, &to("2"), &right, last).expect_status(409);
    put_chunk(&origin, &token, &file, 0, &bytes).expect_status(200);
    put_chunk(&origin, &token, &file, 1, &bytes).expect_status(200);
    wait_for(&origin, &token, &file, "mismatched");
    part(&origin, &token, &file, &[]).expect_status(409);
    let folder = origin.data().join("files");
    origin.wait_until("nothing is left", || {
        objects(slice::from_ref(&folder)).is_empty()
    });

    let too_large = json!({"name": "a", "bytes": 5_368_709_121_i64, "sha256": in_hex(b"")});
    origin
        .post("/api/v1/files", Some(&token), &too_large)
        .expect_status(422);
    let largest = json!({"name": "a", "bytes": 5_368_709_120_i64, "sha256": in_hex(b"")});
    for _ in 0..3 {
        origin
            .post("/api/v1/files", Some(&token), &largest)
            .expect_status(201);
    }
    origin
        .post("/api/v1/files", Some(&token), &largest)
        .expect_status(409);
}

/// A chunk of which only one byte comes.
fn begin(origin: &Origin, token: &str, file: &str) -> TcpStream {
    let mut stream = TcpStream::connect(origin.address()).expect("it listens");
    let head = format!(
        "PUT {file}/chunks/0 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-length: {CHUNK}\r\ncontent-digest: {}\r\n\r\nx",
        digest_field(b"x")
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    stream
}

/// The last chunk, which is refused for its digest as long as it would be let in.
fn another(origin: &Origin, token: &str, file: &str, bytes: &[u8]) -> Reply {
    let (target, last) = (format!("{file}/chunks/2"), &bytes[2 * CHUNK..]);
    put(origin, token, &target, &digest_field(b"x"), last)
}

#[test]
fn no_more_than_three_chunks_of_a_file_come_at_once() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let bytes = content(3);
    let file = announce(&origin, &token, &bytes);
    let fourth = || another(&origin, &token, &file, &bytes);
    // A busy machine may have turned one of three away.
    let begun = RefCell::new(Vec::new());
    origin.wait_until("three are underway", || {
        begun.borrow_mut().push(begin(&origin, &token, &file));
        fourth().status == 429
    });
    assert_eq!(fourth().header("retry-after"), "1");
    assert!(begun.borrow().len() >= 3);
    // Another file's are let in.
    let other = announce(&origin, &token, &bytes);
    put_chunk(&origin, &token, &other, 2, &bytes).expect_status(200);
    drop(begun);
    origin.wait_until("they have left", || fourth().status == 422);
    put_chunk(&origin, &token, &file, 2, &bytes).expect_status(200);
}

#[test]
fn nobody_has_all_the_places_for_chunks() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let other = origin.register("bob@example.org");
    let bytes = content(5);
    let files = [(); 3].map(|()| announce(&origin, &token, &bytes));
    let theirs = announce(&origin, &other, &bytes);
    let seventh = || another(&origin, &token, &files[2], &bytes);
    let begun = RefCell::new(Vec::new());
    origin.wait_until("six are underway", || {
        for file in &files[..2] {
            begun.borrow_mut().push(begin(&origin, &token, file));
        }
        seventh().status == 429
    });
    put_chunk(&origin, &other, &theirs, 2, &bytes).expect_status(200);
    drop(begun);
    origin.wait_until("they have left", || seventh().status == 422);
}

#[test]
fn nobody_has_all_the_places_for_reading() {
    let origin = Origin::start();
    let token = origin.register("ada@example.org");
    let other = origin.register("bob@example.org");
    let bytes = content(6);
    let file = sent(&origin, &token, &bytes);
    let theirs = sent(&origin, &other, &bytes);
    // Nothing is read of what is more than lies in sockets.
    let open = || {
        let mut stream = TcpStream::connect(origin.address()).expect("it listens");
        let head = format!(
            "GET {file}/content HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        stream
    };
    let first = [("range", "bytes=0-0")];
    let ninth = || part(&origin, &token, &file, &first).status;
    let opened = RefCell::new(Vec::new());
    origin.wait_until("eight are underway", || {
        opened.borrow_mut().push(open());
        ninth() == 429
    });
    assert!(opened.borrow().len() >= 8);
    part(&origin, &other, &theirs, &first).expect_status(206);
    drop(opened);
    origin.wait_until("they have left", || ninth() == 206);
}

/// Folders as providers, which fail while there is a plain file in their place.
struct Providers(TempDir);

impl Providers {
    fn new() -> Self {
        let providers = Self(tempfile::tempdir().expect("a temporary folder"));
        for folder in providers.folders() {
            fs::create_dir(folder).expect("it is new");
        }
        providers
    }

    fn folders(&self) -> [PathBuf; 3] {
        [70, 20, 10].map(|weight| self.0.path().join(weight.to_string()))
    }

    fn setting(&self) -> String {
        let places = [70, 20, 10].map(|weight| {
            format!(
                "{weight}=file://{}",
                self.0.path().join(weight.to_string()).display()
            )
        });
        places.join(",")
    }
}

fn stop(folder: &Path) {
    fs::rename(folder, folder.with_extension("away")).expect("it is there");
    fs::write(folder, "").expect("its place is free");
}

fn start(folder: &Path) {
    fs::remove_file(folder).expect("it is stopped");
    fs::rename(folder.with_extension("away"), folder).expect("it is away");
}

#[test]
fn what_a_provider_has_lost_is_copied_anew() {
    let main = Shard::new();
    let providers = Providers::new();
    let folders = providers.folders();
    let mut arguments = vec!["--storage".to_owned(), providers.setting()];
    let url = main.postgres.clone();
    arguments.extend(url.into_iter().flat_map(|url| ["--database".into(), url]));
    let mut origin = Origin::start_on(&arguments);
    let token = origin.register("ada@example.org");
    let bytes = content(5);
    let file = sent(&origin, &token, &bytes);
    let have_copies = || {
        let copies = objects(&folders);
        copies.len() == 3 && copies.values().all(|count| *count == 2)
    };
    origin.wait_until("there are two copies of each", have_copies);
    assert_eq!(origin.stop("TERM"), Some(0));

    let has_some = |folder: &&PathBuf| !objects(slice::from_ref(*folder)).is_empty();
    let lost = folders.iter().find(has_some).expect("they are somewhere");
    fs::remove_dir_all(lost).expect("it is there");
    fs::create_dir(lost).expect("it is gone");
    assert!(!have_copies());
    // As if nobody had looked for a minute.
    let file_of_main = || format!("sqlite://{}/lakh.sqlite", origin.data().display());
    let (runtime, mut connection) = connected(&main.postgres.clone().unwrap_or_else(file_of_main));
    let due = raw_sql("UPDATE copies_look SET due = 0").execute(&mut connection);
    runtime.block_on(due).expect("it is written");
    origin.start_again();
    origin.wait_until("there are two copies again", have_copies);
    let is_repaired = || {
        let metrics = origin.get("/metrics").expect_status(200).text();
        let repaired = "lakh_origin_storage_repairs_total{outcome=\"repaired\"}";
        metrics.lines().any(|line| line.starts_with(repaired))
    };
    origin.wait_until("it is counted", is_repaired);
    assert!(read(&origin, &token, &file) == bytes);
}

#[test]
fn a_provider_that_fails_loses_nothing_and_gets_its_copies_later() {
    let providers = Providers::new();
    let folders = providers.folders();
    let origin = Origin::start_with(&["--storage", &providers.setting()]);
    let token = origin.register("ada@example.org");
    let here = [origin.data().join("files")];

    // With two of three away there can't be two copies.
    let bytes = content(4);
    folders[..2].iter().for_each(|folder| stop(folder));
    let file = sent(&origin, &token, &bytes);
    assert!(read(&origin, &token, &file) == bytes);
    assert!(!objects(&here).is_empty(), "not all are the third's");
    folders[..2].iter().for_each(|folder| start(folder));
    origin.wait_until("there are copies of each", || {
        let copies = objects(&folders);
        objects(&here).is_empty() && copies.len() == 3 && copies.values().all(|count| *count >= 2)
    });
    for folder in &folders {
        stop(folder);
        assert!(
            read(&origin, &token, &file) == bytes,
            "{}",
            folder.display()
        );
        start(folder);
    }

    let metrics = origin.get("/metrics").expect_status(200).text();
    let failed =
        |line: &str| line.starts_with("lakh_origin_storage_total") && line.contains("failed");
    assert!(metrics.lines().any(failed), "{metrics}");
    origin.delete_as(&token, &file).expect_status(204);
    origin.wait_until("nothing is left", || objects(&folders).is_empty());
}
