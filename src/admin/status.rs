//! `GET /api/v1/status`: how the edge is, on one page.

use crate::runtime::{Foundation, Runtime};
use crate::upstream::{State, Time};
use serde_json::{Value, json};
use std::time::SystemTime;

pub fn show(runtime: &Runtime, foundation: &Foundation) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let started = foundation.metrics.started().get();
    let uptime = now.map_or(0.0, |now| now.as_secs_f64() - started).max(0.0);
    let listeners = runtime.listeners.iter().map(|listening| {
        let settings = &listening.settings;
        json!({
            "name": settings.name,
            "address": settings.address,
            "tls": settings.tls.is_some(),
        })
    });
    let upstreams = runtime.pools.iter().map(|pool| {
        let (_, servers) = pool.standing(Time::now());
        let up = servers
            .iter()
            .filter(|(server, ..)| server.state() == State::Up);
        json!({"name": &*pool.name, "servers": servers.len(), "up": up.count()})
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": foundation.is_ready(),
        "uptime_seconds": uptime as u64,
        "connections": foundation.caps.open(),
        "requests_in_flight": foundation.metrics.in_flight.get(),
        "config": {
            "loads": foundation.metrics.config.loads.get(),
            "failed_reloads": foundation.metrics.config.failures.get(),
            // Why the last reload was refused; what serves is the configuration before.
            "error": foundation.config_error(),
        },
        "routes": runtime.routes.len(),
        "listeners": listeners.collect::<Vec<_>>(),
        "upstreams": upstreams.collect::<Vec<_>>(),
    })
}
