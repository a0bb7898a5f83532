//! The access log and tracing as their operator wrote them.

use super::access_log::{LogFormat, Redaction};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogSettings {
    pub to: LogTarget,
    pub format: LogFormat,
    /// Share of requests that are written, 0.0 to 1.0. Failures and slow ones always are.
    pub sample: f64,
    /// From here on a request is slow.
    pub slow: Duration,
    /// Queries are written too.
    pub query: bool,
    pub redact: Redaction,
    /// Of clients' addresses only the network is written.
    pub truncate: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TracingSettings {
    /// The URL of a collector, whole; None: nothing is traced.
    pub otlp: Option<String>,
    /// Share of requests that are traced, 0.0 to 1.0, where nobody has decided before.
    pub sample: f64,
    /// What the edge is called in traces.
    pub service: String,
}

impl Default for TracingSettings {
    fn default() -> TracingSettings {
        TracingSettings {
            otlp: None,
            sample: 0.01,
            service: "lakh".into(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    #[default]
    Stdout,
    None,
    File(PathBuf),
}

impl Default for AccessLogSettings {
    fn default() -> AccessLogSettings {
        AccessLogSettings {
            to: LogTarget::Stdout,
            format: LogFormat::Json(Vec::new()),
            sample: 1.0,
            slow: Duration::from_secs(1),
            query: false,
            redact: Redaction::default(),
            truncate: false,
        }
    }
}
