//! Upstreams: which server gets a request, and whether that server is well.
//!
//! `proxy` picks a server from a `Pool`, holds it by a `Lease` and tells it how the request went;
//! `fetch` does the same for the cache. `runtime` owns the one `Registry`, which makes the pools of
//! each configuration. Picking must never lock, wait or log: it happens on every request.

mod balance;
mod clock;
mod random;

mod group;
mod health;
mod server;

mod pool;
mod public;
mod view;

mod split;
mod sticky;

mod announce;
mod client;
mod download;
mod gate;
mod gradient;
mod journal;
mod retry;

mod by_hand;
mod discovery;
mod registry;
mod scale;
mod settings;
mod transport;

#[cfg(test)]
mod fixtures;

pub use announce::{Ends, ProxyProtocol};
pub use balance::hash_of;
pub use by_hand::ByHand;
pub use client::{Client, Fetch, Response, broken, frame_once, no_connection, peer};
pub use clock::Time;
pub use gate::{Busy, Gate, Turn};
pub use gradient::Bounds;
pub use group::{Group, WebSocket};
pub use health::{Outcome, State};
pub use journal::{Attempt, Journal};
pub use pool::{Asked, Pool, Tried};
pub use public::is_public;
pub use random::{random_below, seed};
pub use registry::{Registry, spawn_ports};
pub use retry::{Tries, budget};
pub use scale::{Carried, Scale};
pub use server::{Lease, Server, ServerId, Shown};
pub use settings::*;
pub use split::{Split, WHOLE};
pub use sticky::Sticky;
pub use transport::{Protocol, Tls, Transport, check_system_trust};
pub use view::Tier;
