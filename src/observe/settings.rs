//! The access log as its operator wrote it.

use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogSettings {
    pub to: LogTarget,
    /// Share of requests that are written, 0.0 to 1.0. Answers of 500 and above always are.
    pub sample: f64,
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
            sample: 1.0,
        }
    }
}
