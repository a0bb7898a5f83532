//! What the edge tells its operators: metrics and the access log.

mod access_log;
mod handles;
mod metrics;
mod register;
mod settings;

pub use access_log::{AccessLog, Line};
pub use handles::{
    AuthMetrics, CacheMetrics, CodingMetrics, CodingsMetrics, ConfigMetrics, DiskMetrics,
    ImageMetrics, KeysMetrics, LimitMetrics, LinkMetrics, PoolMetrics, RedisMetrics, Refusal,
    RouteMetrics, ServerMetrics, TierMetrics,
};
pub use metrics::Metrics;
pub use settings::{AccessLogSettings, LogTarget};
