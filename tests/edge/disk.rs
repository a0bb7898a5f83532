//! The tier on disk: warm after whatever ended the edge, and never wrong.

use crate::harness::*;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn yaml(folder: &Path) -> String {
    CACHED.replace("$folder", &folder.display().to_string())
}

const CACHED: &str = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB, disk: {path: $folder, size: 64MiB}}}
routes:
- {name: images, match: {path: /images/*}, upstream: app, cache: {in: pages}, images: true}
- {name: all, match: {path: /*}, upstream: app, cache: {in: pages}}
";

/// An edge whose disk is open.
fn edge(yaml: &str, origin: &Origin) -> Edge {
    let edge = Edge::start(yaml, &[origin]);
    edge.await_metric("lakh_cache_disk_in_use", 1.0);
    edge
}

fn stop(mut edge: Edge) {
    edge.sigterm();
    assert!(edge.await_exit().success());
}

fn kill(mut edge: Edge) {
    edge.sigkill();
    edge.await_exit();
}

fn await_written(edge: &Edge, n: usize) {
    edge.await_metric(
        "lakh_cache_tier_total{tier=\"disk\",result=\"written\"}",
        n as f64,
    );
}

fn is_recalled(reply: &Reply) -> bool {
    let status = reply.cache_status();
    status.starts_with("hit; ttl=") && status.ends_with("; detail=disk")
}

/// Every answer is another, so that an old one is known.
fn counting() -> Origin {
    let count = AtomicUsize::new(0);
    Origin::start(move |seen| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let fields = [
            ("cache-control", "max-age=600"),
            ("surrogate-key", "all"),
            ("etag", "\"1\""),
        ];
        Answer::of(200, &fields, format!("{number} {}", seen.target))
    })
}

/// What the path says: `/LENGTH/SEED`.
fn noise_of(target: &str) -> Vec<u8> {
    let mut parts = target.split('/').skip(1).map(|part| part.parse::<u64>());
    let mut next = || parts.next().expect("a part").expect("a number");
    noise(next() as usize, next())
}

fn noisy() -> Origin {
    Origin::start(|seen| {
        let fields = [("cache-control", "max-age=600")];
        Answer::of(200, &fields, noise_of(&seen.target))
    })
}

/// The origin has gone: whatever is answered is from the disk.
#[test]
fn parts_and_what_must_be_cached_come_from_the_disk_too() {
    let (folder, mut origin) = (Folder::new(), noisy());
    let yaml = yaml(folder.path());
    let first = edge(&yaml, &origin);
    for target in ["/200000/1", "/200000/2"] {
        get(target).send(&first).expect(200);
    }
    stop(first);
    origin.stop();

    let second = edge(&yaml, &origin);
    let part = get("/200000/1").with("range", "bytes=1000-1999");
    assert_eq!(
        part.send(&second).expect(206).body,
        noise_of("/200000/1")[1000..2000]
    );
    let cached = |target| get(target).with("cache-control", "only-if-cached");
    assert_eq!(
        cached("/200000/2").send(&second).expect(200).body,
        noise_of("/200000/2")
    );
    // Of what no tier has, neither waits for anything.
    cached("/200000/3").send(&second).expect(504);
    get("/200000/4")
        .with("range", "bytes=1-2")
        .send(&second)
        .expect(502);
    let hits = "lakh_cache_tier_total{tier=\"disk\",result=\"hit\"}";
    assert_eq!(second.metric(hits), 2.0);
}

#[test]
fn an_edge_is_ready_when_its_disk_is() {
    let (folder, origin) = (Folder::new(), counting());
    let first = Edge::start(&yaml(folder.path()), &[&origin]);
    assert_eq!(first.metric("lakh_cache_disk_in_use"), 1.0);
    // It is not waited for while another has it.
    let second = Edge::start(&yaml(folder.path()), &[&origin]);
    assert_eq!(second.metric("lakh_cache_disk_in_use"), 0.0);
}

#[test]
fn a_restarted_edge_is_warm() {
    let (folder, mut origin) = (Folder::new(), counting());
    let yaml = yaml(folder.path());
    let first = edge(&yaml, &origin);
    let before = get("/a").send(&first).expect(200);
    stop(first);
    origin.stop();

    let second = edge(&yaml, &origin);
    let reply = get("/a").send(&second).expect(200);
    assert!(is_recalled(&reply), "{}", reply.cache_status());
    assert_eq!(reply.text(), before.text());
    assert_eq!(reply.field("etag"), Some("\"1\""));
    let again = get("/a").send(&second).expect(200);
    assert!(
        again.is_hit() && !is_recalled(&again),
        "it is in memory now"
    );
    let hits = "lakh_cache_tier_total{tier=\"disk\",result=\"hit\"}";
    assert_eq!(second.metric(hits), 1.0);
}

#[test]
fn variants_and_renditions_come_back() {
    let folder = Folder::new();
    let picture = {
        let picture = image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8, y as u8, 99]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        let written = picture.write_to(&mut bytes, image::ImageFormat::Jpeg);
        written.expect("a picture can be encoded");
        bytes.into_inner()
    };
    let mut origin = Origin::start(move |seen| match seen.path() {
        "/images/p.jpg" => {
            let fields = [
                ("cache-control", "max-age=600"),
                ("content-type", "image/jpeg"),
            ];
            Answer::of(200, &fields, picture.clone())
        }
        _ => {
            let fields = [("cache-control", "max-age=60"), ("vary", "accept-language")];
            Answer::of(200, &fields, seen.the("accept-language"))
        }
    });
    let yaml = yaml(folder.path());
    let speaking = |language: &str| get("/").with("accept-language", language);
    let small = get("/images/p.jpg?w=20");
    let first = edge(&yaml, &origin);
    speaking("de").send(&first).expect(200);
    speaking("en").send(&first).expect(200);
    let made = small.send(&first).expect(200);
    stop(first);
    origin.stop();

    let second = edge(&yaml, &origin);
    for language in ["de", "en"] {
        let reply = speaking(language).send(&second).expect(200);
        assert!(is_recalled(&reply), "{}", reply.cache_status());
        assert_eq!(reply.text(), language);
    }
    let reply = small.send(&second).expect(200);
    assert!(is_recalled(&reply), "{}", reply.cache_status());
    assert_eq!(reply.body, made.body);
    assert_eq!(second.metric("lakh_image_transforms_total"), 0.0);
    speaking("fr").send(&second).expect(502);
}

/// Each answer has been given before the edge is killed, so that the kernel may have any of them.
#[test]
fn killed_while_it_writes_it_starts_and_is_right() {
    let (folder, origin) = (Folder::new(), noisy());
    let yaml = yaml(folder.path());
    let mut recalled = 0;
    for round in 0..4u64 {
        let edge = edge(&yaml, &origin);
        let ask = |round: u64, worker: usize, n: u64| {
            let length = (round * 7919 + n * 104_729 + worker as u64) % 300_000;
            let target = format!("/{length}/{}", round * 1000 + n * 10 + worker as u64);
            let reply = get(&target).send(&edge).expect(200);
            assert!(reply.body == noise_of(&target), "{target} is not itself");
            is_recalled(&reply)
        };
        let found = at_once(4, |worker| {
            let before = (0..round).flat_map(|round| (0..12).map(move |n| (round, n)));
            let found = before.filter(|(round, n)| ask(*round, worker, *n)).count();
            (0..12).for_each(|n| {
                ask(round, worker, n);
            });
            found
        });
        recalled += found.iter().sum::<usize>();
        kill(edge);
    }
    assert!(recalled > 0, "nothing survived");
}

#[test]
fn what_is_flipped_or_torn_on_disk_is_a_miss() {
    let (folder, origin) = (Folder::new(), noisy());
    let yaml = yaml(folder.path());
    let targets: Vec<_> = (0..60).map(|n| format!("/{}/{n}", n * 997)).collect();
    let first = edge(&yaml, &origin);
    for target in &targets {
        get(target).send(&first).expect(200);
    }
    stop(first);
    let blocks = folder.files().into_iter();
    let blocks: Vec<_> = blocks
        .filter(|file| file.to_string_lossy().contains("objects-"))
        .collect();
    // Every third page of what was written, in another place each; and the last block is cut off.
    let mut flipped = 0;
    for block in &blocks {
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(block)
            .expect("a file of ours");
        let bytes = std::fs::read(block).expect("it can be read");
        for (page, content) in bytes.chunks(4096).enumerate().skip(1).step_by(3) {
            if content.iter().any(|byte| *byte != 0) {
                let at = page * 4096 + page * 31 % 4096;
                let byte = [bytes[at] ^ 1 << (page % 8)];
                file.write_all_at(&byte, at as u64).expect("it takes it");
                flipped += 1;
            }
        }
    }
    assert!(flipped > 50, "{flipped} pages were written");

    let second = edge(&yaml, &origin);
    let mut recalled = 0;
    for target in &targets {
        let reply = get(target).send(&second).expect(200);
        assert!(reply.body == noise_of(target), "{target} is not itself");
        recalled += usize::from(is_recalled(&reply));
    }
    assert!(
        (1..targets.len()).contains(&recalled),
        "{recalled} of {} were whole",
        targets.len()
    );
    stop(second);

    for block in &blocks {
        let file = std::fs::File::options().write(true).open(block);
        file.and_then(|file| file.set_len(5000))
            .expect("it can be cut off");
    }
    let third = edge(&yaml, &origin);
    for target in &targets {
        let reply = get(target).send(&third).expect(200);
        assert!(reply.body == noise_of(target), "{target} is not itself");
    }
}

#[test]
fn its_budget_is_held_and_the_newest_stay() {
    let (folder, origin) = (Folder::new(), noisy());
    let yaml = yaml(folder.path()).replace("memory: 64MiB", "memory: 1MiB");
    let first = edge(&yaml, &origin);
    let target = |n: usize| format!("/900000/{n}");
    for n in 0..120 {
        get(&target(n)).send(&first).expect(200);
        await_written(&first, n + 1);
        assert!(folder.size() <= 64 << 20, "{} after {n}", folder.size());
    }
    stop(first);
    assert!(folder.size() <= 64 << 20);

    let second = edge(&yaml, &origin);
    let recalled = |n: usize| is_recalled(&get(&target(n)).send(&second).expect(200));
    assert!((110..120).all(recalled));
    assert!(!(0..10).any(recalled));
    // It still knows which are the oldest.
    for n in 120..135 {
        get(&target(n)).send(&second).expect(200);
    }
    stop(second);
    let third = edge(&yaml, &origin);
    let recalled = |n: usize| is_recalled(&get(&target(n)).send(&third).expect(200));
    assert!((105..135).all(recalled));
}

#[test]
fn what_was_purged_never_comes_back() {
    let (folder, origin) = (Folder::new(), counting());
    let yaml = yaml(folder.path());
    let orders = [
        r#"{"url": "edge.test/0"}"#,
        r#"{"tag": "all"}"#,
        r#"{"host": "edge.test", "soft": true}"#,
    ];
    for (n, order) in orders.into_iter().enumerate() {
        let target = format!("/{n}");
        let first = edge(&yaml, &origin);
        let old = get(&target).send(&first).expect(200).text();
        stop(first);
        // Purged where it is on disk alone, by one that has no chance to tidy up.
        let second = edge(&yaml, &origin);
        assert_eq!(second.purge(order), "ok\ndisk: told\n");
        kill(second);

        for _ in 0..2 {
            let next = edge(&yaml, &origin);
            let reply = get(&target).send(&next).expect(200);
            assert_ne!(reply.text(), old, "{order}: {}", reply.cache_status());
            kill(next);
        }
    }
}

#[test]
fn what_is_stored_after_a_purge_stays() {
    let (folder, origin) = (Folder::new(), counting());
    let yaml = yaml(folder.path());
    let first = edge(&yaml, &origin);
    get("/a").send(&first).expect(200);
    first.purge(r#"{"tag": "all"}"#);
    let new = get("/a").send(&first).expect(200);
    stop(first);

    for _ in 0..2 {
        let next = edge(&yaml, &origin);
        let reply = get("/a").send(&next).expect(200);
        assert!(is_recalled(&reply), "{}", reply.cache_status());
        assert_eq!(reply.text(), new.text());
        stop(next);
    }
}

#[test]
fn what_a_write_made_invalid_never_comes_back() {
    let (folder, origin) = (Folder::new(), counting());
    let yaml = yaml(folder.path());
    let first = edge(&yaml, &origin);
    let old = get("/a").send(&first).expect(200).text();
    stop(first);

    // It is in no memory when it is written to.
    let second = edge(&yaml, &origin);
    post("/a", "x").send(&second).expect(200);
    post("/never-seen", "x").send(&second).expect(200);
    stop(second);

    let third = edge(&yaml, &origin);
    let reply = get("/a").send(&third).expect(200);
    assert!(!is_recalled(&reply), "{}", reply.cache_status());
    assert_ne!(reply.text(), old);
}

#[test]
fn without_the_journal_of_purges_nothing_is_believed() {
    let (folder, origin) = (Folder::new(), counting());
    let yaml = yaml(folder.path());
    let journal = folder.path().join("purges");
    for damage in [
        |journal: &Path| std::fs::remove_file(journal),
        |journal: &Path| {
            let mut bytes = std::fs::read(journal)?;
            bytes[4] ^= 1;
            std::fs::write(journal, bytes)
        },
    ] {
        let first = edge(&yaml, &origin);
        let old = get("/a").send(&first).expect(200).text();
        stop(first);
        damage(&journal).expect("the folder is ours");

        let second = edge(&yaml, &origin);
        let reply = get("/a").send(&second).expect(200);
        assert!(!is_recalled(&reply), "{}", reply.cache_status());
        assert_ne!(reply.text(), old);
        stop(second);
    }
}

#[test]
fn a_folder_that_cannot_be_had_fails_no_request() {
    let (folder, origin) = (Folder::new(), counting());
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").expect("the folder is ours");
    let edge = Edge::start(&yaml(&file.join("below")), &[&origin]);

    get("/a").send(&edge).expect(200);
    assert!(get("/a").send(&edge).expect(200).is_hit());
    assert_eq!(edge.metric("lakh_cache_disk_in_use"), 0.0);
    let answer = edge.purge(r#"{"tag": "all"}"#);
    assert_eq!(answer, "ok\ndisk: pending, until it can be written\n");
    eventually("it says so", || edge.stderr().contains("can't be used yet"));

    std::fs::remove_file(&file).expect("the folder is ours");
    edge.await_metric("lakh_cache_disk_in_use", 1.0);
}

#[test]
fn one_process_has_it_at_a_time_and_the_next_takes_over() {
    let (folder, origin) = (Folder::new(), counting());
    let yaml = yaml(folder.path());
    let first = edge(&yaml, &origin);
    let old = get("/a").send(&first).expect(200).text();
    let second = Edge::start(&yaml, &[&origin]);
    assert_ne!(get("/b").send(&second).expect(200).text(), old);
    assert_eq!(second.metric("lakh_cache_disk_in_use"), 0.0);

    stop(first);

    second.await_metric("lakh_cache_disk_in_use", 1.0);
    let reply = get("/a").send(&second).expect(200);
    assert!(is_recalled(&reply), "{}", reply.cache_status());
}

#[test]
fn it_survives_a_reload() {
    let (folder, origin) = (Folder::new(), counting());
    let yaml = yaml(folder.path());
    let edge = edge(&yaml, &origin);
    get("/a").send(&edge).expect(200);
    await_written(&edge, 1);

    // Another zone takes its name, with the disk that it has.
    edge.reload(&yaml.replace("64MiB, disk", "32MiB, disk"));
    get("/b").send(&edge).expect(200);
    await_written(&edge, 2);
    // A disk of another size is another disk: what was there is gone, and it is used again.
    edge.reload(&yaml.replace("size: 64MiB", "size: 80MiB"));
    edge.await_metric("lakh_cache_disk_in_use", 1.0);
    get("/c").send(&edge).expect(200);
    await_written(&edge, 3);
    assert!(folder.size() <= 80 << 20);
}

/// It must be asked what happened meanwhile before it believes its disk.
#[test]
fn what_the_fleet_purged_while_it_was_away_does_not_come_back() {
    let (folder, redis, origin) = (Folder::new(), Redis::start(), counting());
    let with_redis = format!("redis: {{url: \"{}\"}}\n", redis.url());
    let without_disk = with_redis + &yaml(folder.path());
    let with_disk = without_disk.replace("64MiB}}", "64MiB}, redis: {}}");
    let without_disk = with_disk.replace(
        &format!("disk: {{path: {}, size: 64MiB}}, ", folder.path().display()),
        "",
    );
    let first = edge(&with_disk, &origin);
    let other = Edge::start(&without_disk, &[&origin]);
    other.await_metric("lakh_redis_in_touch", 1.0);
    first.await_metric("lakh_redis_in_touch", 1.0);
    let old = get("/a").send(&first).expect(200).text();
    get("/b").send(&first).expect(200);
    stop(first);
    assert_eq!(
        other.purge(r#"{"url": "edge.test/a"}"#),
        "ok\nfleet: told\n"
    );

    let first = edge(&with_disk, &origin);
    first.await_metric("lakh_redis_in_touch", 1.0);
    let reply = get("/a").send(&first).expect(200);
    assert_ne!(reply.text(), old);
    let kept = get("/b").send(&first).expect(200);
    assert!(is_recalled(&kept), "{}", kept.cache_status());
}

/// Whatever is stored is written behind everybody's back.
#[test]
fn what_does_not_fit_into_memory_is_found_on_disk() {
    let (folder, origin) = (Folder::new(), noisy());
    let yaml = yaml(folder.path()).replace("memory: 64MiB", "memory: 1MiB");
    let edge = edge(&yaml, &origin);
    let targets: Vec<_> = (0..40).map(|n| format!("/100000/{n}")).collect();
    for target in &targets {
        get(target).send(&edge).expect(200);
    }
    await_written(&edge, targets.len());

    for target in &targets {
        let reply = get(target).send(&edge).expect(200);
        assert!(reply.body == noise_of(target), "{target} is not itself");
    }

    assert_eq!(origin.count(), targets.len());
    edge.await_metric("lakh_cache_disk_waiting_bytes", 0.0);
    let slow = Duration::from_secs(1);
    assert!(edge.admin_within("/metrics", slow).is_some());
}
