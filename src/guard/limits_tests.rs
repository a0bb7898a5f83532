//! Limits against a model that only adds and takes away.

use super::*;
use crate::guard::{
    Claims, Condition, Costs, KeyPart, Quota, Rate, RateLimitSettings, TierSettings,
};
use crate::observe::{LimitMetrics, Metrics};
use governor::clock::FakeRelativeClock;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::IpAddr;

const DEVICE: HeaderName = HeaderName::from_static("x-device-id");
const PLAN: HeaderName = HeaderName::from_static("x-plan");

fn quota(count: u32, seconds: u64, burst: u32) -> Quota {
    let per = Duration::from_secs(seconds);
    let rate = Rate { count, per };
    Quota { rate, burst }
}

fn settings(name: &str, key: &[KeyPart], quota: Quota) -> RateLimitSettings {
    RateLimitSettings {
        name: name.into(),
        key: key.to_vec(),
        quota,
        tiers: Vec::new(),
        cost: Costs::default(),
        fields: true,
        dry_run: false,
        max_keys: 1000,
        store: StoreSettings::Local,
    }
}

struct Bench {
    limits: Limits<FakeRelativeClock>,
    clock: FakeRelativeClock,
    metrics: Vec<LimitMetrics>,
}

impl Bench {
    fn of(settings: &[RateLimitSettings]) -> Bench {
        let (clock, metrics) = (FakeRelativeClock::default(), Metrics::new());
        let metrics: Vec<_> = settings.iter().map(|s| metrics.limit(&s.name)).collect();
        let limiter = |(s, m): (&RateLimitSettings, &LimitMetrics)| {
            Arc::new(Limiter::new(s.clone(), m.clone(), clock.clone()))
        };
        let limiters = settings.iter().zip(&metrics).map(limiter).collect();
        let limits = Limits::new(limiters, None);
        Bench {
            limits,
            clock,
            metrics,
        }
    }

    /// How long it has to wait, and how the limits stand.
    fn ask(&self, asker: &Asker<'_>) -> (Option<Duration>, Standings) {
        let looked = [(); 2].map(|()| self.ask_to(Asking::ToLook, asker).0);
        let asked = self.ask_to(Asking::ToTake, asker);
        // Whoever only looks takes nothing, and is told what will be.
        assert_eq!(looked, [asked.0; 2]);
        asked
    }

    fn ask_to(&self, asking: Asking, asker: &Asker<'_>) -> (Option<Duration>, Standings) {
        let mut standings = Standings::default();
        let wait = match self.limits.check(asker, asking, &mut standings) {
            Checked::Pass => None,
            Checked::Refuse { retry_after } => Some(retry_after),
            Checked::Unknown | Checked::Ask(_) => panic!("all of them are here"),
        };
        (wait, standings)
    }

    fn from(&self, address: &str) -> Option<Duration> {
        self.with(address, &HeaderMap::new())
    }

    fn with(&self, address: &str, headers: &HeaderMap) -> Option<Duration> {
        let address = address.parse().expect("an address");
        self.ask(&asker(address, &Method::GET, headers)).0
    }
}

fn asker<'a>(address: IpAddr, method: &'a Method, headers: &'a HeaderMap) -> Asker<'a> {
    Asker {
        address,
        method,
        headers,
        claims: None,
        route: "all",
    }
}

fn fields(list: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        let name: HeaderName = name.parse().expect("a name");
        (name, HeaderValue::from_str(value).expect("a value"))
    };
    list.iter().map(field).collect()
}

#[test]
fn a_burst_then_the_rate_and_each_address_its_own() {
    let bench = Bench::of(&[settings("a", &[KeyPart::ClientAddress], quota(60, 60, 3))]);
    for _ in 0..3 {
        assert_eq!(bench.from("10.0.0.1"), None);
    }
    assert_eq!(bench.from("10.0.0.1"), Some(Duration::from_secs(1)));
    assert_eq!(bench.from("10.0.0.2"), None);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.from("10.0.0.1"), None);
    assert_eq!(bench.from("10.0.0.1"), Some(Duration::from_secs(1)));
}

