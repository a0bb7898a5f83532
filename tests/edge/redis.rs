//! The tier in Redis: shared by a fleet, and never in anybody's way.

use crate::harness::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn yaml(redis: &Redis) -> String {
    CACHED.replace("$redis", &redis.url())
}

/// For who counts what came from there, on a machine that does much else.
fn patient_yaml(redis: &Redis) -> String {
    yaml(redis).replace("redis: {url", "redis: {timeout: 5s, url")
}

const CACHED: &str = "
upstreams: {app: {servers: [$0]}}
redis: {url: \"$redis\"}
caches: {pages: {memory: 64MiB, redis: {ttl: 10m}}}
routes:
- name: images
  match: {path: /images/*}
  upstream: app
  cache: {in: pages}
  images: true
- {name: all, match: {path: /*}, upstream: app, cache: {in: pages}}
";

/// Every answer is another, so that an old one is known. Compressible, and too long not to be.
fn counting() -> Origin {
    let count = AtomicUsize::new(0);
    Origin::start(move |seen| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let fields = [
            ("cache-control", "max-age=600, stale-if-error=600"),
            ("content-type", "text/plain"),
            ("surrogate-key", "all"),
            ("etag", "\"1\""),
        ];
        let filling = "lakh ".repeat(1000);
        Answer::of(200, &fields, format!("{number} {} {filling}", seen.target))
    })
}

/// An edge that knows what the fleet knows.
fn edge(yaml: &str, origin: &Origin) -> Edge {
    let edge = Edge::start(yaml, &[origin]);
    edge.await_metric("lakh_redis_in_touch", 1.0);
    edge
}

fn is_recalled(reply: &Reply) -> bool {
    let status = reply.cache_status();
    status.starts_with("hit; ttl=") && status.ends_with("; detail=redis")
}

#[test]
fn three_edges_fill_an_object_once() {
    let (redis, origin) = (Redis::start(), counting());
    let yaml = patient_yaml(&redis);
    let edges = [0; 3].map(|_| edge(&yaml, &origin));

    let first = get("/a").send(&edges[0]).expect(200);
    redis.await_records(1);

    for edge in &edges[1..] {
        let reply = get("/a").send(edge).expect(200);
        assert!(is_recalled(&reply), "{}", reply.cache_status());
        assert_eq!(reply.text(), first.text());
        assert_eq!(reply.field("etag"), Some("\"1\""));
        let again = get("/a").send(edge).expect(200);
        assert!(
            !again.cache_status().contains("redis"),
            "it is in memory now"
        );
        assert_eq!(edge.metric("lakh_cache_tier_total{result=\"hit\"}"), 1.0);
    }
    assert_eq!(origin.count(), 1);
    let record = redis.get(&redis.records()[0]).expect("it is there");
    assert!(record.len() < 1000, "it is compressed: {}", record.len());
    assert_eq!(
        edges[0].metric("lakh_cache_tier_total{result=\"written\"}"),
        1.0
    );
}

#[test]
fn those_who_miss_at_once_ask_redis_once() {
    let (redis, origin) = (Redis::start(), counting());
    let yaml = yaml(&redis);
    let [first, second] = [0; 2].map(|_| edge(&yaml, &origin));
    get("/a").send(&first).expect(200);
    redis.await_records(1);

    at_once(20, |_| get("/a").send(&second).expect(200));

    assert_eq!(origin.count(), 1);
    assert_eq!(second.metric("lakh_cache_tier_total{result=\"hit\"}"), 1.0);
}

#[test]
fn variants_are_shared_and_go_together() {
    let redis = Redis::start();
    let origin = Origin::start(|seen| {
        let language = seen.field("accept-language").unwrap_or("none");
        let fields = [("cache-control", "max-age=60"), ("vary", "accept-language")];
        Answer::of(200, &fields, language)
    });
    let yaml = yaml(&redis);
    let [first, second] = [0; 2].map(|_| edge(&yaml, &origin));
    let ask = |edge: &Edge, language: &str| {
        get("/")
            .with("accept-language", language)
            .send(edge)
            .expect(200)
    };
    ask(&first, "de");
    ask(&first, "en");
    redis.await_records(3);

    for language in ["de", "en"] {
        let reply = ask(&second, language);
        assert!(is_recalled(&reply), "{}", reply.cache_status());
        assert_eq!(reply.text(), language);
    }
    assert!(!is_recalled(&ask(&second, "fr")));
    assert_eq!(origin.count(), 3);

    ask_post(&first, "/");
    let third = edge(&yaml, &origin);
    for language in ["de", "en", "fr"] {
        assert!(!is_recalled(&ask(&third, language)), "{language}");
    }
}

/// Until the record is read, nobody knows that there are several.
#[test]
fn those_who_wait_for_redis_together_get_each_their_own_variant() {
    let redis = Redis::start();
    let origin = Origin::start(|seen| {
        let fields = [("cache-control", "max-age=60"), ("vary", "accept-language")];
        Answer::of(200, &fields, seen.the("accept-language"))
    });
    let yaml = patient_yaml(&redis);
    let [first, second] = [0; 2].map(|_| edge(&yaml, &origin));
    let languages = ["de", "en"];
    let ask = |edge: &Edge, target: &str, n: usize| {
        let ask = get(target).with("accept-language", languages[n % 2]);
        assert_eq!(ask.send(edge).expect(200).text(), languages[n % 2]);
    };
    for round in 0..5 {
        let target = format!("/{round}");
        (0..2).for_each(|n| ask(&first, &target, n));
        redis.await_records(3 * (round + 1));
        at_once(8, |n| ask(&second, &target, n));
    }
    assert_eq!(origin.count(), 10);
}

fn ask_post(edge: &Edge, target: &str) {
    post(target, "x").send(edge).expect(200);
    edge.await_metric("lakh_redis_waiting", 0.0);
}

#[test]
fn a_purge_on_one_is_gone_on_all_within_a_second() {
    let (redis, origin) = (Redis::start(), counting());
    let yaml = yaml(&redis);
    let edges = [0; 3].map(|_| edge(&yaml, &origin));
    let orders = [
        r#"{"url": "edge.test/a"}"#,
        r#"{"tag": "all"}"#,
        r#"{"host": "edge.test"}"#,
    ];
    for (n, order) in orders.into_iter().enumerate() {
        let old = get("/a").send(&edges[0]).expect(200).text();
        // There may be a record from before the last purge: that this one is written says the queue.
        edges[0].await_metric("lakh_redis_waiting", 0.0);
        redis.await_records(1);
        for edge in &edges[1..] {
            assert_eq!(get("/a").send(edge).expect(200).text(), old);
        }

        let purged = Instant::now();
        assert_eq!(edges[n].purge(order), "ok\nfleet: told\n");
        assert_ne!(
            get("/a").send(&edges[n]).expect(200).text(),
            old,
            "at once, here"
        );
        for edge in &edges {
            eventually("it is gone", || {
                get("/a").send(edge).expect(200).text() != old
            });
        }

        assert!(
            purged.elapsed() < Duration::from_secs(1),
            "{:?}",
            purged.elapsed()
        );
        assert_eq!(edges[n].purge(order), "ok\nfleet: told\n");
        let heard = (2 * (n + 1)) as f64;
        let others = || {
            edges
                .iter()
                .map(|e| e.metric("lakh_redis_purges_heard_total"))
                .sum::<f64>()
        };
        eventually("all have heard of it", || others() == 2.0 * heard);
    }
    // One that comes later knows as well.
    let late = edge(&yaml, &origin);
    assert!(!is_recalled(&get("/a").send(&late).expect(200)));
}

#[test]
fn what_is_filled_after_a_purge_is_shared() {
    let (redis, origin) = (Redis::start(), counting());
    let yaml = yaml(&redis);
    let [first, second] = [0; 2].map(|_| edge(&yaml, &origin));
    get("/a").send(&first).expect(200);
    first.await_metric("lakh_cache_tier_total{result=\"written\"}", 1.0);
    first.purge(r#"{"tag": "all"}"#);
    second.await_metric("lakh_redis_purges_heard_total", 1.0);

    let new = get("/a").send(&first).expect(200);
    first.await_metric("lakh_cache_tier_total{result=\"written\"}", 2.0);

    let reply = get("/a").send(&second).expect(200);
    assert!(is_recalled(&reply), "{}", reply.cache_status());
    assert_eq!(reply.text(), new.text());
    assert!(
        get("/a").send(&first).expect(200).is_hit(),
        "its own purge doesn't come twice"
    );
}

#[test]
fn what_is_purged_softly_is_asked_for_again_everywhere() {
    let redis = Redis::start();
    let origin = Origin::start(|seen| match seen.field("if-none-match") {
        Some(_) => Answer::of(304, &[("cache-control", "max-age=600")], ""),
        None => Answer::of(
            200,
            &[("cache-control", "max-age=600"), ("etag", "\"1\"")],
            "text",
        ),
    });
    let yaml = yaml(&redis);
    let [first, second] = [0; 2].map(|_| edge(&yaml, &origin));
    get("/a").send(&first).expect(200);
    redis.await_records(1);

    first.purge(r#"{"url": "edge.test/a", "soft": true}"#);
    second.await_metric("lakh_redis_purges_heard_total", 1.0);

    let reply = get("/a").send(&second).expect(200);
    assert_eq!(reply.text(), "text");
    assert!(!is_recalled(&reply));
    assert_eq!(origin.seen()[1].field("if-none-match"), Some("\"1\""));
}

#[test]
fn a_restarted_edge_is_warm() {
    let (redis, mut origin) = (Redis::start(), counting());
    let yaml = yaml(&redis);
    let before = {
        let mut edge = edge(&yaml, &origin);
        let before = get("/a").send(&edge).expect(200).text();
        redis.await_records(1);
        edge.sigterm();
        edge.await_exit();
        before
    };
    origin.stop();

    let edge = edge(&yaml, &origin);
    let reply = get("/a").send(&edge).expect(200);
    assert!(is_recalled(&reply), "{}", reply.cache_status());
    assert_eq!(reply.text(), before);
}

#[test]
fn a_stale_object_in_redis_answers_while_the_origin_fails() {
    let redis = Redis::start();
    let mut origin = Origin::start(|_| {
        Answer::of(
            200,
            &[("cache-control", "max-age=1, stale-if-error=600")],
            "text",
        )
    });
    let yaml = yaml(&redis);
    let [first, second] = [0; 2].map(|_| edge(&yaml, &origin));
    get("/a").send(&first).expect(200);
    redis.await_records(1);
    let started = Instant::now();
    eventually("it is stale", || started.elapsed() > Duration::from_secs(2));
    origin.stop();

    let reply = get("/a").send(&second).expect(200);

    assert_eq!(reply.text(), "text");
    assert!(
        is_recalled(&reply) && reply.cache_status().contains("ttl=-"),
        "{}",
        reply.cache_status()
    );
}

#[test]
fn a_write_on_one_edge_is_seen_on_all() {
    let (redis, origin) = (Redis::start(), counting());
    let yaml = yaml(&redis);
    let [first, second] = [0; 2].map(|_| edge(&yaml, &origin));
    let old = get("/a").send(&first).expect(200).text();
    redis.await_records(1);
    assert_eq!(get("/a").send(&second).expect(200).text(), old);

    ask_post(&first, "/a");

    eventually("the other edge has heard", || {
        get("/a").send(&second).expect(200).text() != old
    });
    let third = edge(&yaml, &origin);
    assert_ne!(get("/a").send(&third).expect(200).text(), old);
}

#[test]
fn a_damaged_record_is_a_miss() {
    let (redis, origin) = (Redis::start(), counting());
    let yaml = yaml(&redis);
    let first = edge(&yaml, &origin);
    let old = get("/a").send(&first).expect(200).text();
    redis.await_records(1);
    let key = redis.records().remove(0);
    let whole = redis.get(&key).expect("it is there");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 4;
    let mut later = whole.clone();
    later[3] += 1;
    let damaged = [
        flipped,
        whole[..whole.len() - 1].to_vec(),
        later,
        b"".to_vec(),
        b"LKH".to_vec(),
    ];
    for (n, record) in damaged.iter().enumerate() {
        redis.say(&[b"SET", &key, record, b"EX", b"600"]);
        let reply = get("/a").send(&edge(&yaml, &origin)).expect(200);
        assert!(!is_recalled(&reply), "{n}: {}", reply.cache_status());
        assert_ne!(reply.text(), old);
    }
    // Under another object's key.
    let edge = edge(&yaml, &origin);
    get("/b").send(&edge).expect(200);
    redis.await_records(2);
    let other = redis
        .records()
        .into_iter()
        .find(|k| *k != key)
        .expect("two");
    redis.say(&[b"SET", &other, &whole, b"EX", b"600"]);
    let edge = crate::redis::edge(&yaml, &origin);
    assert!(get("/b").send(&edge).expect(200).text().contains(" /b "));
}

/// As when Redis evicts the log because its memory is full.
#[test]
fn what_is_older_than_the_log_of_purges_is_not_believed() {
    let (redis, origin) = (Redis::start(), counting());
    let yaml = yaml(&redis);
    let first = edge(&yaml, &origin);
    let old = get("/a").send(&first).expect(200).text();
    redis.await_records(1);

    redis.say(&[b"DEL", b"lakh:purges"]);
    let second = edge(&yaml, &origin);
    assert_ne!(get("/a").send(&second).expect(200).text(), old);

    // The first one goes on, and its purges arrive.
    let new = get("/b").send(&second).expect(200).text();
    assert_eq!(first.purge(r#"{"tag": "all"}"#), "ok\nfleet: told\n");
    eventually("it is gone", || {
        get("/b").send(&second).expect(200).text() != new
    });
}

#[test]
fn a_purge_that_redis_could_not_be_told_is_told_when_it_is_back() {
    let (mut redis, origin) = (Redis::start(), counting());
    let yaml = yaml(&redis);
    let [first, second] = [0; 2].map(|_| edge(&yaml, &origin));
    let old = get("/a").send(&first).expect(200).text();
    redis.await_records(1);
    assert_eq!(get("/a").send(&second).expect(200).text(), old);
    redis.kill();

    let answer = first.purge(r#"{"url": "edge.test/a"}"#);
    assert_eq!(answer, "ok\nfleet: pending, until Redis can be reached\n");
    assert_ne!(get("/a").send(&first).expect(200).text(), old);
    assert_eq!(first.metric("lakh_redis_waiting"), 1.0);

    let _redis = Redis::start_on(redis.address);
    eventually("the other edge knows", || {
        get("/a").send(&second).expect(200).text() != old
    });
    first.await_metric("lakh_redis_waiting", 0.0);
}

#[test]
fn an_edge_starts_and_serves_without_redis() {
    let (mut redis, origin) = (Redis::start(), counting());
    redis.kill();
    let edge = Edge::start(&yaml(&redis), &[&origin]);

    assert!(!is_recalled(&get("/a").send(&edge).expect(200)));
    assert!(get("/a").send(&edge).expect(200).is_hit());
    assert_eq!(edge.metric("lakh_redis_in_touch"), 0.0);

    let redis = Redis::start_on(redis.address);
    edge.await_metric("lakh_redis_in_touch", 1.0);
    get("/b").send(&edge).expect(200);
    redis.await_records(1);
    let told = |what: &str| edge.stderr().matches(what).count();
    eventually("that it is there is told", || {
        told("Redis is used for caches again") > 0
    });
    assert_eq!(
        told("Redis can't be used for caches"),
        1,
        "{}",
        edge.stderr()
    );
}

#[test]
fn who_may_not_use_redis_is_told_why_once() {
    let (redis, origin) = (Redis::start(), counting());
    redis.say(&[b"CONFIG", b"SET", b"requirepass", b"secret"]);
    let edge = Edge::start(&yaml(&redis), &[&origin]);
    eventually("the cause is told", || {
        get("/a")
            .with("cache-control", "no-cache")
            .send(&edge)
            .expect(200);
        edge.stderr().contains("NOAUTH")
    });
    for n in 0..20 {
        get(&format!("/{n}")).send(&edge).expect(200);
    }
    let log = edge.stderr();
    assert_eq!(log.matches("Redis can't be used").count(), 1, "{log}");
    assert!(log.contains("redis.url"), "{log}");
}

/// No request fails, whatever happens to Redis, and a second later none but a few wait for it.
#[test]
fn redis_killed_hung_and_restarted_under_load() {
    let (mut redis, origin) = (Redis::start(), counting());
    let edge = edge(&yaml(&redis), &origin);
    let (load, address) = (Load::default(), redis.address);
    let phase = |name: &'static str, happens: &mut dyn FnMut()| {
        let since = Instant::now();
        happens();
        eventually("it has been so for a while", || {
            since.elapsed() > Duration::from_millis(2500)
        });
        (name, since)
    };
    let phases = std::thread::scope(|scope| {
        for worker in 0..4 {
            let (edge, load) = (&edge, &load);
            scope.spawn(move || load.run(edge, worker));
        }
        // Whatever fails in here ends the load.
        let _end = load.ends();
        let mut phases = vec![
            phase("well", &mut || {}),
            phase("hung", &mut || redis.hang()),
        ];
        assert_eq!(edge.metric("lakh_redis_in_touch"), 0.0);
        assert_eq!(edge.metric("lakh_redis_breaker_open"), 1.0);
        phases.push(phase("awake", &mut || redis.go_on()));
        phases.push(phase("dead", &mut || redis.kill()));
        phases.push(phase("restarted", &mut || redis = Redis::start_on(address)));
        edge.await_metric("lakh_redis_in_touch", 1.0);
        edge.await_metric("lakh_redis_breaker_open", 0.0);
        assert!(!redis.records().is_empty(), "it is used again");
        phases
    });
    for (n, (name, since)) in phases.iter().enumerate() {
        let until = phases.get(n + 1).map(|(_, until)| *until);
        let took = |after: Duration| load.took(*since + after, until);
        let (all, later) = (took(Duration::ZERO), took(Duration::from_secs(1)));
        let p99 = later[later.len() * 99 / 100];
        println!(
            "{name}: {} requests, median {:?}, slowest {:?}; after a second p99 {p99:?}",
            all.len(),
            all[all.len() / 2],
            all[all.len() - 1]
        );
        assert!(all[all.len() - 1] < Duration::from_secs(1), "{name}");
        // The timeout, for those that find out whether it is back, and a busy machine.
        assert!(p99 < Duration::from_millis(100), "{name}: {p99:?}");
    }
}

/// Requests one after the other, each for another object, so that each asks Redis.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    took: Mutex<Vec<(Instant, Duration)>>,
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Load {
    fn ends(&self) -> Ends<'_> {
        Ends(&self.over)
    }

    fn run(&self, edge: &Edge, worker: usize) {
        let mut client = edge.connect();
        for n in 0.. {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let (target, asked) = (format!("/{worker}/{n}"), Instant::now());
            let reply = get(&target).on(&mut client).expect(200);
            let took = (asked, asked.elapsed());
            assert!(reply.text().contains(&target));
            self.took
                .lock()
                .expect("no thread panics with it")
                .push(took);
        }
    }

    /// Of requests between these times, in order of length.
    fn took(&self, since: Instant, until: Option<Instant>) -> Vec<Duration> {
        let all = self.took.lock().expect("no thread panics with it");
        let is_in = |at: Instant| at >= since && until.is_none_or(|until| at < until);
        let mut took: Vec<_> = all
            .iter()
            .filter(|(at, _)| is_in(*at))
            .map(|t| t.1)
            .collect();
        took.sort();
        took
    }
}

#[test]
fn a_rendition_is_made_once_for_all_and_goes_with_its_source() {
    let redis = Redis::start();
    let picture = {
        let pixel = |x, y| image::Rgb([x as u8, y as u8, 99]);
        let picture = image::RgbImage::from_fn(64, 48, pixel);
        let mut bytes = std::io::Cursor::new(Vec::new());
        let written = picture.write_to(&mut bytes, image::ImageFormat::Jpeg);
        written.expect("a picture can be encoded");
        bytes.into_inner()
    };
    let fields = [
        ("cache-control", "max-age=600"),
        ("content-type", "image/jpeg"),
    ];
    let origin = Origin::start(move |_| Answer::of(200, &fields, picture.clone()));
    let yaml = yaml(&redis);
    let [first, second] = [0; 2].map(|_| edge(&yaml, &origin));
    let small = "/images/p.jpg?w=20";
    let made = get(small).send(&first).expect(200);
    // The source, the rendition, and what it hangs on.
    redis.await_records(3);

    let reply = get(small).send(&second).expect(200);
    assert!(is_recalled(&reply), "{}", reply.cache_status());
    assert_eq!(reply.body, made.body);
    assert_eq!(second.metric("lakh_image_transforms_total"), 0.0);
    assert_eq!(origin.count(), 1);

    ask_post(&first, "/images/p.jpg");
    eventually("the other edge has heard", || {
        !get(small).send(&second).expect(200).is_hit()
    });
    // What it made anew, and the old rendition, which nothing leads to any more.
    redis.await_records(4);
    let third = edge(&yaml, &origin);
    let reply = get(small).send(&third).expect(200);
    assert!(is_recalled(&reply), "{}", reply.cache_status());
    assert_eq!(origin.count(), 3, "filled, written to, filled");
}
