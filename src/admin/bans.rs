//! `GET /api/v1/bans`, `POST /ban`, `POST /unban`: who is kept out, and for how long.

use crate::observe::Metrics;
use crate::runtime::Runtime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Keeps an address out. As JSON, the body of `/ban`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BanOrder {
    pub address: IpAddr,
    pub seconds: u64,
}

/// As JSON, the body of `/unban`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LiftOrder {
    pub address: IpAddr,
}

const LONGEST: u64 = 366 * 24 * 3600;

impl BanOrder {
    pub fn run(&self, runtime: &Runtime, metrics: &Metrics) -> Result<(), String> {
        if !(1..=LONGEST).contains(&self.seconds) {
            return Err(format!("`seconds` is from 1 to {LONGEST}, a year"));
        }
        let length = Duration::from_secs(self.seconds);
        runtime.bans.ban(self.address, length, Instant::now());
        metrics.banned_for("operator");
        Ok(())
    }
}

impl LiftOrder {
    pub fn run(&self, runtime: &Runtime) -> Result<(), String> {
        match runtime.bans.lift(self.address, Instant::now()) {
            true => Ok(()),
            false => Err(format!(
                "{} is not banned; GET /api/v1/bans says who is",
                self.address
            )),
        }
    }
}

/// The longest first.
pub fn show(runtime: &Runtime) -> Value {
    let bans = runtime.bans.list(Instant::now());
    let bans = bans.iter().map(|ban| {
        json!({
            "address": ban.address,
            "seconds_left": ban.left.as_secs_f64().ceil() as u64,
            "offence": ban.offence.map_or("operator", |offence| offence.label()),
            "times": ban.times,
        })
    });
    json!({"bans": bans.collect::<Vec<_>>()})
}
