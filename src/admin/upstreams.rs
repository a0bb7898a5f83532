//! `GET /api/v1/upstreams`, and orders about servers and splits: what state they are in and why, and
//! changing it by hand.

use super::answers::unknown;
use crate::endpoint::Endpoint;
use crate::runtime::{Foundation, Runtime};
use crate::upstream::{Pool, Server, Tier, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// A server by its upstream's name and its address. As JSON, the body of `/drain` and `/undrain`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerName {
    pub upstream: String,
    pub server: Endpoint,
}

/// How much of the traffic a server gets, beside others. As JSON, the body of `/api/v1/servers/weight`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WeightOrder {
    pub upstream: String,
    pub server: Endpoint,
    /// As in the configuration; None: what that says.
    pub weight: Option<u16>,
}

/// A route whose split gets all of its sides back. As JSON, the body of `/restore`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SplitName {
    pub route: String,
}

impl ServerName {
    /// From here on the server gets nothing new and finishes what it has; or it is as before.
    pub fn set_draining(&self, draining: bool, runtime: &Runtime) -> Result<(), String> {
        let (_, server) = server_of(runtime, &self.upstream, &self.server)?;
        server.set_draining(draining, Time::now());
        Ok(())
    }
}

impl WeightOrder {
    pub fn run(&self, runtime: &Runtime, foundation: &Foundation) -> Result<(), String> {
        let (pool, server) = server_of(runtime, &self.upstream, &self.server)?;
        server.weigh(self.weight.map(u32::from));
        foundation.registry.find(pool);
        Ok(())
    }
}

fn server_of<'a>(
    runtime: &'a Runtime,
    upstream: &str,
    address: &Endpoint,
) -> Result<(&'a Pool, Arc<Server>), String> {
    let pool = find(&runtime.pools, "upstream", upstream, |pool| &pool.name)?;
    let servers = pool.servers();
    let server = servers.iter().find(|s| s.address == *address);
    let server = server.ok_or_else(|| {
        let known: Vec<_> = servers.iter().map(|s| s.address.to_string()).collect();
        unknown("server", &address.to_string(), &known)
    })?;
    Ok((pool, server.clone()))
}

impl SplitName {
    pub fn restore(&self, runtime: &Runtime) -> Result<(), String> {
        let route = find(&runtime.routes, "route", &self.route, |route| &route.name)?;
        let split = route.split.as_ref();
        let split = split.ok_or_else(|| {
            let name = &self.route;
            format!("route `{name}` has no split; GET /api/v1/upstreams says which have one")
        })?;
        split.restore();
        Ok(())
    }
}

/// All upstreams and splits, as they are now.
pub fn show(runtime: &Runtime) -> Value {
    let splits = runtime.routes.iter().filter_map(|route| {
        let split = route.split.as_ref()?;
        let shares = split
            .shares()
            .map(|(name, share)| (name.to_owned(), json!(f64::from(share) / 100.0)));
        let shares: serde_json::Map<_, _> = shares.collect();
        Some(json!({"route": &*route.name, "percent": shares}))
    });
    json!({
        "upstreams": runtime.pools.iter().map(|pool| show_pool(pool)).collect::<Vec<_>>(),
        "splits": splits.collect::<Vec<_>>(),
    })
}

fn show_pool(pool: &Pool) -> Value {
    let now = Time::now();
    let (tier, servers) = pool.standing(now);
    let servers = servers.iter().map(|(server, member, weight)| {
        let shown = server.shown(now);
        json!({
            "address": server.address,
            "state": shown.state.label(),
            "since_seconds": shown.since.as_secs(),
            "why": shown.why,
            "last_probe_error": shown.probe_error,
            "active": shown.active,
            "weight": member.weight,
            "weight_by_hand": server.weight_by_hand(),
            "weight_in_force": f64::from(*weight) / 100.0,
            "backup": member.backup,
            "breaker": shown.breaker,
            "ejected_for_seconds": shown.ejected.map(|left| left.as_secs_f64()),
            "open_for_seconds": shown.open.map(|left| left.as_secs_f64()),
        })
    });
    json!({
        "name": &*pool.name,
        "in_use": match tier {
            Tier::Primary => "primaries",
            Tier::Backup => "backups",
            Tier::Panic => "all, because too few are well",
        },
        "active": pool.group.in_flight(),
        "retrying": pool.group.retrying(),
        "running": pool.group.gate.running(),
        "waiting": pool.group.gate.waiting(),
        "concurrency": Some(pool.group.gate.size()).filter(|size| *size > 0),
        "servers": servers.collect::<Vec<_>>(),
    })
}

fn find<'a, T>(
    all: &'a [T],
    noun: &str,
    name: &str,
    name_of: impl Fn(&T) -> &str,
) -> Result<&'a T, String> {
    let found = all.iter().find(|item| name_of(item) == name);
    found.ok_or_else(|| {
        let known: Vec<_> = all.iter().map(|item| name_of(item).to_owned()).collect();
        unknown(noun, name, &known)
    })
}
