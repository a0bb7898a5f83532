//! The slower tiers of a cache, as configured.

use std::path::PathBuf;
use std::time::Duration;

/// `caches.<zone>.disk`.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskSettings {
    /// A folder of its own.
    pub path: PathBuf,
    /// Bytes that all files in it may take.
    pub size: u64,
}

/// `caches.<zone>.redis`.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisTierSettings {
    /// The longest that a record is kept.
    pub ttl: Duration,
    /// Bytes of one body; what is larger stays in memory alone.
    pub max_object: u64,
}
