//! `upstreams`: servers or processes of our own, how to pick one, how long to wait, what to try.

use super::closest::did_you_mean;
use super::ports::Ports;
use super::resilience;
use super::section::Section;
use super::servers;
use super::transport;
use super::units::{duration, share, wait};
use super::values::{choice, cookie_name, count, request_field, request_path, secret_file};
use crate::upstream::{
    Balance, HashKey, HealthCheckSettings, Probe, StickySettings, Timeouts, UpstreamSettings,
};
use std::time::Duration;

pub fn read(name: &str, s: &mut Section<'_>, ports: &mut Ports) -> Option<UpstreamSettings> {
    let (servers, names) = servers::read_servers(s);
    let spawn = s.section("spawn", |s| servers::read_spawn(s, ports));
    servers::check_exactly_one(s);
    let transport = transport::read(s, &servers, &names);
    let default = UpstreamSettings::default();
    Some(UpstreamSettings {
        name: name.to_owned(),
        balance: balance(s),
        servers,
        names,
        spawn,
        transport,
        timeouts: s.settings("timeouts", timeouts),
        health_check: s.section("health_check", health_check),
        ejection: s.section("ejection", resilience::ejection),
        circuit_breaker: s.section("circuit_breaker", resilience::circuit_breaker),
        slow_start: s.or("slow_start", default.slow_start, duration),
        panic_below: s.or("panic_below", default.panic_below, share),
        failback: s.or("failback", default.failback, duration),
        retry: s.settings("retry", resilience::retry),
        concurrency: s.section("concurrency", resilience::concurrency),
        sticky: s.section("sticky", sticky),
    })
}

/// `hash` needs to know by what, and nothing else does.
fn balance(s: &mut Section<'_>) -> Balance {
    let by_hash = || Balance::Hash(HashKey::ClientAddress);
    let ways = choice(&[
        ("least_connections", 0),
        ("round_robin", 1),
        ("random_two", 2),
        ("hash", 3),
    ]);
    let way = s.or("balance", 0, ways);
    let key = s.optional("hash_key", hash_key);
    match (way, key) {
        (3, Some(key)) => return Balance::Hash(key),
        (3, None) if !s.has("hash_key") => s.error(
            "balance",
            "`hash` needs a hash_key; write hash_key: client_address",
        ),
        (_, Some(_)) if way != 3 => s.error_at(
            s.key_span("hash_key"),
            "hash_key",
            "only `balance: hash` uses it; write that, or remove the key",
        ),
        _ => {}
    }
    match way {
        1 => Balance::RoundRobin,
        2 => Balance::RandomTwo,
        3 => by_hash(),
        _ => Balance::LeastConnections,
    }
}

pub fn hash_key(text: &str) -> Result<HashKey, String> {
    match text.split_once(':') {
        None if text == "client_address" => Ok(HashKey::ClientAddress),
        None if text == "path" => Ok(HashKey::Path),
        Some(("header", name)) => request_field(name).map(HashKey::Header),
        Some(("cookie", name)) => cookie_name(name).map(HashKey::Cookie),
        Some(("claim", name)) if !name.is_empty() => Ok(HashKey::Claim(name.to_owned())),
        _ => {
            let known = [
                "client_address",
                "header:NAME",
                "cookie:NAME",
                "claim:NAME",
                "path",
            ];
            let advice = did_you_mean(text, known, || {
                "; write client_address, header:NAME, cookie:NAME, claim:NAME or path".to_owned()
            });
            Err(format!("`{text}` is no hash key{advice}"))
        }
    }
}

fn timeouts(s: &mut Section<'_>) -> Timeouts {
    let default = Timeouts::default();
    Timeouts {
        connect: s.or("connect", default.connect, wait),
        read: s.or("read", default.read, wait),
        write: s.or("write", default.write, wait),
        idle: s.or("idle", default.idle, wait),
        websocket: s.or("websocket", default.websocket, wait),
        websocket_ping: s.optional("websocket_ping", wait),
    }
}

fn health_check(s: &mut Section<'_>) -> Option<HealthCheckSettings> {
    let default = HealthCheckSettings::default();
    let times = count(1..=1000);
    let probes = choice(&[
        ("http", Probe::Http),
        ("tcp", Probe::Tcp),
        ("grpc", Probe::Grpc),
    ]);
    let settings = HealthCheckSettings {
        protocol: s.or("protocol", default.protocol, probes),
        path: s.or("path", default.path, request_path),
        interval: s.or("interval", default.interval, wait),
        timeout: s.or("timeout", default.timeout, wait),
        unhealthy_after: s.or("unhealthy_after", default.unhealthy_after, &times),
        healthy_after: s.or("healthy_after", default.healthy_after, &times),
        status: s.list_or("status", default.status, count(200..=599)),
        body: s.optional("body", body_text),
    };
    if settings.protocol != Probe::Http {
        for key in ["path", "status", "body"]
            .into_iter()
            .filter(|key| s.has(key))
        {
            s.error_at(
                s.key_span(key),
                key,
                "only `protocol: http` asks for it; remove one of the two",
            );
        }
    }
    Some(settings)
}

fn body_text(text: &str) -> Result<String, String> {
    match text.is_empty() {
        true => Err("`` is in every body; remove the key".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn sticky(s: &mut Section<'_>) -> Option<StickySettings> {
    Some(StickySettings {
        cookie: s.or("cookie", "lakh_affinity".to_owned(), cookie_name),
        max_age: s.or("max_age", Duration::from_secs(24 * 3600), wait),
        key_file: s.optional("key_file", secret_file),
    })
}