#[test]
fn addresses_of_one_v6_network_share_a_bucket() {
    let bench = Bench::of(&[settings("a", &[KeyPart::ClientAddress], quota(1, 60, 1))]);
    assert_eq!(bench.from("2001:db8::1"), None);
    assert!(bench.from("2001:db8::2").is_some());
    assert_eq!(bench.from("2001:db8:0:1::2"), None);
}

#[test]
fn parts_of_a_key_don_t_run_into_each_other() {
    let parts = [KeyPart::Header(DEVICE), KeyPart::Cookie("c".into())];
    let bench = Bench::of(&[settings("a", &parts, quota(1, 60, 1))]);
    let ask = |device: Option<&str>, cookie: Option<&str>| {
        let cookie = cookie.map(|value| format!("b=1; c={value}"));
        let list = [("x-device-id", device), ("cookie", cookie.as_deref())];
        let list: Vec<_> = list
            .into_iter()
            .filter_map(|(n, v)| Some((n, v?)))
            .collect();
        bench.with("10.0.0.1", &fields(&list)).is_none()
    };
    for (device, cookie) in [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc")] {
        assert!(ask(Some(device), Some(cookie)), "{device} {cookie}");
        assert!(!ask(Some(device), Some(cookie)), "{device} {cookie}");
    }
    assert!(
        ask(Some(""), None) && !ask(Some(""), None),
        "a part may be missing"
    );
    assert!(
        ask(None, None) && ask(None, None),
        "none of it: not concerned"
    );
}

#[test]
fn claims_choose_a_tier_and_tiers_don_t_mix() {
    let class = |is: &str, burst| TierSettings {
        when: vec![Condition {
            of: KeyPart::Claim("class".into()),
            is: is.into(),
        }],
        quota: quota(1, 60, burst),
    };
    let limit = RateLimitSettings {
        tiers: vec![class("warehouse", 2), class("office", 5)],
        ..settings("a", &[KeyPart::Route], quota(1, 60, 1))
    };
    let bench = Bench::of(&[limit]);
    let headers = HeaderMap::new();
    let passed = |class: Option<&str>| {
        let claims = class.map(|class| Claims::new([("class", class)]));
        let address = "10.0.0.1".parse().expect("an address");
        let asker = Asker {
            claims: claims.as_ref(),
            ..asker(address, &Method::GET, &headers)
        };
        (0..10).filter(|_| bench.ask(&asker).0.is_none()).count()
    };
    assert_eq!(passed(Some("warehouse")), 2);
    assert_eq!(passed(Some("truck")), 1);
    assert_eq!(passed(None), 0, "the same bucket");
    assert_eq!(passed(Some("office")), 5);
}

/// One of a list, as a route's `match` and `require` take it.
#[test]
fn a_tier_is_for_who_has_its_claim_among_others() {
    use crate::guard::claims::Value;
    let when = |of: &str, is: &str| Condition {
        of: KeyPart::Claim(of.into()),
        is: is.into(),
    };
    let tier = |when, burst| TierSettings {
        when: vec![when],
        quota: quota(1, 60, burst),
    };
    let limit = RateLimitSettings {
        tiers: vec![
            tier(when("role", "warehouse"), 4),
            tier(when("scope", "bulk"), 3),
        ],
        ..settings("a", &[KeyPart::ClientAddress], quota(1, 60, 1))
    };
    let bench = Bench::of(&[limit]);
    let passed = |from: &str, name: &str, value: Value| {
        let (claims, headers) = (Claims::with_values([(name, value)], None), HeaderMap::new());
        let address = from.parse().expect("an address");
        let asker = Asker {
            claims: Some(&claims),
            ..asker(address, &Method::GET, &headers)
        };
        (0..10).filter(|_| bench.ask(&asker).0.is_none()).count()
    };
    let list = |all: &[&str]| Value::List(all.iter().map(|one| one.to_string()).collect());
    assert_eq!(
        passed("10.0.0.1", "role", list(&["office", "warehouse"])),
        4
    );
    assert_eq!(
        passed("10.0.0.2", "role", Value::One("office,warehouse".into())),
        1
    );
    assert_eq!(
        passed("10.0.0.3", "scope", Value::One("read bulk".into())),
        3
    );
}

