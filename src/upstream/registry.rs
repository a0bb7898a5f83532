//! What outlives a configuration: the groups of servers, their probes, and the sticky key.

use super::Time;
use super::discovery::{self, Answers, Resolver, Watch};
use super::group::Group;
use super::health::{most_ejected, watch};
use super::pool::Pool;
use super::random::jittered;
use super::server::Server;
use super::settings::{
    HealthCheckSettings, NameSettings, ServerSettings, SpawnSettings, SplitSettings,
    UpstreamSettings,
};
use super::split::{Split, Verdicts};
use super::sticky::Sticky;
use super::transport::Transport;
use crate::endpoint::Endpoint;
use crate::observe::{Metrics, Trouble};
use pingora::connectors::http::Connector;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;
use tracing::{info, warn};

pub struct Registry {
    metrics: Arc<Metrics>,
    groups: Mutex<HashMap<Arc<str>, Weak<Group>>>,
    probes: Mutex<HashMap<Key, Probe>>,
    /// What was found out about splits, of the configuration in force and the one being built.
    verdicts: Mutex<Vec<Weak<Verdicts>>>,
    resolver: Resolver,
    answers: Answers,
    /// Of supervised pools that are scaled, over reloads.
    sizes: Mutex<HashMap<String, u16>>,
    /// The pools in force, and their names being looked up.
    in_force: Mutex<(Vec<Arc<Pool>>, Vec<Watch>)>,
    /// A thread of its own: probes must not be late because the workers are busy, nor the other
    /// way round. Started with the first probe.
    probing: OnceLock<Runtime>,
    /// Of probes alone; keeps no connection.
    connector: OnceLock<Arc<Connector>>,
    process_key: OnceLock<[u8; 32]>,
}

/// Upstream and address.
type Key = (Arc<str>, Endpoint);

/// What is asked, and how the server is spoken to.
type ProbeRules = (HealthCheckSettings, Transport);

/// A probe that runs; dropped, it is stopped.
struct Probe {
    rules: ProbeRules,
    task: AbortHandle,
}

impl Registry {
    pub fn new(metrics: Arc<Metrics>) -> Arc<Registry> {
        Registry::resolving(metrics, discovery::system())
    }

    /// With names looked up by `resolver`.
    pub fn resolving(metrics: Arc<Metrics>, resolver: Resolver) -> Arc<Registry> {
        Arc::new(Registry {
            metrics,
            groups: Mutex::default(),
            probes: Mutex::default(),
            verdicts: Mutex::default(),
            resolver,
            answers: Answers::default(),
            sizes: Mutex::default(),
            in_force: Mutex::default(),
            probing: OnceLock::new(),
            connector: OnceLock::new(),
            process_key: OnceLock::new(),
        })
    }

    /// Builds the pools of a configuration, with the servers that are known already. Changes
    /// nothing for the running ones until `commit`; dropped instead, they leave no trace.
    pub fn pools(&self, upstreams: &[UpstreamSettings]) -> Result<Vec<Arc<Pool>>, String> {
        upstreams
            .iter()
            .map(|upstream| self.pool(upstream).map(Arc::new))
            .collect()
    }

    /// `pools` are in force now: their servers are judged and probed as they say, and no others.
    pub fn commit(self: &Arc<Registry>, pools: &[Arc<Pool>]) {
        for pool in pools {
            pool.group.gate.limit(pool.concurrency.clone());
        }
        let named = pools
            .iter()
            .flat_map(|pool| pool.names.iter().map(move |n| (pool, n)));
        let watches = named
            .map(|(pool, name)| self.watch_name(pool, name))
            .collect();
        *self.in_force() = (pools.to_vec(), watches);
        self.judge();
    }

    /// Until each name in force has been looked up once, or `limit` has passed.
    pub async fn looked_up(&self, limit: Duration) {
        let looked: Vec<_> = self.in_force().1.iter().map(|w| w.looked.clone()).collect();
        let all = async {
            for mut looked in looked {
                // An error means that the look-ups have ended: a reload was faster.
                let _ = looked.wait_for(|looked| *looked).await;
            }
        };
        let _ = tokio::time::timeout(limit, all).await;
    }

