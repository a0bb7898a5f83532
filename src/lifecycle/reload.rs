//! Reload: the new configuration is built whole and put in force, or nothing changes.

use super::doors::Doors;
use super::spawn::Supervisor;
use crate::config::{self, Changes, Config, Errors, Loaded, Source};
use crate::runtime::{Foundation, Runtime};
use crate::upstream::{SpawnSettings, UpstreamSettings};
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// How long a reload waits for servers' names to be looked up; clients are served meanwhile.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(2);

/// What a reload has changed, or would.
#[derive(Debug, Deserialize, Serialize)]
pub struct Reloaded {
    pub changes: Changes,
    /// What is valid and yet hardly meant.
    pub warnings: Vec<String>,
}

pub struct Reload {
    pub source: Source,
    pub current: Arc<ArcSwap<Runtime>>,
    pub foundation: Arc<Foundation>,
    pub supervisor: Arc<Supervisor>,
    /// Held while processes are told who stays: by autoscaling too.
    pub changing: Arc<tokio::sync::Mutex<()>>,
}

impl Reload {
    /// Reads the file again, and says what has changed. A failure is logged, counted, and kept for
    /// the admin API.
    pub async fn reload(&self, doors: &mut Doors) -> Result<Reloaded, String> {
        let reloaded = self.try_reload(doors).await;
        match &reloaded {
            Ok(reloaded) => {
                let changes = reloaded.changes.0.len();
                tracing::info!(config = %self.source, changes, "reloaded");
            }
            Err(why) => {
                tracing::error!(
                    "reload refused; the configuration before it stays in force\n{why}"
                );
                self.foundation.metrics.config.failures.inc();
                self.foundation.metrics.config.stale.set(1);
                self.foundation.set_config_error(Some(why.clone()));
            }
        }
        reloaded
    }

    /// What `reload` would say of the file as it is now. All is built and bound as for a reload, and
    /// let go of: files that can't be read and addresses that others have are found out here too.
    pub async fn look(&self, doors: &Doors) -> Result<Reloaded, String> {
        let (loaded, reloaded) = self.load().await?;
        let runtime = self.foundation.build(loaded.config, loaded.written)?;
        doors.bind(&runtime)?;
        Ok(reloaded)
    }

    async fn load(&self) -> Result<(Loaded, Reloaded), String> {
        let source = self.source.clone();
        let before = self.current.load().written.clone();
        let read = move || {
            let loaded = source.load(&config::environment)?;
            let changes = Changes::between(&before, &loaded.written);
            Ok((loaded, changes))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.map_err(|e| format!("reading it panicked: {e}"))?;
        let (loaded, changes) = read.map_err(|errors: Errors| errors.to_string())?;
        let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
        Ok((loaded, Reloaded { changes, warnings }))
    }

    async fn try_reload(&self, doors: &mut Doors) -> Result<Reloaded, String> {
        let (loaded, reloaded) = self.load().await?;
        reloaded
            .warnings
            .iter()
            .for_each(|warning| tracing::warn!("{warning}"));
        let runtime = self.foundation.build(loaded.config, loaded.written)?;
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
        Ok(reloaded)
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