#[test]
fn a_dry_run_refuses_nobody_and_counts() {
    let dry = RateLimitSettings {
        dry_run: true,
        ..settings("dry", &[KeyPart::Route], quota(1, 60, 1))
    };
    let bench = Bench::of(&[dry, settings("real", &[KeyPart::Route], quota(1, 60, 2))]);
    assert_eq!(bench.from("10.0.0.1"), None);
    let headers = HeaderMap::new();
    let asker = asker("10.0.0.1".parse().expect("one"), &Method::GET, &headers);
    let (wait, standings) = bench.ask(&asker);
    assert_eq!(wait, None);
    let stop = Stop {
        limit: 0,
        dry: true,
    };
    assert_eq!(standings.stopped_by(), Some(stop));
    assert_eq!(standings.iter().count(), 1, "it tells clients nothing");
    let (_, standings) = bench.ask(&asker);
    assert_eq!(standings.stopped_by().map(|s| s.limit), Some(1));
    assert_eq!(bench.metrics[0].dry_run.get(), 2);
    assert_eq!(bench.metrics[1].refused.get(), 1);
}

#[test]
fn new_keys_never_reset_an_old_one_and_memory_is_bounded() {
    let bench = Bench::of(&[settings("a", &[KeyPart::ClientAddress], quota(1, 60, 1))]);
    let from = |n: u32| {
        let address = IpAddr::V4(n.into());
        bench
            .ask(&asker(address, &Method::GET, &HeaderMap::new()))
            .0
    };
    assert_eq!(from(0), None);
    for n in 1..10_000 {
        from(n);
    }
    assert!(from(0).is_some(), "its token is still gone");
    let keys = bench.metrics[0].keys.get();
    assert!(keys <= 1024, "{keys}");
    bench.clock.advance(Duration::from_secs(120));
    assert_eq!(from(20_001), None, "idle keys made room");
    for n in 30_000..31_000 {
        from(n);
    }
    let keys = bench.metrics[0].keys.get();
    assert!(keys <= 1000, "and were dropped: {keys}");
}

#[test]
fn buckets_survive_a_reload_that_leaves_their_limit_alone() {
    use crate::guard::Limiters;
    let (metrics, limiters) = (Metrics::new(), Limiters::default());
    let one = settings("a", &[KeyPart::Route], quota(1, 60, 1));
    let first = limiters.build(std::slice::from_ref(&one), |n| metrics.limit(n));
    limiters.commit(&first);
    let same = limiters.build(std::slice::from_ref(&one), |n| metrics.limit(n));
    assert!(Arc::ptr_eq(&first[0], &same[0]));
    let headers = HeaderMap::new();
    let passes = |limiter: &Arc<Limiter>| {
        let address = "10.0.0.1".parse().expect("an address");
        let asker = asker(address, &Method::GET, &headers);
        let limits = Limits::new(vec![limiter.clone()], None);
        let checked = limits.check(&asker, Asking::ToTake, &mut Standings::default());
        matches!(checked, Checked::Pass)
    };
    assert!(passes(&first[0]));
    let mut told_otherwise = one.clone();
    (told_otherwise.fields, told_otherwise.max_keys) = (false, 5);
    let told_otherwise = limiters.build(&[told_otherwise], |n| metrics.limit(n));
    limiters.commit(&told_otherwise);
    assert!(!told_otherwise[0].settings.fields);
    assert!(!passes(&told_otherwise[0]), "what was taken is still taken");
    for other in [
        settings("a", &[KeyPart::Route], quota(1, 60, 2)),
        settings("a", &[KeyPart::ClientAddress], quota(1, 60, 1)),
    ] {
        let changed = limiters.build(&[other], |n| metrics.limit(n));
        assert!(passes(&changed[0]));
    }
}

