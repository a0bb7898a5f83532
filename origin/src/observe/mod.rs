//! What this process says about itself: log lines, numbers, and which request they belong to.

pub mod log;
pub mod metrics;
pub mod request;

mod mask;
