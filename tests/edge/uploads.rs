//! Photos that come all at once, as many as may, and one more.

use crate::harness::{Client, Edge, at_once, get, post};
use crate::images::{jpeg, photo, red_and_blue};
use crate::lending::{joined, running, send, thing};
use serde_json::Value;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const PHOTO_BYTES: usize = 5 * 1024 * 1024;
const UPLOADS: usize = 100;
const MOST_PER_LISTING: usize = 10;

/// As many as may run and wait, in one process.
const MOST_UPLOADS: usize = 1_100;

/// On a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

const UPLOADING: &str = "
access_log: {to: none}
limits: {connections_per_address: 5000, min_body_rate: 0B/s, body_timeout: 5m}
upstreams:
  app:
    spawn: {command: [$lakh_origin, --no-demo, --lease, '3'], instances: $instances, first_port: $ports}
    health_check: {path: /health, interval: 500ms, timeout: 20s}
    timeouts: {read: 2m, write: 2m}
routes: [{name: all, match: {path: /*}, upstream: app}]
";

/// A photograph with as many bytes, most of them in comments: what is measured is their way. T.81 §B.2.4.5.
fn large_photo() -> Vec<u8> {
    let mut comment = vec![b' '; 65_537];
    comment.splice(..4, [0xff, 0xfe, 0xff, 0xff]);
    let small = jpeg(&red_and_blue(1000, 750));
    let mut large = small[..2].to_vec();
    while large.len() + small.len() < PHOTO_BYTES {
        large.extend_from_slice(&comment);
    }
    large.extend_from_slice(&small[2..]);
    large
}

fn upload(listing: &str, token: &str, photo: &[u8]) -> Vec<u8> {
    let asked = post(&format!("{listing}/photos"), photo)
        .with("content-type", "image/jpeg")
        .with("authorization", format!("Bearer {token}"));
    asked.wire()
}

fn listings(edge: &Edge, token: &str, count: usize) -> Vec<String> {
    let made = |_| {
        let made = send(edge, "/api/v1/listings", Some(token), &thing("Tent")).expect(201);
        made.the("location").to_owned()
    };
    (0..count).map(made).collect()
}

/// One after the other: who waits for a place longer than a minute is sent away.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn patiently(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn a_hundred_photos_at_once_are_acknowledged_and_none_is_lost_with_a_process() {
    let _turn = turn();
    let edge = running(&UPLOADING.replace("$instances", "3"), 3);
    let token = joined(&edge, "ada@example.org");
    let listings = listings(&edge, &token, UPLOADS / MOST_PER_LISTING);
    let photo = large_photo();
    // Before they begin, since making half a gigabyte ready is not what is measured.
    let uploads = listings
        .iter()
        .map(|listing| upload(listing, &token, &photo));
    let uploads: Vec<_> = uploads.collect();
    let acknowledged: Vec<(String, Duration)> = at_once(UPLOADS, |n| {
        let mut client = Client::try_connect(edge.web, PATIENCE).expect("a connection");
        client.send(&uploads[n / MOST_PER_LISTING]);
        let sent = Instant::now();
        let reply = client.reply("POST").expect(201);
        (reply.the("location").to_owned(), sent.elapsed())
    });
    let mut times: Vec<_> = acknowledged.iter().map(|(_, time)| *time).collect();
    times.sort();
    let (median, slowest) = (times[UPLOADS / 2], times[UPLOADS - 2]);
    println!("acknowledged after the last byte: median {median:?}, p99 {slowest:?}");
    // A tenth of a second on a machine that does nothing else.
    assert!(slowest < PATIENCE / 2, "{slowest:?}");

    let (victim, _) = edge.children()[0];
    let killed = Command::new("kill")
        .args(["-KILL", &victim.to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
    let deadline = Instant::now() + Duration::from_secs(240);
    for (path, _) in &acknowledged {
        let made = loop {
            let shown = get(path).send(&edge);
            // The edge may not have seen yet that the process is gone.
            let shown: Value = match shown.status {
                200 => shown.json(),
                _ => Value::Null,
            };
            if shown["state"] == "done" {
                break shown;
            }
            assert!(Instant::now() < deadline, "{path}: {shown}");
            thread::park_timeout(Duration::from_millis(50));
        };
        let renditions = made["renditions"].as_array().expect("a list");
        for preset in ["original", "medium", "thumbnail"] {
            assert!(
                renditions.iter().any(|one| one["preset"] == preset),
                "{made}"
            );
        }
    }
}

#[test]
fn one_upload_more_than_may_run_and_wait_is_refused_and_later_welcome() {
    let _turn = turn();
    let edge = running(&UPLOADING.replace("$instances", "1"), 1);
    let token = joined(&edge, "ada@example.org");
    let listing = &listings(&edge, &token, 1)[0];
    let bytes = upload(listing, &token, photo());
    let begun = bytes.len() - photo().len() + 100;
    let mut clients: Vec<_> = (0..MOST_UPLOADS)
        .map(|_| Client::connect(edge.web))
        .collect();
    clients
        .iter_mut()
        .for_each(|client| client.send(&bytes[..begun]));
    let (_, port) = edge.children()[0];
    let counted = |state: &str, count: usize| {
        let mut direct = Client::connect(([127, 0, 0, 1], port).into());
        let metrics = get("/metrics").on(&mut direct).expect(200).text();
        metrics.contains(&format!(
            "lakh_origin_uploads{{state=\"{state}\"}} {count}\n"
        ))
    };
    patiently("all run or wait", || {
        counted("running", 100) && counted("waiting", 1000)
    });

    let mut another = Client::connect(edge.web);
    another.send(&bytes);
    let refused = another.reply("POST").expect_problem(503);
    assert_eq!(refused.the("retry-after"), "1");
    drop(clients);
    patiently("there is room", || {
        counted("running", 0) && counted("waiting", 0)
    });
    let mut another = Client::connect(edge.web);
    another.send(&bytes);
    another.reply("POST").expect(201);
}
