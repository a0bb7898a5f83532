//! What the pure parts of the hot path cost: route, key and look-up, limiter, server pick. Each at
//! two sizes, because the promise is that the cost is flat.

/// As the unit tests have them.
#[path = "../src/guard/auth/fixtures.rs"]
mod tokens;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use lakh::cache::{
    CacheSettings, Freshness, Key, KeyRules, Names, Object, Scheme, Tiers, Url, Zone,
};
use lakh::guard::{
    AddressRules, Algorithm, Asker, Asking, Auth, AuthSettings, Auths, Checked, Condition, Costs,
    Identity, JwtSettings, KeyPart, KeySource, Limiters, Limits, ProofSettings, Quota, Rate,
    RateLimitSettings, Standings, StoreSettings, TierSettings,
};
use lakh::observe::Metrics;
use lakh::route::{self, Match, Router};
use lakh::upstream::{
    Asked, Balance, HashKey, Registry, ServerSettings, Time, Tried, UpstreamSettings,
};
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

fn route(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    for count in [10, 10_000] {
        let routes = (0..count).map(|n| {
            let hosts = vec![format!("host{}.example", n % 100)];
            (
                Match {
                    hosts,
                    path: format!("/service{n}/*"),
                    ..Match::default()
                },
                n,
            )
        });
        let router = Router::new(routes);
        let (method, headers) = (Method::GET, HeaderMap::new());
        let asked = route::Asked {
            host: "host7.example:8080",
            path: "/service7/items/42",
            method: &method,
            headers: &headers,
        };
        assert_eq!(router.find(&asked, &|_, _| false), Some(&7));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| router.find(black_box(&asked), &|_, _| false));
        });
    }
    group.finish();
}

fn key(rules: &KeyRules, n: usize) -> Key {
    let target = format!("/items/{n}?size=2");
    let url = Url::new("host7.example", target.as_bytes());
    rules.key("app", Scheme::Http, &url, &HeaderMap::new())
}

