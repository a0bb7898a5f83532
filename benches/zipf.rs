//! How much of a skewed load a zone of some size answers: a trace of ten million requests for a
//! million objects, popular by Zipf's law with exponent 0.9, against the real `Zone`, an LRU of the
//! same bytes, and the ideal. Always the same trace; prints a table.
//!
//! The ideal knows beforehand how often each object will be asked for, and keeps those that bring
//! the most hits (or bytes) for their room. Even it misses the first request for each.

use http::{HeaderMap, StatusCode};
use lakh::cache::{
    CacheSettings, Found, Freshness, Key, KeyRules, Names, Object, Scheme, Tiers, Url, Zone,
};
use lakh::observe::Metrics;
use std::sync::Arc;

const OBJECTS: usize = 1_000_000;
const REQUESTS: usize = 10_000_000;
const EXPONENT: f64 = 0.9;
const SEED: u64 = 9;
/// Of the bytes of all objects, in percent.
const SIZES: [u64; 4] = [1, 5, 10, 25];
/// Sizes are log-normal, as on the web: half below 6 KiB, 18 KiB on average, few very large.
const MEDIAN: f64 = 6.0 * 1024.0;
const SIGMA: f64 = 1.5;
const SMALLEST: f64 = 200.0;
const LARGEST: usize = 1 << 20;
/// What a zone counts for an entry beside its body and its key.
const OVERHEAD: u64 = 400;

fn main() {
    let trace = Trace::new();
    let total: u64 = trace.weights.iter().sum();
    println!(
        "Zipf({EXPONENT}), {REQUESTS} requests, {OBJECTS} objects, {:.1} GiB",
        total as f64 / (1u64 << 30) as f64
    );
    println!("\n| zone | | Lakh | LRU | ideal |\n|---|---|---|---|---|");
    for percent in SIZES {
        let bytes = total / 100 * percent;
        let (zone, lru) = (
            trace.play(&mut Real::new(&trace, bytes)),
            trace.play(&mut Lru::new(bytes)),
        );
        let (hits, byte_hits) = trace.ideal(bytes);
        println!(
            "| {percent} % | hits | {} | {} | {} |",
            zone.hits(),
            lru.hits(),
            share(hits)
        );
        println!(
            "| | bytes | {} | {} | {} |",
            zone.bytes(),
            lru.bytes(),
            share(byte_hits)
        );
    }
}

struct Trace {
    /// Indices of objects.
    requests: Vec<u32>,
    keys: Vec<Key>,
    sizes: Vec<u32>,
    /// What each object takes in a zone, in bytes.
    weights: Vec<u64>,
}

/// What is asked for an object, in a trace's order.
trait Cache {
    /// Whether it was there. It is from now on, if the cache keeps it.
    fn ask(&mut self, object: usize, trace: &Trace) -> bool;
}

#[derive(Default)]
struct Score {
    hits: u64,
    hit_bytes: u64,
    bytes: u64,
}

impl Trace {
    fn new() -> Trace {
        let mut random = fastrand::Rng::with_seed(SEED);
        let sizes: Vec<u32> = (0..OBJECTS).map(|_| size(&mut random)).collect();
        let rules = KeyRules::default();
        let key = |n: usize| {
            let path = format!("/items/{n}");
            let url = Url::new("shop.example", path.as_bytes());
            rules.key("app", Scheme::Https, &url, &HeaderMap::new())
        };
        let keys: Vec<Key> = (0..OBJECTS).map(key).collect();
        let weight =
            |(key, size): (&Key, &u32)| key.as_bytes().len() as u64 + u64::from(*size) + OVERHEAD;
        Trace {
            weights: keys.iter().zip(&sizes).map(weight).collect(),
            requests: requests(&mut random),
            keys,
            sizes,
        }
    }

    fn play(&self, cache: &mut impl Cache) -> Score {
        let mut score = Score::default();
        for object in &self.requests {
            let object = *object as usize;
            let size = u64::from(self.sizes[object]);
            score.bytes += size;
            if cache.ask(object, self) {
                score.hits += 1;
                score.hit_bytes += size;
            }
        }
        score
    }

    /// Shares of requests and of bytes.
    fn ideal(&self, room: u64) -> (f64, f64) {
        let mut counts = vec![0u64; OBJECTS];
        self.requests
            .iter()
            .for_each(|object| counts[*object as usize] += 1);
        let repeated = |object: usize| counts[object].saturating_sub(1);
        let best = |gain: &dyn Fn(usize) -> u64, of: &dyn Fn(usize) -> u64| {
            let mut order: Vec<usize> = (0..OBJECTS).collect();
            let density = |object: usize| gain(object) as f64 / self.weights[object] as f64;
            order.sort_by(|a, b| density(*b).total_cmp(&density(*a)));
            let mut left = room;
            let kept = order.into_iter().take_while(|object| {
                let fits = self.weights[*object] <= left;
                left = left.saturating_sub(self.weights[*object]);
                fits
            });
            let all: u64 = (0..OBJECTS).map(of).sum();
            kept.map(gain).sum::<u64>() as f64 / all as f64
        };
        let size = |object: usize| u64::from(self.sizes[object]);
        let requests = best(&repeated, &|object| counts[object]);
        let bytes = best(&|o| repeated(o) * size(o), &|o| counts[o] * size(o));
        (requests, bytes)
    }
}

