//! A million live keys of a rate limit take less than 100 MiB. Alone in its process, so that
//! nothing else is counted.

use http::{HeaderMap, Method};
use lakh::guard::{
    Asker, Checked, Costs, KeyPart, Limiters, Limits, Quota, Rate, RateLimitSettings, Standings,
    StoreSettings,
};
use lakh::observe::Metrics;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const KEYS: u32 = 1_000_000;

#[test]
fn a_million_keys_fit_into_100_mib() {
    let metrics = Metrics::new();
    let rate = Rate {
        count: 1,
        per: Duration::from_secs(3600),
    };
    let settings = RateLimitSettings {
        name: "per_address".into(),
        key: vec![KeyPart::ClientAddress],
        quota: Quota { rate, burst: 1 },
        tiers: Vec::new(),
        cost: Costs::default(),
        fields: true,
        dry_run: false,
        max_keys: KEYS as usize,
        store: StoreSettings::Local,
    };
    let limiters = Limiters::default().build(&[settings], |name| metrics.limit(name));
    let limits = Limits::new(limiters, None);
    let headers = HeaderMap::new();
    let ask = |n: u32| {
        let asker = Asker {
            address: Ipv4Addr::from(n).into(),
            method: &Method::GET,
            headers: &headers,
            claims: None,
            route: "all",
        };
        limits.check(&asker, &mut Standings::default())
    };
    let before = resident();
    let (mut admitted, mut longest) = (0, Duration::ZERO);
    for n in 0..KEYS {
        let started = Instant::now();
        admitted += u32::from(matches!(ask(n), Checked::Pass));
        longest = longest.max(started.elapsed());
    }
    let took = resident() - before;
    println!(
        "{KEYS} keys: {} MiB, the longest request {longest:?}",
        took >> 20
    );
    assert!(
        admitted > KEYS / 100 * 97,
        "shards are filled evenly: {admitted}"
    );
    assert!(took < 100 << 20, "{took} bytes");
    // All of them are still known.
    let refused = (0..KEYS).filter(|n| !matches!(ask(*n), Checked::Pass));
    assert!(refused.count() as u32 > KEYS / 100 * 99);
}

/// Bytes of this process in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux has /proc");
    let pages = status
        .split(' ')
        .nth(1)
        .expect("the second is what is resident");
    pages.parse::<usize>().expect("a number") * 4096
}