fn cache(c: &mut Criterion) {
    let mut group = c.benchmark_group("cache look-up");
    for count in [1_000, 1_000_000] {
        let settings = CacheSettings {
            name: "z".into(),
            memory: 4 << 30,
            max_object: 1 << 20,
            invalidate_header: None,
            disk: None,
            redis: None,
        };
        let metrics = Metrics::new().cache("z");
        let zone: Zone<()> = Zone::new(settings, metrics, Arc::default(), Tiers::default());
        let (rules, object) = (KeyRules::default(), Arc::new(object()));
        (0..count).for_each(|n| {
            zone.store(key(&rules, n), object.clone());
        });
        let none = HeaderMap::new();
        let mut n = 0;
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter_batched(
                || {
                    n = (n + 7919) % count;
                    key(&rules, n)
                },
                |key| zone.find(key, &none, 5),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn object() -> Object {
    Object::new(
        StatusCode::OK,
        HeaderMap::new(),
        vec![b'x'; 64].into(),
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

fn limit(name: &str, key: &[KeyPart], max_keys: usize) -> RateLimitSettings {
    let (count, burst) = (1_000_000_000, 1_000_000_000);
    let per = Duration::from_secs(1);
    let rate = Rate { count, per };
    RateLimitSettings {
        name: name.into(),
        key: key.to_vec(),
        quota: Quota { rate, burst },
        tiers: Vec::new(),
        cost: Costs::default(),
        fields: true,
        dry_run: false,
        max_keys,
        store: StoreSettings::Local,
    }
}

fn limits(settings: &[RateLimitSettings]) -> Limits {
    let metrics = Metrics::new();
    let limiters = Limiters::default().build(settings, |name| metrics.limit(name));
    Limits::new(limiters, None)
}

fn ask(limits: &Limits, address: u32, headers: &HeaderMap, out: &mut Vec<u8>) {
    let asker = Asker {
        address: Ipv4Addr::from(address).into(),
        method: &Method::GET,
        headers,
        claims: None,
        route: "all",
    };
    let mut standings = Standings::default();
    let checked = limits.check(&asker, Asking::ToTake, &mut standings);
    assert!(matches!(checked, Checked::Pass));
    out.clear();
    limits.write_policies(&standings, out);
    limits.write_standings(&standings, out);
}

fn limiter(c: &mut Criterion) {
    let mut group = c.benchmark_group("limiter");
    let headers = HeaderMap::new();
    for keys in [10u32, 1_000_000] {
        let limits = limits(&[limit("l", &[KeyPart::ClientAddress], 2_000_000)]);
        let (mut n, mut out) = (0, Vec::new());
        group.bench_function(BenchmarkId::from_parameter(keys), |b| {
            b.iter(|| {
                n = (n + 7919) % keys;
                ask(&limits, n, &headers, &mut out);
            });
        });
    }
    group.finish();
}

/// A route with five limits and their fields, one of which has a tier that fits last.
fn five_limits(c: &mut Criterion) {
    let device = KeyPart::Header(HeaderName::from_static("x-device-id"));
    let tier = |class: &str| TierSettings {
        when: vec![Condition {
            of: KeyPart::Header(HeaderName::from_static("x-class")),
            is: class.into(),
        }],
        quota: limit("", &[], 0).quota,
    };
    let tiered = RateLimitSettings {
        tiers: ["warehouse", "office"].map(tier).to_vec(),
        ..limit("tiered", std::slice::from_ref(&device), 1_000_000)
    };
    let limits = limits(&[
        limit("per_address", &[KeyPart::ClientAddress], 1_000_000),
        limit("route", &[KeyPart::Route], 1_000_000),
        limit("both", &[KeyPart::ClientAddress, device], 1_000_000),
        limit("session", &[KeyPart::Cookie("session".into())], 1_000_000),
        tiered,
    ]);
    let fields = [
        ("x-device-id", "d-12345678"),
        ("x-class", "office"),
        ("cookie", "theme=dark; session=0123456789abcdef"),
    ];
    let headers: HeaderMap = fields
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .into_iter()
        .collect();
    let (mut n, mut out) = (0, Vec::new());
    c.bench_function("guard with five limits", |b| {
        b.iter(|| {
            n = (n + 7919) % 100_000;
            ask(&limits, n, &headers, &mut out);
        });
    });
    let auth = auth(
        KeySource::SecretFile(file(tokens::SECRET)),
        Algorithm::Hs256,
    );
    let mut headers = headers;
    headers.insert(
        AUTHORIZATION,
        bearer(&tokens::hs256(tokens::SECRET, &claims(0))),
    );
    let denied: Vec<ipnet::IpNet> = (0..5_000u32)
        .map(|n| ipnet::Ipv4Net::new_assert((0xC000_0000 + n * 512).into(), 24).into())
        .collect();
    let addresses = AddressRules::new(&[], &denied);
    c.bench_function(
        "guard with five limits, 5000 networks denied, and a token",
        |b| {
            b.iter(|| {
                n = (n + 7919) % 100_000;
                assert!(addresses.admit(Ipv4Addr::from(n).into()));
                let known = auth.check(black_box(&headers), NOW, false);
                assert!(matches!(known, Identity::Known(..)));
                ask(&limits, n, &headers, &mut out);
            });
        },
    );
}

const NOW: u64 = 1_000_000;

/// Of a size that tokens have.
fn claims(n: u64) -> serde_json::Value {
    serde_json::json!({
        "iss": "https://issuer.example", "sub": format!("user-{n:08}"), "iat": NOW, "exp": NOW + 3600,
        "role": "editor", "scope": "read write", "groups": ["staff", "north"],
    })
}

fn bearer(token: &str) -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {token}")).expect("a token is plain text")
}

fn file(contents: impl AsRef<[u8]>) -> PathBuf {
    let path = std::env::temp_dir().join(format!("lakh-micro-{}", std::process::id()));
    std::fs::write(&path, contents).expect("the temporary folder takes files");
    path
}

fn auth(keys: KeySource, algorithm: Algorithm) -> Arc<Auth> {
    let settings = AuthSettings {
        name: "people".into(),
        proof: ProofSettings::Jwt(JwtSettings {
            keys,
            algorithms: vec![algorithm],
            issuers: vec!["https://issuer.example".into()],
            audiences: Vec::new(),
            leeway: Duration::ZERO,
            cookie: None,
        }),
        optional: false,
        claims: None,
    };
    let metrics = Metrics::new();
    let built = Auths::default().build(&[settings], |name| metrics.auth(name));
    built.expect("a sound key").remove(0)
}

/// The first time that it is seen, and every time after.
fn token(c: &mut Criterion) {
    let mut group = c.benchmark_group("token");
    let ec = tokens::ec();
    let secret = auth(
        KeySource::SecretFile(file(tokens::SECRET)),
        Algorithm::Hs256,
    );
    let public = auth(KeySource::PublicKeyFile(file(&ec.pem)), Algorithm::Es256);
    let hs256 = |n| tokens::hs256(tokens::SECRET, &claims(n));
    let es256 = |n| ec.sign(None, &claims(n));
    let kinds: [(&str, &Auth, &dyn Fn(u64) -> String); 2] =
        [("HS256", &secret, &hs256), ("ES256", &public, &es256)];
    for (name, auth, sign) in kinds {
        let mut n = 0;
        let mut next = || {
            n += 1;
            HeaderMap::from_iter([(AUTHORIZATION, bearer(&sign(n)))])
        };
        let known = |headers: &HeaderMap| {
            let identity = auth.check(black_box(headers), NOW, false);
            assert!(matches!(identity, Identity::Known(..)));
        };
        let again = next();
        group.bench_function(BenchmarkId::new(name, "again"), |b| {
            b.iter(|| known(&again))
        });
        group.bench_function(BenchmarkId::new(name, "first"), |b| {
            b.iter_batched(&mut next, |headers| known(&headers), BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn pick(c: &mut Criterion) {
    let mut group = c.benchmark_group("server pick");
    let ways = [
        ("least_connections", Balance::LeastConnections),
        ("round_robin", Balance::RoundRobin),
        ("random_two", Balance::RandomTwo),
        ("hash", Balance::Hash(HashKey::Path)),
    ];
    for ((way, balance), count) in ways.iter().flat_map(|way| [(way, 3u16), (way, 1_000)]) {
        let server = |n| ServerSettings::of(SocketAddr::from(([127, 0, 0, 1], 10_000 + n)));
        let settings = UpstreamSettings {
            balance: balance.clone(),
            servers: (0..count).map(server).collect(),
            ..UpstreamSettings::default()
        };
        let registry = Registry::new(Arc::new(Metrics::new()));
        let pool = registry.pools(&[settings]).expect("a pool").remove(0);
        let (tried, mut key) = (Tried::default(), 0u64);
        group.bench_function(BenchmarkId::new(*way, count), |b| {
            b.iter(|| {
                key = key.wrapping_add(0x9E37_79B9_7F4A_7C15);
                pool.pick(black_box(&Asked {
                    tried: &tried,
                    preferred: None,
                    key: Some(key),
                    now: Time::now(),
                }))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, route, cache, limiter, five_limits, token, pick);
criterion_main!(benches);
