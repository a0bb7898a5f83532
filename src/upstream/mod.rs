//! Upstreams: which server gets a request, and whether that server is well.
//!
//! `proxy` picks a server from a `Pool` and holds it by a `Lease`; `fetch` does the same for the
//! cache. `server.rs` of the composition root owns the one `Registry`, which makes the pools of
//! each configuration. Picking must never lock, wait or log: it happens on every request.

mod balance;
mod client;
mod health;
mod server;
mod settings;
mod sticky;

pub use client::{Client, Response, peer};
pub use health::Health;
pub use server::{Lease, Server, ServerId};
pub use settings::*;
pub use sticky::Sticky;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::runtime::Runtime;
use tokio::task::AbortHandle;

use crate::observe::{Metrics, PoolMetrics};
use balance::{Shares, random_below};
use server::{Key, Roll};

/// An upstream as one configuration knows it. Its servers may be shared with the pools of other
/// configurations; their weights are not.
pub struct Pool {
    pub name: Arc<str>,
    pub servers: Box<[Arc<Server>]>,
    pub timeouts: Timeouts,
    pub retry: RetrySettings,
    pub sticky: Option<Sticky>,
    pub metrics: PoolMetrics,
    balance: Balance,
    shares: Shares,
    by_id: HashMap<ServerId, usize>,
    health_check: Option<HealthCheckSettings>,
}

/// The servers that one request has tried, by their place in the pool.
#[derive(Debug, Default)]
pub struct Tried {
    /// Places 0 to 63, as bits.
    low: u64,
    /// Places from 64 on. Allocates, but only when a request is tried again.
    high: Vec<usize>,
}

/// Keeps what outlives a configuration: the servers, their probes, and the sticky key.
pub struct Registry {
    metrics: Arc<Metrics>,
    roll: Arc<Roll>,
    probes: Mutex<HashMap<Key, Probe>>,
    /// A thread of its own: probes must not be late because the workers are busy, nor the other
    /// way round. Started with the first probe.
    probing: OnceLock<Runtime>,
    process_key: OnceLock<[u8; 32]>,
}

/// A probe that runs; dropped, it is stopped.
struct Probe {
    check: HealthCheckSettings,
    task: AbortHandle,
}

impl Pool {
    /// A server that was not tried: the preferred one if it is usable, else by the pool's way of
    /// balancing. When every server is down the health check may well be what is broken, so all
    /// are used rather than none. None when there is nothing left to try.
    pub fn pick(&self, tried: &Tried, preferred: Option<ServerId>) -> Option<Lease> {
        let usable = |index: usize| self.servers[index].usable() && !tried.contains(index);
        let index = preferred
            .and_then(|id| self.by_id.get(&id).copied())
            .filter(|index| self.weight(*index) > 0 && usable(*index))
            .or_else(|| self.choose(usable))
            .or_else(|| self.choose_though_all_are_down(tried))?;
        Some(Lease::new(self.servers[index].clone(), index))
    }

    /// The weight that this configuration gives to `servers[index]`.
    pub fn weight(&self, index: usize) -> u32 {
        self.shares.weight(index)
    }

    fn choose(&self, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let in_flight = |index: usize| usable(index).then(|| self.servers[index].in_flight());
        match self.balance {
            Balance::LeastConnections => self.shares.least_loaded(in_flight),
            Balance::RoundRobin => self.shares.next_in_turn(usable),
            Balance::RandomTwo => self.shares.two_choices(in_flight, random_below),
        }
    }

    fn choose_though_all_are_down(&self, tried: &Tried) -> Option<usize> {
        let gets_none = |index: usize| self.weight(index) == 0 || !self.servers[index].usable();
        if !(0..self.servers.len()).all(gets_none) {
            return None;
        }
        self.choose(|index| !self.servers[index].draining() && !tried.contains(index))
    }
}

impl Tried {
    pub fn add(&mut self, lease: &Lease) {
        match lease.index() {
            index @ 0..64 => self.low |= 1 << index,
            index => self.high.push(index),
        }
    }

