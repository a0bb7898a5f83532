//! Pools for tests.

use super::{
    Asked, HealthCheckSettings, Lease, Outcome, Pool, Registry, Server, ServerId, ServerSettings,
    Time, Tried, UpstreamSettings,
};
use crate::observe::Metrics;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Servers at ports from 9001 up, with these weights.
pub fn upstream(weights: &[u32]) -> UpstreamSettings {
    let servers = (9001..).zip(weights).map(|(port, &weight)| ServerSettings {
        weight,
        ..ServerSettings::of(address(port))
    });
    UpstreamSettings {
        servers: servers.collect(),
        ..UpstreamSettings::default()
    }
}

pub fn checked(weights: &[u32]) -> UpstreamSettings {
    UpstreamSettings {
        health_check: Some(quick_check()),
        ..upstream(weights)
    }
}

pub fn quick_check() -> HealthCheckSettings {
    HealthCheckSettings {
        interval: Duration::from_millis(20),
        ..Default::default()
    }
}

pub fn registry() -> Arc<Registry> {
    Registry::new(Arc::new(Metrics::new()))
}

pub fn pool(registry: &Registry, upstream: UpstreamSettings) -> Arc<Pool> {
    let pools = registry.pools(&[upstream]).expect("good settings");
    pools.into_iter().next().expect("one pool for one upstream")
}

/// In force, with all that is judged by its rules.
pub fn committed(registry: &Arc<Registry>, upstream: UpstreamSettings) -> Arc<Pool> {
    let pool = pool(registry, upstream);
    registry.commit(std::slice::from_ref(&pool));
    pool
}

pub fn pick(pool: &Pool, tried: &Tried, preferred: Option<ServerId>) -> Option<Lease> {
    pick_at(pool, tried, preferred, Time::now())
}

pub fn pick_at(
    pool: &Pool,
    tried: &Tried,
    preferred: Option<ServerId>,
    now: Time,
) -> Option<Lease> {
    pool.pick(&Asked {
        tried,
        preferred,
        key: None,
        now,
    })
}

pub fn picked(pool: &Pool, tried: &Tried) -> Option<u16> {
    pick(pool, tried, None)?.server().address.port()
}

/// Marks a server down as a refused connection does.
pub fn take_down(server: &Arc<Server>) {
    server.set_probed(true, Time::now());
    Lease::new(server.clone()).tell(Outcome::Refused, Time::now());
    assert_eq!(server.state(), super::State::Down);
}

pub async fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !seen() {
        assert!(Instant::now() < deadline, "never seen: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
