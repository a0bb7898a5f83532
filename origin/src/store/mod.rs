//! What lasts: a database and a folder of photos, shared by every process on them. The database is
//! SQLite in the data folder, or PostgreSQL; what they spell differently is `dialect`'s.

mod audit;
mod backup;
mod batch;
mod bookings;
mod connect;
mod devices;
mod dialect;
mod events;
mod exports;
mod files;
mod idempotency;
mod issues;
mod jobs;
mod large_files;
mod leases;
mod letters;
mod listings;
mod matches;
mod moving;
mod nodes;
mod numbering;
mod payments;
mod photos;
mod profiles;
mod reading;
mod search;
mod seed;
mod sessions;
mod standing;
mod tasks;
mod timelines;
mod users;
mod writing;

pub use audit::By;
pub use backup::{Restoring, schema};
pub use batch::Batches;
pub use bookings::Booked;
pub use exports::Export;
pub use files::{PhotoFiles, Received, Refused};
pub use idempotency::Key;
pub use issues::PhotoAdded;
pub use jobs::{Claim, MOST_FORGOTTEN};
pub use large_files::{ChunkAdded, LargeFile, StoredChunk};
pub use listings::Removed;
pub use payments::{Applied, StartedPayment};
pub use photos::{Added, Photo, RenditionMade};
pub use seed::SeedListing;
pub use sessions::Refreshed;
pub use standing::History;
pub use users::Known;

use dialect::Dialect;
use nodes::Nodes;
use reading::Reader;
use sessions::InRedis;
use sqlx::{Any, Result, query_scalar};
use std::sync::Arc;
use tokio::task::JoinSet;
use writing::Writing;

pub struct Store {
    nodes: Arc<Nodes>,
    dialect: Dialect,
    /// Else they are in the database.
    redis: Option<InRedis>,
    /// Ends with the store.
    _watch: JoinSet<()>,
}

impl Store {
    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        query_scalar::<Any, i64>("SELECT count(*) FROM jobs_done")
            .fetch_one(self.reader())
            .await
            .map(drop)
    }

    /// Waits for running statements, and has SQLite fold its log back into the database.
    pub async fn close(&self) {
        self.nodes.close().await;
    }

    /// By pool: connections that are open, and those of them that nobody uses.
    pub fn connections(&self) -> [(&'static str, u32, usize); 2] {
        self.nodes.connections()
    }

    /// Of the database's nodes: how many there are, and how many are used as what.
    pub fn node_counts(&self) -> [(&'static str, usize); 3] {
        self.nodes.counts()
    }

    /// Whether there is a node that takes writes, as far as is known.
    pub fn is_reachable(&self) -> bool {
        self.nodes.writer().is_ok()
    }

    /// Whether there is a node that can be read, as far as is known.
    pub fn is_readable(&self) -> bool {
        self.nodes.is_readable()
    }

    /// Changes when another primary goes on, which may lack what was committed last.
    pub fn history(&self) -> Option<History> {
        self.nodes.history()
    }

    fn reader(&self) -> Reader<'_> {
        self.nodes.reader()
    }
}
