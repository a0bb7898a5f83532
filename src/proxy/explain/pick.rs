//! Which server would be asked, and why that one.

use super::super::balance;
use super::super::context::Context;
use super::super::request::Request;
use super::said::{ServerSaid, UpstreamSaid};
use crate::upstream::{self, Pool, Tried};
use std::sync::Arc;

/// Servers that are told of one by one.
const SERVERS: usize = 16;

pub fn upstream_of(pool: &Arc<Pool>, request: &Request<'_>, ctx: &Context) -> UpstreamSaid {
    let now = upstream::Time::now();
    let preferred = balance::preferred(request.headers, pool);
    let target = ctx.target.as_deref().unwrap_or(request.target);
    let picked = pool.would_pick(&upstream::Asked {
        tried: &Tried::default(),
        preferred,
        key: balance::key(request.headers, target, ctx),
        now,
    });
    let why = match &picked {
        None => "none can be asked: 503".to_owned(),
        Some(server) if Some(server.id) == preferred => "its sticky cookie says so".to_owned(),
        Some(_) => format!("by {}", pool.balance()),
    };
    let (tier, servers) = pool.standing(now);
    let servers = servers.iter().take(SERVERS).map(|(server, ..)| {
        let shown = server.shown(now);
        ServerSaid {
            address: server.address.to_string(),
            state: shown.state.label().to_owned(),
            in_flight: shown.active,
            why: shown.why,
        }
    });
    let gate = &pool.group.gate;
    UpstreamSaid {
        name: pool.name.to_string(),
        server: picked.map(|server| server.address.to_string()),
        why: match tier {
            upstream::Tier::Primary => why,
            upstream::Tier::Backup => format!("{why}; backups are in use"),
            upstream::Tier::Panic => format!("{why}; all are in use, because too few are well"),
        },
        running: gate.running(),
        waiting: gate.waiting(),
        concurrency: Some(gate.size()).filter(|size| *size > 0),
        servers: servers.collect(),
    }
}
