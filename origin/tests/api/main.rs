//! Walks through the whole API of the real binary, alone and as several processes on one data folder. Every
//! answer is held against the OpenAPI document on the way.

mod harness;

mod backup;
mod bookings;
mod buckets;
mod devices;
mod events;
mod exports;
mod files;
mod issues;
mod letters;
mod listings;
mod operation;
mod people;
mod photos;
mod retention;
mod search;
mod sessions;
mod shards;
mod sockets;
mod two_names;

/// SQLite, which needs no URL.
fn database() -> Option<String> {
    None
}
