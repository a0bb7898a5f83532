//! `GET /api/v1/certificates`: what listeners show, for whom, and until when.

use crate::runtime::Runtime;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

const DAY: i64 = 86_400;

pub fn show(runtime: &Runtime) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs() as i64);
    let certificates = runtime.listeners.iter().flat_map(|listening| {
        let (listener, tls) = (listening.settings.name.clone(), listening.tls.as_ref());
        tls.into_iter()
            .flat_map(|tls| tls.shown())
            .map(move |shown| {
                json!({
                    "listener": listener,
                    "file": shown.file,
                    "names": shown.names,
                    "not_before": time(shown.not_before),
                    "not_after": time(shown.not_after),
                    // Of what its issuer says of it: sent until then.
                    "ocsp_until": shown.staple_until.map(time),
                    "ocsp_expired": shown.staple_until.is_some_and(|until| until < now),
                    "days_left": (shown.not_after - now).div_euclid(DAY),
                    // The files have changed, and what they hold now can't be used.
                    "stale": shown.stale,
                })
            })
    });
    json!({"certificates": certificates.collect::<Vec<_>>(), "acme": ordered(runtime)})
}

/// Those that are to be had by ACME: whether they are, and when they are ordered next.
fn ordered(runtime: &Runtime) -> Vec<Value> {
    let standings = runtime.acme.iter().flat_map(|acme| acme.standings());
    let shown = standings.map(|standing| {
        json!({
            "certificate": standing.name,
            "names": standing.domains,
            "is_issued": standing.not_after.is_some(),
            "not_after": standing.not_after.map(time),
            "next_order": time(standing.next_order),
            "failures": standing.failures,
            // Of the last order, where it failed.
            "why": standing.why,
        })
    });
    shown.collect()
}

/// RFC 3339.
fn time(unix: i64) -> String {
    let since = Duration::from_secs(unix.max(0) as u64);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}