    fn contains(&self, index: usize) -> bool {
        match index {
            0..64 => self.low >> index & 1 == 1,
            _ => !self.high.is_empty() && self.high.contains(&index),
        }
    }
}

impl Registry {
    pub fn new(metrics: Arc<Metrics>) -> Registry {
        Registry {
            roll: Roll::new(metrics.clone()),
            metrics,
            probes: Mutex::default(),
            probing: OnceLock::new(),
            process_key: OnceLock::new(),
        }
    }

    /// Builds the pools of a configuration, with the servers that are known already. Changes
    /// nothing for the running ones until `commit`; dropped instead, they leave no trace.
    pub fn pools(&self, upstreams: &[UpstreamSettings]) -> Result<Vec<Arc<Pool>>, String> {
        upstreams
            .iter()
            .map(|upstream| self.pool(upstream).map(Arc::new))
            .collect()
    }

    /// `pools` are in force now: their servers are probed as they say, and no others.
    pub fn commit(&self, pools: &[Arc<Pool>]) {
        let mut probes = self
            .probes
            .lock()
            .expect("nothing panics while it holds the probes");
        let wanted = wanted_probes(pools);
        probes.retain(|key, probe| {
            wanted
                .get(key)
                .is_some_and(|(_, check)| **check == probe.check)
        });
        for server in pools
            .iter()
            .filter(|p| p.health_check.is_none())
            .flat_map(|p| &p.servers)
        {
            server.stop_probing();
        }
        for (key, (server, check)) in wanted {
            probes
                .entry(key)
                .or_insert_with(|| self.start_probe(server.clone(), check.clone()));
        }
    }

    fn pool(&self, settings: &UpstreamSettings) -> Result<Pool, String> {
        let name: Arc<str> = settings.name.as_str().into();
        let listed = servers_of(settings);
        let servers: Box<[_]> = listed
            .iter()
            .map(|s| self.roll.enlist(&name, s.address))
            .collect();
        let weights: Vec<u32> = listed.iter().map(|s| s.weight).collect();
        let sticky = settings.sticky.as_ref();
        let sticky = sticky.map(|sticky| Sticky::new(&name, sticky, || self.process_key()));
        Ok(Pool {
            metrics: self.metrics.pool(&name),
            by_id: servers
                .iter()
                .enumerate()
                .map(|(index, server)| (server.id, index))
                .collect(),
            name,
            servers,
            timeouts: settings.timeouts.clone(),
            retry: settings.retry.clone(),
            sticky: sticky.transpose()?,
            balance: settings.balance,
            shares: Shares::new(&weights),
            health_check: settings.health_check.clone(),
        })
    }

    fn start_probe(&self, server: Arc<Server>, check: HealthCheckSettings) -> Probe {
        server.start_probing();
        let task = self
            .probing
            .get_or_init(probe_thread)
            .spawn(health::watch(server, check.clone()));
        Probe {
            check,
            task: task.abort_handle(),
        }
    }

    /// Signs sticky cookies where no key file is named: random, the same until the process ends.
    fn process_key(&self) -> Result<[u8; 32], String> {
        if let Some(key) = self.process_key.get() {
            return Ok(*key);
        }
        let mut key = [0; 32];
        File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut key))
            .map_err(|why| format!("no key for sticky cookies: cannot read /dev/urandom: {why}"))?;
        Ok(*self.process_key.get_or_init(|| key))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Some(probing) = self.probing.take() {
            // Dropped plainly it would wait for its thread, which panics inside async code.
            probing.shutdown_background();
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The ports of the supervised processes of a pool; none past 65535, whatever the settings say.
pub fn spawn_ports(spawn: &SpawnSettings) -> impl Iterator<Item = u16> + use<> {
    (spawn.first_port..=u16::MAX).take(spawn.instances.into())
}

/// The servers as listed, or the processes that are spawned to be them.
fn servers_of(upstream: &UpstreamSettings) -> Vec<ServerSettings> {
    let spawned = upstream
        .spawn
        .iter()
        .flat_map(spawn_ports)
        .map(|port| ServerSettings {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            weight: 1,
        });
    upstream.servers.iter().cloned().chain(spawned).collect()
}

fn wanted_probes(pools: &[Arc<Pool>]) -> HashMap<Key, (&Arc<Server>, &HealthCheckSettings)> {
    let mut wanted = HashMap::new();
    for pool in pools {
        let Some(check) = &pool.health_check else {
            continue;
        };
        for server in &pool.servers {
            wanted.insert((pool.name.clone(), server.address), (server, check));
        }
    }
    wanted
}

fn probe_thread() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("lakh-probe")
        .enable_all()
        .build()
        .expect("a process that serves may start one more thread")
}

