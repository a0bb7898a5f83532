//! An upstream as its operator wrote it: servers, how to pick one, how long to wait, what to try.

use super::gradient::Bounds;
use super::transport::Transport;
use crate::endpoint::Endpoint;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamSettings {
    pub name: String,
    pub balance: Balance,
    /// Empty when `spawn` is set: the pool's processes are its servers then.
    pub servers: Vec<ServerSettings>,
    /// Beside those: every address behind a name is a server.
    pub names: Vec<NameSettings>,
    pub spawn: Option<SpawnSettings>,
    pub transport: Transport,
    pub timeouts: Timeouts,
    pub health_check: Option<HealthCheckSettings>,
    pub ejection: Option<EjectionSettings>,
    pub circuit_breaker: Option<BreakerSettings>,
    /// How long a server that is back, or new, takes to get all of its share.
    pub slow_start: Duration,
    /// With a smaller share of the servers usable than this, all are used.
    pub panic_below: f64,
    /// How long a server must be back before backups are left again.
    pub failback: Duration,
    pub retry: RetrySettings,
    pub concurrency: Option<ConcurrencySettings>,
    pub sticky: Option<StickySettings>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    #[default]
    LeastConnections,
    RoundRobin,
    RandomTwo,
    Hash(HashKey),
}

impl Balance {
    /// As a configuration says it.
    pub fn name(&self) -> &'static str {
        match self {
            Balance::LeastConnections => "least_connections",
            Balance::RoundRobin => "round_robin",
            Balance::RandomTwo => "random_two",
            Balance::Hash(_) => "hash",
        }
    }
}

/// What requests are told apart by. One that has no such field, cookie or claim goes by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    ClientAddress,
    Header(http::HeaderName),
    Cookie(String),
    /// Of a verified token.
    Claim(String),
    Path,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    pub address: Endpoint,
    /// Share of the traffic beside the others; 0 gets none. Default 1, at most 65535.
    pub weight: u32,
    /// Used only while no other can be.
    pub backup: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct NameSettings {
    pub host: String,
    pub port: u16,
    /// From one look-up to the next.
    pub every: Duration,
    /// Of each server behind it.
    pub weight: u32,
    pub backup: bool,
    /// Leave out addresses of this machine and of private networks: the name is somebody else's.
    pub public: bool,
}

/// Processes that Lakh starts and watches itself: `instances` of `command`, each with PORT in its
/// environment, from `first_port` up.
#[derive(Clone, Debug, PartialEq)]
pub struct SpawnSettings {
    pub command: Vec<String>,
    /// With `scale` the least, which is what the start begins with.
    pub instances: u16,
    pub first_port: u16,
    pub scale: Option<ScaleSettings>,
}

/// How many processes there are, by what each carries.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleSettings {
    pub min: u16,
    pub max: u16,
    pub up: ScaleRule,
    pub down: ScaleRule,
}

/// A threshold that must have been passed for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleRule {
    pub measure: Measure,
    /// Of each process.
    pub threshold: f64,
    pub delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    RequestsPerSecond,
    InFlight,
    Queue,
    WebSockets,
    /// Cores: 0.7 is 70 % of one.
    Cpu,
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
    /// How long a WebSocket, or another protocol switched to, may be silent in either direction.
    pub websocket: Duration,
    /// How long either side of one may be silent until it is asked whether it is there. None: for ever.
    pub websocket_ping: Option<Duration>,
}

/// What a probe asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    #[default]
    Http,
    /// Whether it takes connections.
    Tcp,
    /// `grpc.health.v1.Health/Check`.
    Grpc,
}

#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheckSettings {
    pub protocol: Probe,
    pub path: String,
    pub interval: Duration,
    /// For the whole probe.
    pub timeout: Duration,
    pub unhealthy_after: u32,
    pub healthy_after: u32,
    /// Statuses that count as healthy.
    pub status: Vec<u16>,
    /// What the body must have in it, within its first 64 KiB.
    pub body: Option<String>,
}

