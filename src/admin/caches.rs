//! `GET /api/v1/cache`: what each cache holds, and how it is asked.

use crate::runtime::Runtime;
use serde_json::{Value, json};

pub fn show(runtime: &Runtime) -> Value {
    let zones = runtime.zones.iter().map(|zone| {
        zone.report();
        let (settings, metrics) = (zone.settings(), &zone.metrics);
        json!({
            "name": zone.name(),
            "memory": settings.memory,
            "max_object": settings.max_object,
            "disk": settings.disk.as_ref().map(|disk| disk.size),
            "redis": settings.redis.is_some(),
            "bytes": metrics.bytes.get(),
            "objects": metrics.objects.get(),
            "hits": metrics.hits.get(),
            "stale": metrics.stale.get(),
            "misses": metrics.misses.get(),
            "revalidated": metrics.revalidated.get(),
            "collapsed": metrics.collapsed.get(),
            "passed": metrics.bypassed.get(),
            "evicted": metrics.evicted.get(),
        })
    });
    json!({"caches": zones.collect::<Vec<_>>()})
}
