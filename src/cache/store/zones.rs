//! All zones, over reloads.

use super::{Tiers, Zone};
use crate::cache::purge::Purges;
use crate::cache::settings::CacheSettings;
use crate::cache::tier::{Change, Disk, DiskSettings, Redis, RedisTier};
use crate::observe::Metrics;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// All zones of a process, by name; what they hold survives a reload.
pub struct Zones<H> {
    pub purges: Arc<Purges>,
    by_name: Mutex<HashMap<String, Arc<Zone<H>>>>,
}

impl<H> Default for Zones<H> {
    fn default() -> Zones<H> {
        Zones {
            purges: Arc::default(),
            by_name: Mutex::new(HashMap::new()),
        }
    }
}

impl<H> Zones<H> {
    /// The zones for `settings`, in order. Nothing is forgotten until `commit`. `redis` is set if
    /// any zone has a tier there.
    pub fn build(
        &self,
        settings: &[CacheSettings],
        redis: Option<&Arc<Redis>>,
        metrics: &Metrics,
    ) -> Vec<Arc<Zone<H>>> {
        let known = self
            .by_name
            .lock()
            .expect("no code panics while it holds this lock");
        let build = |s: &CacheSettings| {
            let known = known.get(&s.name);
            let disk = known.and_then(|zone| zone.disk_for(s, redis));
            let tiers = || self.tiers(s, disk, redis, metrics);
            match known {
                Some(zone) if zone.settings == *s && zone.is_on(redis) => zone.clone(),
                Some(zone) => Arc::new(zone.resized(s.clone(), tiers())),
                None => {
                    let (metrics, purges) = (metrics.cache(&s.name), self.purges.clone());
                    Arc::new(Zone::new(s.clone(), metrics, purges, tiers()))
                }
            }
        };
        settings.iter().map(build).collect()
    }

    /// Of a zone with these settings, which had `disk` before.
    fn tiers(
        &self,
        settings: &CacheSettings,
        disk: Option<Arc<Disk>>,
        redis: Option<&Arc<Redis>>,
        metrics: &Metrics,
    ) -> Tiers {
        let name = &settings.name;
        let new_disk = |wanted: &DiskSettings| {
            let (purges, metrics) = (self.purges.clone(), metrics.disk(name));
            let (wanted, limit) = (wanted.clone(), settings.max_object);
            Arc::new(Disk::new(wanted, limit, purges, redis.cloned(), metrics))
        };
        let new_redis = |(redis, wanted): (&Arc<Redis>, _)| {
            let metrics = metrics.tier(name, "redis");
            RedisTier::new(redis.clone(), name, wanted, metrics)
        };
        Tiers {
            disk: disk.or_else(|| settings.disk.as_ref().map(new_disk)),
            redis: redis.zip(settings.redis.clone()).map(new_redis),
        }
    }

    fn disks(&self) -> Vec<Arc<Disk>> {
        let known = self
            .by_name
            .lock()
            .expect("no code panics while it holds this lock");
        known
            .values()
            .filter_map(|zone| zone.disk.clone())
            .collect()
    }

    /// Waits until what disks hold can be found, or for as long as `patience`. One that another
    /// process has, or that is broken, is not waited for.
    pub async fn opened(&self, patience: Duration) {
        let opened = async {
            for disk in self.disks() {
                disk.tried().await;
            }
        };
        if tokio::time::timeout(patience, opened).await.is_err() {
            tracing::warn!("a disk takes long to open; until then what it holds is fetched");
        }
    }

    /// Waits until a purge would outlive this process, or for as long as `patience`. None: there is
    /// no disk that it could outlive it on.
    pub async fn settle_purges(&self, patience: Duration) -> Option<bool> {
        let disks = self.disks();
        let settled = async {
            for disk in &disks {
                disk.settle_purges().await;
            }
        };
        let is_settled = tokio::time::timeout(patience, settled).await.is_ok();
        (!disks.is_empty()).then_some(is_settled)
    }

    /// Waits until what was stored is on disk, or for as long as `patience`.
    pub async fn flush(&self, patience: Duration) {
        let flushed = async {
            for disk in self.disks() {
                disk.flush().await;
            }
        };
        if tokio::time::timeout(patience, flushed).await.is_err() {
            tracing::warn!("not all that was stored is on disk: time is up");
        }
    }

    /// What another edge of the fleet found changed.
    pub fn changed(&self, change: &Change) {
        let known = self
            .by_name
            .lock()
            .expect("no code panics while it holds this lock");
        if let Some(zone) = known.get(&change.zone) {
            zone.forget_too(change);
        }
    }

    pub fn commit(&self, zones: &[Arc<Zone<H>>]) {
        for disk in zones.iter().filter_map(|zone| zone.disk.as_ref()) {
            disk.start();
        }
        zones.iter().for_each(|zone| zone.fit());
        *self
            .by_name
            .lock()
            .expect("no code panics while it holds this lock") = zones
            .iter()
            .map(|z| (z.settings.name.clone(), z.clone()))
            .collect();
    }
}
