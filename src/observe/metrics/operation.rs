//! Metrics of how the edge is run: its configurations and its traces.

use super::register::Make;
use prometheus::{Gauge, IntCounter, IntGauge};

/// Of configuration loads.
pub struct ConfigMetrics {
    /// Those that succeeded, the first one included.
    pub loads: IntCounter,
    /// Unix time of the last one.
    pub loaded: Gauge,
    /// Those refused; the configuration before them stays in force.
    pub failures: IntCounter,
    /// 1 while the file on disk could not be loaded at the last try, else 0.
    pub stale: IntGauge,
}

impl ConfigMetrics {
    pub fn new(make: &Make<'_>) -> ConfigMetrics {
        ConfigMetrics {
            loads: make.counter("lakh_config_loads_total", "Configurations put in force."),
            failures: make.counter(
                "lakh_config_load_failures_total",
                "Configurations refused; the one before stays in force.",
            ),
            loaded: make.float_gauge(
                "lakh_config_loaded_timestamp_seconds",
                "When the configuration in force was put in force.",
            ),
            stale: make.gauge(
                "lakh_config_stale",
                "1 while the last try to load the configuration failed.",
            ),
        }
    }
}

/// Of traces: spans by what became of them.
#[derive(Clone)]
pub struct TraceMetrics {
    /// The collector has them.
    pub exported: IntCounter,
    /// There was no room in the queue.
    pub dropped: IntCounter,
    /// The collector did not take them.
    pub failed: IntCounter,
}

impl TraceMetrics {
    pub fn new(make: &Make<'_>) -> TraceMetrics {
        let spans = make.counters(
            "lakh_trace_spans_total",
            "Spans by what became of them: exported, dropped (no room), failed (no collector took them).",
            &["result"],
        );
        let result = |r: &str| spans.with_label_values(&[r]);
        TraceMetrics {
            exported: result("exported"),
            dropped: result("dropped"),
            failed: result("failed"),
        }
    }
}