#[test]
fn a_limit_of_more_keys_or_fewer_counts_on() {
    use crate::guard::Limiters;
    let (metrics, limiters) = (Metrics::new(), Limiters::default());
    let put = |max_keys| {
        let few = RateLimitSettings {
            max_keys,
            ..settings("a", &[KeyPart::ClientAddress], quota(1, 3600, 1))
        };
        let built = limiters.build(&[few], |n| metrics.limit(n));
        limiters.commit(&built);
        let limits = Limits::new(built, None);
        for n in 0..10_000_u32 {
            let headers = HeaderMap::new();
            let asker = asker(IpAddr::V4(n.into()), &Method::GET, &headers);
            limits.check(&asker, Asking::ToTake, &mut Standings::default());
        }
        metrics.limit("a").keys.get()
    };
    let few = put(640);
    assert!(few <= 640, "{few}");
    let more = put(6400);
    assert!((3200..=6400).contains(&more), "{more}");
    assert_eq!(put(64), more, "those that are there stay while they count");
}

/// One request of a history.
#[derive(Clone, Debug)]
struct Step {
    pause: Duration,
    address: u8,
    device: Option<u8>,
    gold: bool,
    method: Method,
}

fn step() -> impl Strategy<Value = Step> {
    let methods = [Method::GET, Method::POST, Method::HEAD];
    (
        prop_oneof![Just(0), 0u64..3_000_000_000],
        0u8..3,
        proptest::option::of(0u8..2),
        any::<bool>(),
        proptest::sample::select(methods.to_vec()),
    )
        .prop_map(|(pause, address, device, gold, method)| Step {
            pause: Duration::from_nanos(pause),
            address,
            device,
            gold,
            method,
        })
}

fn limit() -> impl Strategy<Value = RateLimitSettings> {
    let keys = [
        vec![KeyPart::Route],
        vec![KeyPart::ClientAddress],
        vec![KeyPart::Header(DEVICE)],
        vec![KeyPart::ClientAddress, KeyPart::Header(DEVICE)],
    ];
    let quota = || (1u32..200, 1u64..40, 5u32..30).prop_map(|(c, s, b)| quota(c, s, b));
    (
        proptest::sample::select(keys.to_vec()),
        quota(),
        proptest::option::of(quota()),
        (0u32..=5, 0u32..=5),
        proptest::bool::weighted(0.2),
    )
        .prop_map(
            |(key, quota, gold, (post, default), dry_run)| RateLimitSettings {
                tiers: gold.into_iter().map(gold_tier).collect(),
                cost: Costs {
                    by_method: vec![(Method::POST, post)],
                    default,
                },
                dry_run,
                ..settings("any", &key, quota)
            },
        )
}

fn gold_tier(quota: Quota) -> TierSettings {
    let when = vec![Condition {
        of: KeyPart::Header(PLAN),
        is: "gold".into(),
    }];
    TierSettings { when, quota }
}

/// A bucket as one thinks of it: time that has been saved up, of which units are bought.
#[derive(Default)]
struct Model {
    /// By limit, tier and key: what was spent and has not come back, and when that was so.
    spent: HashMap<(usize, bool, String), (u128, u128)>,
    now: u128,
}

/// What a limit says to a step in the model.
struct Told {
    bucket: (usize, bool, String),
    spent: u128,
    price: u128,
    wait: Option<u128>,
    dry: bool,
}

impl Model {
    fn ask(&mut self, limits: &[RateLimitSettings], step: &Step) -> Option<u128> {
        self.now += step.pause.as_nanos();
        let told: Vec<_> = (0..limits.len())
            .filter_map(|n| self.tell(n, &limits[n], step))
            .collect();
        let wait = told.iter().filter(|t| !t.dry).filter_map(|t| t.wait).max();
        for one in told
            .into_iter()
            .filter(|t| wait.is_none() && t.wait.is_none())
        {
            self.spent
                .insert(one.bucket, (one.spent + one.price, self.now));
        }
        wait
    }

