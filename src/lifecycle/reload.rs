//! Reload: the new configuration is built whole and put in force, or nothing changes.

use super::doors::Doors;
use super::spawn::Supervisor;
use crate::config::{self, Config};
use crate::runtime::{Foundation, Runtime};
use crate::upstream::{SpawnSettings, UpstreamSettings};
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a reload waits for servers' names to be looked up; clients are served meanwhile.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(2);

pub struct Reload {
    pub path: PathBuf,
    pub current: Arc<ArcSwap<Runtime>>,
    pub foundation: Arc<Foundation>,
    pub supervisor: Arc<Supervisor>,
    /// Held while processes are told who stays: by autoscaling too.
    pub changing: Arc<tokio::sync::Mutex<()>>,
}

impl Reload {
    /// Reads the file again. A failure is logged, counted, and kept for the admin API.
    pub async fn reload(&self, doors: &mut Doors) {
        match self.try_reload(doors).await {
            Ok(()) => tracing::info!(config = %self.path.display(), "reloaded"),
            Err(why) => {
                tracing::error!(
                    "reload refused; the configuration before it stays in force\n{why}"
                );
                self.foundation.metrics.config.failures.inc();
                self.foundation.metrics.config.stale.set(1);
                self.foundation.set_config_error(Some(why));
            }
        }
    }

    async fn try_reload(&self, doors: &mut Doors) -> Result<(), String> {
        let path = self.path.clone();
        let loaded = tokio::task::spawn_blocking(move || config::load(&path, &config::environment));
        let loaded = loaded
            .await
            .map_err(|e| format!("reading it panicked: {e}"))?;
        let loaded = loaded.map_err(|errors| errors.to_string())?;
        loaded
            .warnings
            .iter()
            .for_each(|warning| tracing::warn!("{warning}"));
        let runtime = self.foundation.build(loaded.config)?;
        let bound = doors.bind(&runtime)?;
        // From here on nothing fails.
        self.foundation.commit(&runtime);
        self.foundation.looked_up(LOOKUP_PATIENCE).await;
        warn_of_process_changes(&self.current.load().config, &runtime.config);
        let _changing = self.changing.lock().await;
        let spawned = spawns(&runtime.config, &self.foundation);
        self.current.store(Arc::new(runtime));
        doors.apply(bound);
        self.foundation.in_force();
        // Last: a process is told to leave when nothing new is sent to it any more.
        self.supervisor.apply(spawned).await;
        Ok(())
    }
}

/// The pools whose processes Lakh starts itself, with as many as there are to be now.
pub fn spawns(config: &Config, foundation: &Foundation) -> Vec<(String, SpawnSettings)> {
    let spawned = |upstream: &UpstreamSettings| {
        let (name, mut spawn) = (upstream.name.clone(), upstream.spawn.clone()?);
        spawn.instances = foundation.registry.size(&name, &spawn);
        Some((name, spawn))
    };
    config.upstreams.iter().filter_map(spawned).collect()
}

fn warn_of_process_changes(before: &Config, after: &Config) {
    if before.process.threads != after.process.threads {
        tracing::warn!("process.threads changes only when the process is started anew");
    }
}
