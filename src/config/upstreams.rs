//! `upstreams`: servers or processes of our own, how to pick one, how long to wait, what to try.

use super::ports::Ports;
use super::section::Section;
use super::servers;
use super::units::wait;
use super::values::{choice, cookie_name, count, request_path, secret_file};
use crate::upstream::{
    Balance, HealthCheckSettings, RetrySettings, StickySettings, Timeouts, UpstreamSettings,
};
use std::time::Duration;

pub fn read(name: &str, s: &mut Section<'_>, ports: &mut Ports) -> Option<UpstreamSettings> {
    let servers = servers::read_servers(s);
    let spawn = s.section("spawn", |s| servers::read_spawn(s, ports));
    servers::check_exactly_one(s);
    s.unsupported(&[
        "hash_key",
        "tls",
        "ejection",
        "circuit_breaker",
        "slow_start",
        "concurrency",
    ]);
    s.unsupported_but("protocol", &["http1"]);
    Some(UpstreamSettings {
        name: name.to_owned(),
        balance: s.or("balance", Balance::default(), balance),
        servers,
        spawn,
        timeouts: s.settings("timeouts", timeouts),
        health_check: s.section("health_check", health_check),
        retry: s.settings("retry", retry),
        sticky: s.section("sticky", sticky),
    })
}

fn balance(text: &str) -> Result<Balance, String> {
    let known = choice(&[
        ("least_connections", Balance::LeastConnections),
        ("round_robin", Balance::RoundRobin),
        ("random_two", Balance::RandomTwo),
    ]);
    match text {
        "hash" => Err("`hash` is not supported by this version of Lakh; \
             write least_connections, round_robin or random_two"
            .to_owned()),
        _ => known(text),
    }
}

fn timeouts(s: &mut Section<'_>) -> Timeouts {
    let default = Timeouts::default();
    Timeouts {
        connect: s.or("connect", default.connect, wait),
        read: s.or("read", default.read, wait),
        write: s.or("write", default.write, wait),
        idle: s.or("idle", default.idle, wait),
    }
}

fn health_check(s: &mut Section<'_>) -> Option<HealthCheckSettings> {
    let default = HealthCheckSettings::default();
    let times = count(1..=1000);
    let settings = HealthCheckSettings {
        path: s.or("path", default.path, request_path),
        interval: s.or("interval", default.interval, wait),
        timeout: s.or("timeout", default.timeout, wait),
        unhealthy_after: s.or("unhealthy_after", default.unhealthy_after, &times),
        healthy_after: s.or("healthy_after", default.healthy_after, &times),
        status: s.list_or("status", default.status, count(200..=599)),
    };
    Some(settings)
}

/// In all, the first attempt included.
fn retry(s: &mut Section<'_>) -> RetrySettings {
    s.unsupported(&["on", "budget", "backoff"]);
    RetrySettings {
        attempts: s.or("attempts", RetrySettings::default().attempts, count(1..=10)),
    }
}

fn sticky(s: &mut Section<'_>) -> Option<StickySettings> {
    Some(StickySettings {
        cookie: s.or("cookie", "lakh_affinity".to_owned(), cookie_name),
        max_age: s.or("max_age", Duration::from_secs(24 * 3600), wait),
        key_file: s.optional("key_file", secret_file),
    })
}
