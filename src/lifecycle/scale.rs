//! Autoscaling: looks at what supervised pools carry, and starts or stops processes.
//!
//! What is decided is `upstream::Scale`'s; here it is measured and carried out. A new process gets
//! requests once it takes connections; one that is to leave gets no new ones, and is stopped when
//! it has finished what it has.

use super::reload::spawns;
use super::spawn::Supervisor;
use crate::runtime::{Foundation, Runtime};
use crate::upstream::{Carried, Pool, Scale, ScaleSettings, Server, Time};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

const LOOK: Duration = Duration::from_secs(1);
/// How long a new process may take until it takes connections; then health checks see to it.
const START_PATIENCE: Duration = Duration::from_secs(15);

pub struct Scaler {
    pub current: Arc<ArcSwap<Runtime>>,
    pub foundation: Arc<Foundation>,
    pub supervisor: Arc<Supervisor>,
    /// Held while processes are told who stays: by a reload too.
    pub changing: Arc<Mutex<()>>,
}

/// A pool between two looks.
#[derive(Default)]
struct Watched {
    scale: Scale,
    requests: u64,
    /// Seconds of processor time.
    cpu: f64,
    looked: Option<Instant>,
}

impl Scaler {
    pub async fn run(self) {
        let mut watched: HashMap<Arc<str>, Watched> = HashMap::new();
        loop {
            sleep(LOOK).await;
            let runtime = self.current.load_full();
            let scaled = runtime.pools.iter().filter_map(|pool| {
                let spawn = pool.spawn.as_ref()?;
                Some((pool, spawn.scale.clone()?))
            });
            for (pool, settings) in scaled {
                let watched = watched.entry(pool.name.clone()).or_default();
                self.look(pool, &settings, watched, runtime.config.process.drain)
                    .await;
            }
        }
    }

    async fn look(
        &self,
        pool: &Arc<Pool>,
        settings: &ScaleSettings,
        watched: &mut Watched,
        drain: Duration,
    ) {
        let servers = pool.servers();
        let carried = self.measure(pool, &servers, watched);
        let size = servers.len() as u16;
        let wanted = watched.scale.look(&carried, size, settings, Time::now());
        if wanted == size {
            return;
        }
        tracing::info!(upstream = %pool.name, from = size, to = wanted, ?carried, "scaling");
        self.foundation.registry.resize(&pool.name, wanted);
        if wanted > size {
            self.apply().await;
            if let Some(spawn) = &pool.spawn {
                for port in spawn.first_port + size..spawn.first_port + wanted {
                    started(([127, 0, 0, 1], port).into()).await;
                }
            }
            self.foundation.registry.find(pool);
        } else {
            self.foundation.registry.find(pool);
            finished(servers.iter().skip(wanted.into()), drain).await;
            self.apply().await;
        }
    }

    /// Starts and stops processes as sizes say.
    async fn apply(&self) {
        let _changing = self.changing.lock().await;
        let spawned = spawns(&self.current.load().config, &self.foundation);
        self.supervisor.apply(spawned).await;
    }

    fn measure(&self, pool: &Pool, servers: &[Arc<Server>], watched: &mut Watched) -> Carried {
        let requests = servers.iter().map(|s| s.metrics.requests.get()).sum();
        let cpu = self.processor_time(&pool.name);
        let seconds = watched.looked.map(|looked| looked.elapsed().as_secs_f64());
        let per_second = |more: f64| seconds.map_or(0.0, |s| more.max(0.0) / s.max(0.001));
        let carried = Carried {
            requests_per_second: per_second(requests as f64 - watched.requests as f64),
            in_flight: pool.group.in_flight() as f64,
            queue: pool.group.gate.waiting() as f64,
            websockets: pool.group.websockets() as f64,
            cpu: per_second(cpu - watched.cpu),
        };
        *watched = Watched {
            scale: std::mem::take(&mut watched.scale),
            requests,
            cpu,
            looked: Some(Instant::now()),
        };
        carried
    }

    /// Of a pool's processes, in seconds.
    fn processor_time(&self, upstream: &str) -> f64 {
        let all = self.supervisor.status();
        let of_pool = all.iter().filter(|process| process.upstream == upstream);
        of_pool.filter_map(|process| seconds_of(process.pid?)).sum()
    }
}

/// Fields 14 and 15 of /proc/PID/stat, in hundredths of a second on every Linux that matters.
fn seconds_of(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut ticks = after_name.split_whitespace().skip(11);
    let mut next = || ticks.next()?.parse::<f64>().ok();
    Some((next()? + next()?) / 100.0)
}

async fn started(address: std::net::SocketAddr) {
    let connected = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(START_PATIENCE, connected).await.is_err() {
        tracing::warn!(%address, "a new process does not take connections yet: see what it writes to its log");
    }
}

/// Until the servers have finished what they have, for as long as `limit`.
async fn finished(servers: impl Iterator<Item = &Arc<Server>>, limit: Duration) {
    let deadline = Instant::now() + limit;
    for server in servers {
        while server.in_flight() > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
        }
    }
}
