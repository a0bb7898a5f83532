//! A million live keys of a rate limit take less than 100 MiB, and nobody waits long while they are
//! dropped. Alone in its process, so that nothing else is counted.

use governor::clock::FakeRelativeClock;
use http::{HeaderMap, Method};
use lakh::guard::{
    Asker, Asking, Checked, Costs, KeyPart, Limiter, Limits, Quota, Rate, RateLimitSettings,
    Standings, StoreSettings,
};
use lakh::observe::Metrics;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

const KEYS: u32 = 1_000_000;

#[test]
fn a_million_keys_fit_into_100_mib() {
    let (clock, metrics) = (FakeRelativeClock::default(), Metrics::new().limit("l"));
    let limiter = Limiter::new(settings(), metrics.clone(), clock.clone());
    let limits = Limits::new(vec![Arc::new(limiter)], None);
    let headers = HeaderMap::new();
    let is_in = |n: u32| {
        let asker = Asker {
            address: Ipv4Addr::from(n).into(),
            method: &Method::GET,
            headers: &headers,
            claims: None,
            route: "all",
        };
        let checked = limits.check(&asker, Asking::ToTake, &mut Standings::default());
        matches!(checked, Checked::Pass)
    };

    let before = resident();
    let admitted = (0..KEYS).filter(|n| is_in(*n)).count();
    let took = resident() - before;
    println!("{admitted} keys: {} MiB", took >> 20);
    assert!(took < 100 << 20, "{took} bytes");
    // Shards are not all equally full, and their rest shares a bucket.
    assert!(admitted > 980_000, "{admitted}");
    assert_eq!((0..KEYS).filter(|n| is_in(*n)).count(), 0, "all are known");

    // Whatever else the machine does only adds to a time, so the least of three is the limiter's.
    let longest = (0..3).map(|_| {
        (0..KEYS).for_each(|n| _ = is_in(n));
        clock.advance(Duration::from_secs(7200));
        longest_wait(is_in)
    });
    let longest = longest.min().expect("three");
    println!("the longest that anybody waited: {longest:?}");
    assert!(longest < Duration::from_millis(5), "{longest:?}");
    let left = metrics.keys.get();
    assert!(left <= 10_000, "the others were dropped: {left}");
    let after = resident();
    println!("then {} MiB", after.saturating_sub(before) >> 20);
}

/// The longest of 10,000 requests, which drop all former keys as they go.
fn longest_wait(is_in: impl Fn(u32) -> bool) -> Duration {
    let time = |n: u32| {
        let started = cpu_time();
        is_in(n);
        cpu_time() - started
    };
    (0..10_000).map(time).max().expect("some")
}

fn settings() -> RateLimitSettings {
    let (count, per) = (1, Duration::from_secs(3600));
    let rate = Rate { count, per };
    RateLimitSettings {
        name: "per_address".into(),
        key: vec![KeyPart::ClientAddress],
        quota: Quota { rate, burst: 1 },
        tiers: Vec::new(),
        cost: Costs::default(),
        fields: true,
        dry_run: false,
        max_keys: KEYS as usize,
        store: StoreSettings::Local,
    }
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    let pages = status.split(' ').nth(1);
    let pages = pages.expect("the second is what is resident");
    pages.parse::<usize>().expect("a number") * 4096
}

/// Of this thread, so that others on the machine don't count.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: it only writes the struct that it is given.
    let read = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(read, 0, "a thread has a clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
