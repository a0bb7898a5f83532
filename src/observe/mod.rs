//! What the edge tells its operators: metrics, the access log, traces.

mod access_log;
mod acme;
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
mod trace;
mod trouble;

pub use access_log::{AccessLog, Line, LogFormat, Phases, Redact, Redaction, Reopened, wall};
pub use acme::AcmeMetrics;
pub use handles::{
    AuthMetrics, CacheMetrics, CodingMetrics, CodingsMetrics, ConfigMetrics, DiskMetrics,
    KeysMetrics, LimitMetrics, LinkMetrics, PoolMetrics, RedisMetrics, Refusal, ServerMetrics,
    TierMetrics, TraceMetrics,
};
pub use images::ImageMetrics;
pub use metrics::Metrics;
pub use recent::{Picture, Recent, SLOW_PICTURE};
pub use requests::RouteMetrics;
pub use settings::{AccessLogSettings, LogTarget, TracingSettings};
pub use tls::{Handshake, TlsMetrics};
pub use trace::{
    Deliver, Kind, Span, SpanId, TRACEPARENT, TRACESTATE, Trace, TraceId, Traceparent, Tracer,
};
pub use trouble::Trouble;