#[cfg(test)]
mod tests {
    use super::*;
    use settings::StickySettings;
    use std::time::{Duration, Instant, SystemTime};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    fn address(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// Servers at ports from 9001 up, with these weights.
    fn upstream(weights: &[u32]) -> UpstreamSettings {
        let servers = (9001..).zip(weights);
        let server = |(port, &weight)| ServerSettings {
            address: address(port),
            weight,
        };
        UpstreamSettings {
            name: "app".into(),
            balance: Balance::LeastConnections,
            servers: servers.map(server).collect(),
            spawn: None,
            timeouts: Timeouts::default(),
            health_check: None,
            retry: RetrySettings::default(),
            sticky: None,
        }
    }

    fn checked(weights: &[u32]) -> UpstreamSettings {
        UpstreamSettings {
            health_check: Some(quick_check()),
            ..upstream(weights)
        }
    }

    fn quick_check() -> HealthCheckSettings {
        HealthCheckSettings {
            interval: Duration::from_millis(20),
            ..Default::default()
        }
    }

    fn registry() -> Registry {
        Registry::new(Arc::new(Metrics::new()))
    }

    fn pool(registry: &Registry, upstream: UpstreamSettings) -> Arc<Pool> {
        let pools = registry.pools(&[upstream]).expect("good settings");
        pools.into_iter().next().expect("one pool for one upstream")
    }

    fn picked(pool: &Pool, tried: &Tried) -> Option<u16> {
        pool.pick(tried, None)
            .map(|lease| lease.server().address.port())
    }

    async fn until(what: &str, mut seen: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !seen() {
            assert!(Instant::now() < deadline, "never seen: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Marks a server down as a refused connection does.
    fn take_down(server: &Server) {
        server.start_probing();
        server.connect_failed();
        assert!(!server.up());
    }

    #[test]
    fn the_least_loaded_gets_the_next_request() {
        let registry = registry();
        let pool = pool(&registry, upstream(&[1, 1, 1]));
        let held: Vec<_> = (0..3)
            .filter_map(|_| pool.pick(&Tried::default(), None))
            .collect();
        let ports: Vec<_> = held
            .iter()
            .map(|lease| lease.server().address.port())
            .collect();
        assert_eq!(ports, [9001, 9002, 9003]);
        assert!(pool.servers.iter().all(|server| server.in_flight() == 1));
        drop(held);
        assert!(pool.servers.iter().all(|server| server.in_flight() == 0));
    }

    #[test]
    fn each_server_is_tried_once() {
        let registry = registry();
        for (count, balance) in [
            (3, Balance::LeastConnections),
            (70, Balance::RoundRobin),
            (70, Balance::RandomTwo),
        ] {
            let pool = pool(
                &registry,
                UpstreamSettings {
                    balance,
                    ..upstream(&vec![1; count])
                },
            );
            let mut tried = Tried::default();
            let mut seen = std::collections::HashSet::new();
            while let Some(lease) = pool.pick(&tried, None) {
                tried.add(&lease);
                assert!(
                    seen.insert(lease.server().address),
                    "{balance:?} picked one twice"
                );
            }
            assert_eq!(seen.len(), count, "{balance:?}");
        }
    }

    #[test]
    fn a_preferred_server_is_taken_while_it_is_usable() {
        let registry = registry();
        let pool = pool(&registry, upstream(&[1, 1, 0]));
        let id = |index: usize| Some(pool.servers[index].id);
        let none = Tried::default();
        let served = |preferred| {
            pool.pick(&none, preferred)
                .expect("some are up")
                .server()
                .id
        };
        assert_eq!([served(id(1)), served(id(1))].map(Some), [id(1), id(1)]);
        assert_ne!(Some(served(id(2))), id(2), "a weight of 0 gets nothing");
        assert!(
            pool.pick(&none, Some(ServerId::of(address(1)))).is_some(),
            "one that left"
        );
        take_down(&pool.servers[1]);
        assert_eq!(Some(served(id(1))), id(0));
    }

    #[test]
    fn a_server_that_is_down_gets_nothing_unless_all_are() {
        let registry = registry();
        let pool = pool(&registry, upstream(&[1, 1, 0]));
        let none = Tried::default();
        take_down(&pool.servers[0]);
        assert_eq!(
            [picked(&pool, &none), picked(&pool, &none)],
            [Some(9002); 2]
        );
        let mut tried = Tried::default();
        tried.add(&pool.pick(&none, None).expect("one is up"));
        assert_eq!(picked(&pool, &tried), None, "the one that is up was tried");

        take_down(&pool.servers[1]);
        assert_eq!(picked(&pool, &tried), Some(9001));
        pool.servers[0].set_draining(true);
        assert_eq!(picked(&pool, &tried), None);
    }

    #[test]
    fn a_reload_keeps_servers_and_changes_weights() {
        let registry = registry();
        let old = pool(&registry, upstream(&[1, 1]));
        let held = old.pick(&Tried::default(), None).expect("all are up");
        let new = pool(&registry, upstream(&[1, 5, 1]));
        assert!(Arc::ptr_eq(&old.servers[1], &new.servers[1]));
        assert_eq!((old.weight(1), new.weight(1)), (1, 5));
        assert_eq!(new.servers[0].in_flight(), 1);
        drop(held);
    }

    #[test]
    fn a_server_that_left_leaves_the_metrics_after_its_last_request() {
        let metrics = Arc::new(Metrics::new());
        let registry = Registry::new(metrics.clone());
        let shown = |port: &str| {
            String::from_utf8(metrics.render())
                .expect("text")
                .contains(&format!("127.0.0.1:{port}"))
        };
        let old = pool(&registry, upstream(&[1, 1]));
        let held = old
            .pick(&Tried::default(), Some(old.servers[1].id))
            .expect("all are up");
        let new = pool(&registry, upstream(&[1]));
        registry.commit(std::slice::from_ref(&new));
        drop(old);
        assert!(shown("9001") && shown("9002"));
        drop(held);
        assert!(shown("9001") && !shown("9002"));
    }

    #[test]
    fn a_configuration_that_fails_leaves_no_trace() {
        let metrics = Arc::new(Metrics::new());
        let registry = Registry::new(metrics.clone());
        let cookie = "lakh".into();
        let key_file = Some("/nowhere/key".into());
        let sticky = Some(StickySettings {
            cookie,
            max_age: Duration::from_secs(60),
            key_file,
        });
        let failed = registry.pools(&[UpstreamSettings {
            sticky,
            ..upstream(&[1])
        }]);
        let why = failed.err().expect("there is no such key file");
        assert!(
            why.contains("upstream app: cannot read sticky key_file /nowhere/key"),
            "{why}"
        );
        assert!(
            !String::from_utf8(metrics.render())
                .expect("text")
                .contains("9001")
        );
    }

    #[test]
    fn the_sticky_key_is_kept_over_a_reload() {
        let registry = registry();
        let sticky = StickySettings {
            cookie: "lakh".into(),
            max_age: Duration::from_secs(60),
            key_file: None,
        };
        let settings = UpstreamSettings {
            sticky: Some(sticky),
            ..upstream(&[1])
        };
        let (old, new) = (pool(&registry, settings.clone()), pool(&registry, settings));
        let (now, id) = (SystemTime::now(), old.servers[0].id);
        let (old, new) = (old.sticky.as_ref(), new.sticky.as_ref());
        let cookie = old.expect("it is set").issue(id, now, false);
        let fields = [cookie.as_bytes()].into_iter();
        let read = new.expect("it is set").read(fields, now);
        assert_eq!(read, Some(id));
    }

    #[test]
    fn spawned_processes_are_servers() {
        let spawn = |instances, first_port| {
            let spawn = SpawnSettings {
                command: vec![],
                instances,
                first_port,
            };
            UpstreamSettings {
                spawn: Some(spawn),
                ..upstream(&[])
            }
        };
        let registry = registry();
        let pool = pool(&registry, spawn(2, 9501));
        let addresses: Vec<_> = pool.servers.iter().map(|server| server.address).collect();
        assert_eq!(addresses, [address(9501), address(9502)]);
        assert_eq!(servers_of(&spawn(3, 65535)).len(), 1);
    }

    /// A server that answers every probe with 200; stopped by aborting the task.
    fn healthy(listener: TcpListener) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("it listens");
                let mut request = [0; 1024];
                // A probe that gave up is no failure of ours.
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await;
            }
        })
    }

