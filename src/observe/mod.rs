//! What the edge tells its operators: metrics and the access log.

mod access_log;
mod metrics;
mod settings;

pub use access_log::{AccessLog, Line};
pub use metrics::{
    CacheMetrics, ImageMetrics, LimitMetrics, Metrics, PoolMetrics, Refusal, RouteMetrics,
    ServerMetrics,
};
pub use settings::{AccessLogSettings, LogTarget};