    /// Judges and probes the servers of the pools in force.
    fn judge(&self) {
        let (now, pools) = (Time::now(), self.pools_in_force());
        for pool in &pools {
            let servers = pool.servers();
            let share = pool.rules.ejection.as_ref().map_or(0.0, |e| e.max_ejected);
            let most = most_ejected(servers.len(), share);
            pool.group.judge(pool.rules.clone(), most, now);
            if pool.rules.health_check.is_none() {
                servers.iter().for_each(|s| s.set_probed(false, now));
            }
            pool.refresh(now);
        }
        self.probe(&pools);
    }

    fn watch_name(self: &Arc<Registry>, pool: &Arc<Pool>, name: &NameSettings) -> Watch {
        let (told, looked) = tokio::sync::watch::channel(false);
        let (registry, pool, name) = (Arc::downgrade(self), pool.clone(), name.clone());
        let resolver = self.resolver.clone();
        let work = async move {
            let trouble = Trouble::default();
            loop {
                let answer = resolver(name.host.clone(), name.port).await;
                let Some(registry) = registry.upgrade() else {
                    return;
                };
                registry.answered(&pool, &name, answer, &trouble);
                drop(registry);
                told.send_replace(true);
                tokio::time::sleep(jittered(name.every, 0.9, 1.1)).await;
            }
        };
        let task = self.probing.get_or_init(probe_thread).spawn(work);
        Watch {
            task: task.abort_handle(),
            looked,
        }
    }

    fn answered(
        &self,
        pool: &Pool,
        name: &NameSettings,
        answer: io::Result<Vec<SocketAddr>>,
        trouble: &Trouble,
    ) {
        let (upstream, host) = (&pool.name, &name.host);
        match answer {
            Ok(found) if !found.is_empty() => {
                let count = found.len();
                if trouble.is_over() {
                    info!(%upstream, %host, "look-ups work again");
                }
                if self.answers.take(name, found) {
                    info!(%upstream, %host, count, "servers found");
                    self.find(pool);
                }
            }
            failed => {
                pool.group.metrics.lookups_failed.inc();
                let why = failed.err().map_or("no address".into(), |e| e.to_string());
                if trouble.is_news(&why) {
                    warn!(
                        %upstream, %host, %why,
                        "look-up failed; the last answer stays in use, and it is asked for again and \
                         again: `getent hosts` with the name says what this machine finds"
                    );
                }
            }
        }
    }

    /// How many processes of a supervised pool there are to be.
    pub fn size(&self, upstream: &str, spawn: &SpawnSettings) -> u16 {
        let known = self.sizes().get(upstream).copied();
        match &spawn.scale {
            Some(scale) => known.unwrap_or(scale.min).clamp(scale.min, scale.max),
            None => spawn.instances,
        }
    }

    /// Takes effect with `find`.
    pub fn resize(&self, upstream: &str, size: u16) {
        self.sizes().insert(upstream.to_owned(), size);
    }

    /// The pool's servers are those that its names and its size say now.
    pub fn find(&self, pool: &Pool) {
        let found = self.found(&pool.name, &pool.names, pool.spawn.as_ref());
        pool.find(found, Time::now());
        self.judge();
    }

    /// Servers that come and go while a configuration is in force.
    fn found(
        &self,
        upstream: &str,
        names: &[NameSettings],
        spawn: Option<&SpawnSettings>,
    ) -> Vec<ServerSettings> {
        let scaled = spawn.filter(|spawn| spawn.scale.is_some());
        let scaled = scaled.map(|spawn| processes(spawn, self.size(upstream, spawn)));
        let named = self.answers.servers(names);
        named
            .into_iter()
            .chain(scaled.into_iter().flatten())
            .collect()
    }

