//! What the edge tells its operators: metrics and the access log.

mod access_log;
mod handles;
mod heavy;
mod images;
mod metrics;
mod process;
mod recent;
mod register;
mod requests;
mod settings;
mod tls;

pub use access_log::{AccessLog, Line};
pub use handles::{
    AuthMetrics, CacheMetrics, CodingMetrics, CodingsMetrics, ConfigMetrics, DiskMetrics,
    KeysMetrics, LimitMetrics, LinkMetrics, PoolMetrics, RedisMetrics, Refusal, ServerMetrics,
    TierMetrics,
};
pub use images::ImageMetrics;
pub use metrics::Metrics;
pub use recent::{Picture, Recent, SLOW_PICTURE};
pub use requests::RouteMetrics;
pub use settings::{AccessLogSettings, LogTarget};
pub use tls::{Handshake, TlsMetrics};
