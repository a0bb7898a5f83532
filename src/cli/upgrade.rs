//! `lakh upgrade`: the program as it is on disk serves, and the one before drains.

use super::running::{self, Running};
use crate::lifecycle::UPGRADE_PATIENCE;
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;

pub fn upgrade(edge: &Running) -> ExitCode {
    // A little more than the edge itself waits: it says what went wrong.
    let patience = UPGRADE_PATIENCE + Duration::from_secs(5);
    let said = edge.order_long("/api/v1/upgrade", patience);
    running::conclude(said.map(|said| {
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        format!("process {} serves now; the one before drains", said["pid"])
    }))
}