    fn sizes(&self) -> MutexGuard<'_, HashMap<String, u16>> {
        self.sizes
            .lock()
            .expect("nothing panics while it holds the sizes")
    }

    pub fn pools_in_force(&self) -> Vec<Arc<Pool>> {
        self.in_force().0.clone()
    }

    fn in_force(&self) -> MutexGuard<'_, (Vec<Arc<Pool>>, Vec<Watch>)> {
        self.in_force
            .lock()
            .expect("nothing panics while it holds the pools")
    }

    /// The split of a route, with what was found out about it already. `pools` are its sides'.
    pub fn split(
        &self,
        route: &str,
        settings: &SplitSettings,
        pools: impl Iterator<Item = Arc<Pool>>,
    ) -> Split {
        let mut known = self
            .verdicts
            .lock()
            .expect("nothing panics while it holds the verdicts");
        known.retain(|verdicts| verdicts.strong_count() > 0);
        let mut same = known.iter().filter_map(Weak::upgrade);
        let verdicts = same.find(|verdicts| verdicts.fit(route, settings));
        let verdicts = verdicts.unwrap_or_else(|| {
            let verdicts = Verdicts::new(route, settings.clone(), &self.metrics);
            known.push(Arc::downgrade(&verdicts));
            verdicts
        });
        Split::new(pools, verdicts)
    }

    /// Brings gauges up to date that are read rather than counted.
    pub fn report(&self, pools: &[Arc<Pool>]) {
        pools.iter().for_each(|pool| pool.refresh(Time::now()));
        for group in self.groups().values().filter_map(Weak::upgrade) {
            group.report();
        }
    }

    fn pool(&self, settings: &UpstreamSettings) -> Result<Pool, String> {
        let sticky = settings.sticky.as_ref();
        let sticky = sticky.map(|s| Sticky::new(&settings.name, s, || self.process_key()));
        let (sticky, group) = (sticky.transpose()?, self.group(&settings.name));
        let listed = listed(settings);
        let found = self.found(&settings.name, &settings.names, settings.spawn.as_ref());
        Ok(Pool::new(
            settings,
            listed,
            found,
            sticky,
            group,
            Time::now(),
        ))
    }

    fn group(&self, name: &str) -> Arc<Group> {
        let mut groups = self.groups();
        groups.retain(|_, group| group.strong_count() > 0);
        if let Some(group) = groups.get(name).and_then(Weak::upgrade) {
            return group;
        }
        let group = Group::new(name, self.metrics.clone());
        groups.insert(group.name.clone(), Arc::downgrade(&group));
        group
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<Arc<str>, Weak<Group>>> {
        self.groups
            .lock()
            .expect("nothing panics while it holds the groups")
    }

    fn probe(&self, pools: &[Arc<Pool>]) {
        let mut probes = self
            .probes
            .lock()
            .expect("nothing panics while it holds the probes");
        let wanted = wanted_probes(pools);
        probes.retain(|key, probe| {
            wanted
                .get(key)
                .is_some_and(|(_, rules)| *rules == probe.rules)
        });
        for (key, (server, rules)) in wanted {
            probes
                .entry(key)
                .or_insert_with(|| self.start_probe(server, rules));
        }
    }

    fn start_probe(&self, server: Arc<Server>, rules: ProbeRules) -> Probe {
        server.set_probed(true, Time::now());
        let (check, transport) = rules.clone();
        let watch = watch(server, check, transport, self.connector());
        let task = self.probing.get_or_init(probe_thread).spawn(watch);
        Probe {
            rules,
            task: task.abort_handle(),
        }
    }

    fn connector(&self) -> Arc<Connector> {
        let connector = || Arc::new(Connector::new(None));
        self.connector.get_or_init(connector).clone()
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

/// The servers as listed, or the processes that are spawned to be them, if always as many.
fn listed(upstream: &UpstreamSettings) -> Vec<ServerSettings> {
    let spawned = upstream.spawn.iter().filter(|spawn| spawn.scale.is_none());
    let spawned = spawned.flat_map(|spawn| processes(spawn, spawn.instances));
    upstream.servers.iter().cloned().chain(spawned).collect()
}

fn processes(spawn: &SpawnSettings, size: u16) -> impl Iterator<Item = ServerSettings> + use<> {
    let ports = (spawn.first_port..=u16::MAX).take(size.into());
    ports.map(|port| ServerSettings::of(SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

fn wanted_probes(pools: &[Arc<Pool>]) -> HashMap<Key, (Arc<Server>, ProbeRules)> {
    let mut wanted = HashMap::new();
    for pool in pools {
        let Some(check) = &pool.rules.health_check else {
            continue;
        };
        for server in pool.servers() {
            let key = (pool.name.clone(), server.address.clone());
            let rules = (check.clone(), pool.transport.clone());
            wanted.insert(key, (server, rules));
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
#[path = "registry_tests.rs"]
mod tests;