/// Passive: failures of requests put a server out.
#[derive(Clone, Debug, PartialEq)]
pub struct EjectionSettings {
    pub consecutive_failures: u32,
    /// Failures further apart are not in a row.
    pub interval: Duration,
    /// The first time; each further one is longer.
    pub lasts: Duration,
    /// Of a pool's servers, 0.0 to 1.0.
    pub max_ejected: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BreakerSettings {
    /// In a row.
    pub failures: u32,
    pub open_for: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RetrySettings {
    /// In all, the first one included. 1 never retries.
    pub attempts: u32,
    /// Failures after which another server may do better.
    pub on: Vec<RetryOn>,
    /// Requests in another try at once, as a share of those in flight; 3 may always be.
    pub budget: f64,
    pub backoff: BackoffSettings,
    /// How long one try may wait for its answer's head, and between two reads of it.
    pub per_try: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    Connect,
    Timeout,
    /// The connection broke, or what came was not HTTP.
    Broken,
    /// 500 to 599.
    Status(u16),
}

/// The pause before another try: twice as long each time.
#[derive(Clone, Debug, PartialEq)]
pub struct BackoffSettings {
    pub base: Duration,
    pub max: Duration,
}

/// Requests that an upstream gets at once, and those that wait for them to end.
#[derive(Clone, Debug, PartialEq)]
pub struct ConcurrencySettings {
    pub max: usize,
    pub queue: usize,
    pub queue_timeout: Duration,
    /// The limit is found out, between these, by how long answers take.
    pub adaptive: Option<Bounds>,
}

/// Who is let in first when there are more than an upstream takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Leaves a fifth of the places to others, and never waits for one.
    Low,
    #[default]
    Normal,
    /// Waits even where the queue is full for others.
    High,
}

/// One route's requests shared out among upstreams.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitSettings {
    /// Shares in hundredths of a percent, 10,000 together.
    pub sides: Vec<(String, u32)>,
    /// Equal keys stay on one side. None: each request by chance.
    pub key: Option<HashKey>,
    pub rollback: Option<RollbackSettings>,
}

/// When a side of a split gets nothing any more.
#[derive(Clone, Debug, PartialEq)]
pub struct RollbackSettings {
    /// Share of its requests that failed, 0.0 to 1.0; more takes it out.
    pub errors: f64,
    /// Fewer requests than this within `interval` prove nothing.
    pub requests: u32,
    pub interval: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StickySettings {
    pub cookie: String,
    pub max_age: Duration,
    /// Signs the cookie. None: a key made at start, kept over reloads, unknown to other edges.
    pub key_file: Option<std::path::PathBuf>,
}

/// All defaults, and no servers: what tests and benchmarks begin with.
impl Default for UpstreamSettings {
    fn default() -> UpstreamSettings {
        UpstreamSettings {
            name: "app".into(),
            balance: Balance::default(),
            servers: Vec::new(),
            names: Vec::new(),
            spawn: None,
            transport: Transport::default(),
            timeouts: Timeouts::default(),
            health_check: None,
            ejection: None,
            circuit_breaker: None,
            slow_start: Duration::ZERO,
            panic_below: 0.1,
            failback: Duration::from_secs(10),
            retry: RetrySettings::default(),
            concurrency: None,
            sticky: None,
        }
    }
}

impl ServerSettings {
    pub fn of(address: impl Into<Endpoint>) -> ServerSettings {
        ServerSettings {
            address: address.into(),
            weight: 1,
            backup: false,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(1),
            read: Duration::from_secs(30),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            websocket: Duration::from_secs(3600),
            websocket_ping: None,
        }
    }
}

impl Default for HealthCheckSettings {
    fn default() -> HealthCheckSettings {
        HealthCheckSettings {
            protocol: Probe::Http,
            path: "/health".into(),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            unhealthy_after: 3,
            healthy_after: 2,
            status: vec![200],
            body: None,
        }
    }
}

impl Default for EjectionSettings {
    fn default() -> EjectionSettings {
        EjectionSettings {
            consecutive_failures: 5,
            interval: Duration::from_secs(10),
            lasts: Duration::from_secs(30),
            max_ejected: 0.5,
        }
    }
}

impl Default for ConcurrencySettings {
    fn default() -> ConcurrencySettings {
        ConcurrencySettings {
            max: 100,
            queue: 1000,
            queue_timeout: Duration::from_secs(10),
            adaptive: None,
        }
    }
}

impl Default for RollbackSettings {
    fn default() -> RollbackSettings {
        RollbackSettings {
            errors: 0.05,
            requests: 100,
            interval: Duration::from_secs(60),
        }
    }
}

impl Default for BreakerSettings {
    fn default() -> BreakerSettings {
        BreakerSettings {
            failures: 5,
            open_for: Duration::from_secs(60),
        }
    }
}

impl Default for RetrySettings {
    fn default() -> RetrySettings {
        let statuses = [502, 503, 504].map(RetryOn::Status);
        let others = [RetryOn::Connect, RetryOn::Timeout, RetryOn::Broken];
        RetrySettings {
            attempts: 3,
            on: others.into_iter().chain(statuses).collect(),
            budget: 0.2,
            backoff: BackoffSettings::default(),
            per_try: None,
        }
    }
}

impl Default for BackoffSettings {
    fn default() -> BackoffSettings {
        BackoffSettings {
            base: Duration::from_millis(25),
            max: Duration::from_millis(250),
        }
    }
}
