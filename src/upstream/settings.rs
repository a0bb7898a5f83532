//! An upstream as its operator wrote it: servers, how to pick one, how long to wait, what to try.

use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamSettings {
    pub name: String,
    pub balance: Balance,
    /// Empty when `spawn` is set: the pool's processes are its servers then.
    pub servers: Vec<ServerSettings>,
    pub spawn: Option<SpawnSettings>,
    pub timeouts: Timeouts,
    pub health_check: Option<HealthCheckSettings>,
    pub retry: RetrySettings,
    pub sticky: Option<StickySettings>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    #[default]
    LeastConnections,
    RoundRobin,
    RandomTwo,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    pub address: SocketAddr,
    /// Share of the traffic beside the others; 0 gets none. Default 1, at most 65535.
    pub weight: u32,
}

/// Processes that Lakh starts and watches itself: `instances` of `command`, each with PORT in its
/// environment, from `first_port` up.
#[derive(Clone, Debug, PartialEq)]
pub struct SpawnSettings {
    pub command: Vec<String>,
    pub instances: u16,
    pub first_port: u16,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    pub connect: Duration,
    /// Between two reads.
    pub read: Duration,
    /// Between two writes.
    pub write: Duration,
    /// How long an unused connection to a server is kept.
    pub idle: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheckSettings {
    pub path: String,
    pub interval: Duration,
    /// For the whole probe.
    pub timeout: Duration,
    pub unhealthy_after: u32,
    pub healthy_after: u32,
    /// Statuses that count as healthy.
    pub status: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RetrySettings {
    /// In all, the first one included. 1 never retries.
    pub attempts: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StickySettings {
    pub cookie: String,
    pub max_age: Duration,
    /// Signs the cookie. None: a key made at start, kept over reloads, unknown to other edges.
    pub key_file: Option<std::path::PathBuf>,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(1),
            read: Duration::from_secs(30),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        }
    }
}

impl Default for HealthCheckSettings {
    fn default() -> HealthCheckSettings {
        HealthCheckSettings {
            path: "/health".into(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            unhealthy_after: 3,
            healthy_after: 2,
            status: vec![200],
        }
    }
}

impl Default for RetrySettings {
    fn default() -> RetrySettings {
        RetrySettings { attempts: 3 }
    }
}
