//! Whose turn it is: the pure core of picking a server.
//!
//! A `Pool` asks with a question of its own, "how many requests does this server carry, if it may
//! have one more?", so nothing here knows sockets or health. Runs on every request that goes
//! upstream: it must never lock, allocate, or give anything to a weight of 0.

mod ring;
mod shares;

pub use ring::{Ring, hash_of, mix};
pub use shares::{Share, Shares, Turns};