    #[tokio::test]
    async fn probes_follow_the_configuration_in_force() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let settings = |health_check| UpstreamSettings {
            servers: vec![ServerSettings { address, weight: 1 }],
            health_check,
            ..upstream(&[])
        };
        let origin = healthy(listener);
        let registry = registry();
        let checked = pool(&registry, settings(Some(quick_check())));
        let server = checked.servers[0].clone();
        server.connect_failed();
        assert!(server.up(), "no probe runs before the commit");
        registry.commit(std::slice::from_ref(&checked));

        server.connect_failed();
        assert!(!server.up(), "a probe can bring it back");
        until("probed up again", || server.up()).await;
        origin.abort();
        until("probed down", || !server.up()).await;
        let why = server.health().last_error.expect("it says why");
        assert!(why.starts_with("connect: "), "{why}");
        assert!(
            picked(&checked, &Tried::default()).is_some(),
            "all are down, so all are used"
        );

        let unchecked = pool(&registry, settings(None));
        assert!(!server.up(), "nothing changes before the commit");
        registry.commit(&[unchecked]);
        assert!(server.up(), "nobody looks, so it counts as up");
    }

    #[tokio::test]
    async fn an_unchanged_probe_goes_on_and_one_that_left_stops() {
        let registry = registry();
        let tasks = || {
            let probes = registry.probes.lock().expect("no test panics with it");
            probes
                .values()
                .map(|probe| probe.task.id())
                .collect::<Vec<_>>()
        };
        registry.commit(&[pool(&registry, checked(&[1]))]);
        let first = tasks();
        assert_eq!(first.len(), 1);
        registry.commit(&[pool(&registry, checked(&[2]))]);
        assert_eq!(tasks(), first, "a weight is nothing to a probe");
        let mut slower = checked(&[1]);
        slower.health_check = Some(HealthCheckSettings::default());
        registry.commit(&[pool(&registry, slower)]);
        assert_ne!(tasks(), first);
        registry.commit(&[]);
        assert!(tasks().is_empty());
    }

    #[tokio::test]
    async fn a_probed_server_that_left_is_forgotten() {
        let metrics = Arc::new(Metrics::new());
        let registry = Registry::new(metrics.clone());
        registry.commit(&[pool(&registry, checked(&[1]))]);
        registry.commit(&[]);
        let page = || String::from_utf8(metrics.render()).expect("text");
        until("the server forgotten", || !page().contains("9001")).await;
    }
}
