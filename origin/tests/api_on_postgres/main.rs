//! The same walks through the API as on SQLite, and what only several nodes of a database can do.

mod postgres;

#[path = "../api/harness/mod.rs"]
mod harness;

#[path = "../api/backup.rs"]
mod backup;
#[path = "../api/bookings.rs"]
mod bookings;
#[path = "../api/buckets.rs"]
mod buckets;
#[path = "../api/devices.rs"]
mod devices;
#[path = "../api/events.rs"]
mod events;
#[path = "../api/exports.rs"]
mod exports;
#[path = "../api/files.rs"]
mod files;
#[path = "../api/issues.rs"]
mod issues;
#[path = "../api/letters.rs"]
mod letters;
#[path = "../api/listings.rs"]
mod listings;
#[path = "../api/operation.rs"]
mod operation;
#[path = "../api/people.rs"]
mod people;
#[path = "../api/photos.rs"]
mod photos;
#[path = "../api/retention.rs"]
mod retention;
#[path = "../api/search.rs"]
mod search;
#[path = "../api/sessions.rs"]
mod sessions;
#[path = "../api/shards.rs"]
mod shards;
#[path = "../api/two_names.rs"]
mod two_names;

mod at_once;
mod moving;
mod replicas;
mod secured;
mod shards_down;
mod unhurried;

fn database() -> Option<String> {
    Some(postgres::database())
}
