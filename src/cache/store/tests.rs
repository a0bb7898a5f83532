use super::*;
use crate::cache::key::{KeyRules, Scheme, Url};
use crate::cache::policy::Freshness;
use crate::coding::Coding;
use crate::observe::Metrics;
use bytes::Bytes;
use http::StatusCode;

fn zone(memory: u64) -> Zone<()> {
    let settings = CacheSettings {
        name: "z".into(),
        memory,
        max_object: 1 << 20,
        invalidate_header: None,
        disk: None,
        redis: None,
    };
    let metrics = Metrics::new().cache("z");
    Zone::new(settings, metrics, Arc::default(), Tiers::default())
}

fn key(path: &str) -> Key {
    KeyRules::default().key(
        "app",
        Scheme::Http,
        &Url::new("h", path.as_bytes()),
        &HeaderMap::new(),
    )
}

pub fn object(body: &'static [u8]) -> Arc<Object> {
    Arc::new(Object::new(
        StatusCode::OK,
        HeaderMap::new(),
        Bytes::from_static(body),
        Freshness {
            stored_at: 0,
            initial_age: 0,
            lifetime: 10,
            stale_while_revalidate: 0,
            stale_if_error: 0,
            always_revalidate: false,
        },
        Names::default(),
    ))
}

fn body(zone: &Zone<()>, path: &str, request: &HeaderMap) -> Option<Bytes> {
    match zone.find(key(path), request, 5) {
        Found::Object { object, .. } => Some(object.body.clone()),
        _ => None,
    }
}

#[test]
fn variants_are_found_by_what_the_request_says_and_go_together() {
    let zone = zone(1 << 20);
    let names = [http::header::ACCEPT_LANGUAGE];
    let lang = |l: &'static str| {
        HeaderMap::from_iter([(names[0].clone(), http::HeaderValue::from_static(l))])
    };
    for (language, text) in [("de", &b"hallo"[..]), ("en", b"hello")] {
        let place = zone.place(&key("/x"), &names, &lang(language), &Names::default());
        zone.store(place, object(text));
    }
    assert_eq!(
        body(&zone, "/x", &lang("de")).as_deref(),
        Some(&b"hallo"[..])
    );
    assert_eq!(
        body(&zone, "/x", &lang("en")).as_deref(),
        Some(&b"hello"[..])
    );
    assert_eq!(body(&zone, "/x", &lang("fr")), None);
    zone.invalidate(&key("/x"));
    zone.place(&key("/x"), &names, &lang("fr"), &Names::default());
    assert_eq!(body(&zone, "/x", &lang("de")), None);
}

#[test]
fn bytes_are_bounded_and_a_resized_zone_keeps_what_fits() {
    let big = zone(1 << 20);
    for n in 0..1000 {
        big.store(key(&format!("/{n}")), object(&[0; 4096]));
    }
    big.report();
    assert!(
        big.metrics.bytes.get() <= 1 << 20,
        "{}",
        big.metrics.bytes.get()
    );
    let kept = big.metrics.objects.get();
    assert!(kept > 100);
    assert_eq!(big.metrics.evicted.get(), 1000 - kept as u64);
    let larger = CacheSettings {
        memory: 2 << 20,
        ..big.settings.clone()
    };
    let other = big.resized(larger, Tiers::default());
    other.fit();
    assert_eq!(other.kept.slots.len() as i64, kept);
    big.fit();
    assert_eq!(other.kept.slots.len() as i64, kept);
}

#[test]
fn a_coded_form_is_weighed_and_goes_with_its_object() {
    let zone = zone(1 << 20);
    let weighed = || {
        zone.report();
        zone.metrics.bytes.get()
    };
    let plain = Arc::new(Object {
        encoded: Some(Box::default()),
        ..Arc::into_inner(object(&[0; 4096])).expect("nobody else has it")
    });
    zone.store(key("/x"), plain.clone());
    let before = weighed();
    let encoded = plain.encoded.as_deref().expect("it is there");
    encoded.set(Coding::Gzip, Some(object(&[0; 1000])));
    zone.reweigh(&key("/x"), &plain);
    let after = weighed();
    assert!((1000..2000).contains(&(after - before)), "{before} {after}");

    zone.invalidate(&key("/x"));
    zone.reweigh(&key("/x"), &plain);
    assert_eq!(weighed(), 0);
    zone.store(key("/x"), object(b"another"));
    zone.reweigh(&key("/x"), &plain);
    let found = body(&zone, "/x", &HeaderMap::new());
    assert_eq!(found.as_deref(), Some(&b"another"[..]));
}

#[test]
fn the_hottest_are_those_found_most_often() {
    let zone = zone(1 << 20);
    for n in 0..9 {
        zone.store(key(&format!("/{n}")), object(b"x"));
        for _ in 0..n % 5 {
            body(&zone, &format!("/{n}"), &HeaderMap::new());
        }
    }
    let hottest: Vec<_> = zone
        .hottest(3, |_| true)
        .iter()
        .map(|(_, object)| object.hits.count())
        .collect();
    assert_eq!(hottest, [4, 3, 3]);
    assert_eq!(zone.hottest(100, |_| true).len(), 9);
    assert_eq!(zone.hottest(0, |_| true).len(), 0);
}

#[test]
fn a_pass_ends() {
    let zone = zone(1 << 20);
    zone.pass(key("/x"), Passing::All, 0, &Names::default());
    assert!(matches!(
        zone.find(key("/x"), &HeaderMap::new(), 9),
        Found::Pass { .. }
    ));
    assert!(matches!(
        zone.find(key("/x"), &HeaderMap::new(), 10),
        Found::Nothing { .. }
    ));
}

#[test]
fn what_may_be_about_one_client_takes_nothing_usable_away() {
    for (lifetime, stale_if_error, always_revalidate, stays) in [
        (60, 0, false, true),
        (60, 0, true, false),
        (5, 0, false, false),
        (5, 60, false, true),
    ] {
        let zone = zone(1 << 20);
        let mut stored = object(b"x");
        Arc::get_mut(&mut stored).expect("ours alone").freshness = Freshness {
            lifetime,
            stale_if_error,
            always_revalidate,
            ..stored.freshness
        };
        zone.store(key("/x"), stored);
        zone.pass(key("/x"), Passing::Unstored, 10, &Names::default());
        let found = zone.find(key("/x"), &HeaderMap::new(), 10);
        assert_eq!(matches!(found, Found::Object { .. }), stays);
    }
}
