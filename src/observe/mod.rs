//! What the edge tells its operators: metrics, the access log, traces.

mod access_log;
mod heavy;
mod metrics;
mod recent;
mod settings;
mod trace;
mod trouble;

pub use access_log::{AccessLog, Line, LogFormat, Phases, Redact, Redaction, Reopened, wall};
pub use metrics::{
    AcmeMetrics, Answers, AuthMetrics, CacheMetrics, CodingMetrics, CodingsMetrics, ConfigMetrics,
    DiskMetrics, Handshake, ImageMetrics, KeysMetrics, LimitMetrics, LinkMetrics, Metrics,
    PoolMetrics, RedisMetrics, Refusal, RouteMetrics, ServerMetrics, TierMetrics, TlsMetrics,
    TraceMetrics,
};
pub use recent::{Picture, Recent, SLOW_PICTURE};
pub use settings::{AccessLogSettings, LogTarget, TracingSettings};
pub use trace::{
    Deliver, Kind, Span, SpanId, TRACEPARENT, TRACESTATE, Trace, TraceId, Traceparent, Tracer,
};
pub use trouble::Trouble;