    fn tell(&self, n: usize, limit: &RateLimitSettings, step: &Step) -> Option<Told> {
        let cost = match step.method {
            Method::POST => limit.cost.by_method[0].1,
            _ => limit.cost.default,
        };
        let gold = step.gold && !limit.tiers.is_empty();
        let quota = if gold {
            limit.tiers[0].quota
        } else {
            limit.quota
        };
        if cost == 0 || (limit.key == [KeyPart::Header(DEVICE)] && step.device.is_none()) {
            return None;
        }
        let part = |part: &KeyPart| match part {
            KeyPart::ClientAddress => format!("{}", step.address),
            KeyPart::Header(_) => format!("{:?}", step.device),
            _ => String::new(),
        };
        let key = limit.key.iter().map(part).collect::<Vec<_>>().join(" ");
        let bucket = (n, gold, key);
        let interval = quota.rate.per.as_nanos() / u128::from(quota.rate.count);
        let (spent, at) = self.spent.get(&bucket).copied().unwrap_or_default();
        let spent = spent.saturating_sub(self.now - at);
        let price = interval * u128::from(cost);
        let over = (spent + price).saturating_sub(interval * u128::from(quota.burst));
        Some(Told {
            bucket,
            spent,
            price,
            wait: (over > 0).then_some(over),
            dry: limit.dry_run,
        })
    }
}

proptest! {
    /// Whatever comes when: let in is what every bucket has room for, and only that; who is refused
    /// takes nothing, and waits as long as the tightest says.
    #[test]
    fn limits_together_are_as_the_model(
        limits in proptest::collection::vec(limit(), 1..=5),
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let (bench, mut model) = (Bench::of(&limits), Model::default());
        for step in &steps {
            bench.clock.advance(step.pause);
            let expected = model.ask(&limits, step);
            let mut headers = HeaderMap::new();
            if let Some(device) = step.device {
                headers.insert(DEVICE, u32::from(device).into());
            }
            if step.gold {
                headers.insert(PLAN, HeaderValue::from_static("gold"));
            }
            let address = IpAddr::V4([10, 0, 0, step.address].into());
            let (wait, standings) = bench.ask(&asker(address, &step.method, &headers));
            prop_assert_eq!(wait.map(|wait| wait.as_nanos()), expected);
            let concerned: Vec<_> = (0..limits.len())
                .filter(|n| !limits[*n].dry_run)
                .filter_map(|n| Some((n, model.tell(n, &limits[n], step)?)))
                .collect();
            prop_assert_eq!(standings.iter().count(), concerned.len());
            for (standing, (n, told)) in standings.iter().zip(concerned) {
                let quota = if told.bucket.1 { limits[n].tiers[0].quota } else { limits[n].quota };
                let interval = quota.interval().as_nanos();
                let left = (interval * u128::from(quota.burst) - told.spent) / interval;
                let is = (usize::from(standing.limit), u128::from(standing.remaining));
                prop_assert_eq!(is, (n, left));
            }
        }
    }

    /// Over any span of time: never more than burst + rate × time, and never a refusal below rate.
    #[test]
    fn it_admits_what_was_promised(
        count in 1u32..200,
        seconds in 1u64..60,
        burst in 1u32..50,
        gaps in proptest::collection::vec(0u64..400, 1..300),
    ) {
        let quota = quota(count, seconds, burst);
        let bench = Bench::of(&[settings("a", &[KeyPart::Route], quota)]);
        let (mut now, mut admitted, mut asked) = (0u128, Vec::new(), Vec::<u128>::new());
        let interval = quota.interval().as_nanos();
        for gap in gaps {
            let gap = Duration::from_millis(gap);
            bench.clock.advance(gap);
            now += gap.as_nanos();
            // All that came in any span until now fits into it: none of it is above the rate.
            asked.push(now);
            let fits = |(n, at): (usize, &u128)| {
                (asked.len() - n) as u128 <= u128::from(burst) + (now - at) / interval
            };
            let is_below_rate = asked.iter().enumerate().all(fits);
            let is_in = bench.from("10.0.0.1").is_none();
            prop_assert!(is_in || !is_below_rate);
            if is_in {
                admitted.push(now);
            }
            for (n, at) in admitted.iter().enumerate() {
                let most = u128::from(burst) + (now - at) / interval;
                prop_assert!((admitted.len() - n) as u128 <= most);
            }
        }
    }
}
