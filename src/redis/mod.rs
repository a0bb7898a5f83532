//! The way to Redis, for all that keep something there: the caches, the limits of a fleet, and its
//! certificates.
//!
//! Every use has a connection of its own, so that a large record of one never holds up the others,
//! and a breaker of its own. What is said to Redis is the business of those who use it.

mod link;
mod outage;
mod script;
mod settings;

pub use link::{Ear, Heard, Link, Mark};
pub use script::Script;
pub use settings::{RedisSettings, RedisUrl};
