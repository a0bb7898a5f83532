//! Slower tiers below a zone's memory. They outlive the process, and a fleet shares the one in
//! Redis. A fill asks them before it fetches, and what is stored is handed down to them in the
//! background. A tier that fails answers "nothing is stored": never with an error, never late.
//!
//! `record` is an object as bytes, and `shelf` says under which keys it lies. `redis` and `disk` are
//! the tiers; `fleet` and `outbox` are what edges tell each other over Redis; `journal` are the purges on disk; and `marks` knows which of all these a
//! record's edge had heard of.

mod disk;
mod fleet;
mod journal;
mod marks;
mod note;
mod outbox;
mod record;
mod redis;
mod settings;
mod shelf;

pub use disk::Disk;
pub(in crate::cache) use journal::Journal;
pub use note::Change;
pub use redis::{Redis, RedisTier, Told};
pub use settings::{DiskSettings, RedisTierSettings};
pub use shelf::{Found, Place, made_root};