/// Box and Muller's normal deviate, to the power of e.
fn size(random: &mut fastrand::Rng) -> u32 {
    let (a, b) = (random.f64().max(f64::MIN_POSITIVE), random.f64());
    let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
    (MEDIAN * (SIGMA * normal).exp()).clamp(SMALLEST, LARGEST as f64) as u32
}

/// The object of rank n is asked for n^-0.9 times as often as the first.
fn requests(random: &mut fastrand::Rng) -> Vec<u32> {
    let mut sum = 0.0;
    let shares = (1..=OBJECTS).map(|rank| {
        sum += (rank as f64).powf(-EXPONENT);
        sum
    });
    let shares: Vec<f64> = shares.collect();
    let mut one = || {
        let at = random.f64() * sum;
        shares.partition_point(|share| *share < at).min(OBJECTS - 1) as u32
    };
    (0..REQUESTS).map(|_| one()).collect()
}

struct Real {
    zone: Zone<()>,
    body: bytes::Bytes,
    none: HeaderMap,
}

impl Real {
    fn new(trace: &Trace, memory: u64) -> Real {
        let settings = CacheSettings {
            invalidate_header: None,
            name: "z".into(),
            memory,
            max_object: LARGEST as u64,
            disk: None,
            redis: None,
        };
        let largest = trace.sizes.iter().max().map_or(0, |size| *size as usize);
        Real {
            zone: Zone::new(
                settings,
                Metrics::new().cache("z"),
                Arc::default(),
                Tiers::default(),
            ),
            body: vec![b'x'; largest].into(),
            none: HeaderMap::new(),
        }
    }
}

impl Cache for Real {
    fn ask(&mut self, object: usize, trace: &Trace) -> bool {
        let key = trace.keys[object].clone();
        match self.zone.find(key, &self.none, 5) {
            Found::Object { .. } => true,
            Found::Nothing { key } => {
                // All bodies share their bytes, and count by their length all the same.
                let body = self.body.slice(..trace.sizes[object] as usize);
                self.zone.store(key, Arc::new(stored(body)));
                false
            }
            Found::Pass { .. } => unreachable!("nothing is passed here"),
        }
    }
}

fn stored(body: bytes::Bytes) -> Object {
    Object::new(
        StatusCode::OK,
        HeaderMap::new(),
        body,
        Freshness {
            stored_at: 0,
            initial_age: 0,
            lifetime: 3600,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            always_revalidate: false,
        },
        Names::default(),
    )
}

/// A ring of objects through `OBJECTS`, which is none; the one before it was used last.
struct Lru {
    before: Vec<u32>,
    after: Vec<u32>,
    left: u64,
}

const ABSENT: u32 = u32::MAX;

impl Lru {
    fn new(room: u64) -> Lru {
        let (mut before, mut after) = (vec![ABSENT; OBJECTS + 1], vec![ABSENT; OBJECTS + 1]);
        (before[OBJECTS], after[OBJECTS]) = (OBJECTS as u32, OBJECTS as u32);
        Lru {
            before,
            after,
            left: room,
        }
    }

    fn unlink(&mut self, object: usize) {
        let (before, after) = (self.before[object], self.after[object]);
        (self.after[before as usize], self.before[after as usize]) = (after, before);
        self.after[object] = ABSENT;
    }

    fn link_last(&mut self, object: usize) {
        let last = self.before[OBJECTS];
        (self.before[object], self.after[object]) = (last, OBJECTS as u32);
        (self.after[last as usize], self.before[OBJECTS]) = (object as u32, object as u32);
    }
}

impl Cache for Lru {
    fn ask(&mut self, object: usize, trace: &Trace) -> bool {
        let hit = self.after[object] != ABSENT;
        if hit {
            self.unlink(object);
        } else {
            while self.left < trace.weights[object] {
                let oldest = self.after[OBJECTS] as usize;
                self.unlink(oldest);
                self.left += trace.weights[oldest];
            }
            self.left -= trace.weights[object];
        }
        self.link_last(object);
        hit
    }
}

impl Score {
    fn hits(&self) -> String {
        share(self.hits as f64 / REQUESTS as f64)
    }

    fn bytes(&self) -> String {
        share(self.hit_bytes as f64 / self.bytes as f64)
    }
}

fn share(of_one: f64) -> String {
    format!("{:.1} %", 100.0 * of_one)
}
