//! What lasts: a database and a folder of photos, shared by every process on them. The database is
//! SQLite in the data folder; what another one would spell differently is `dialect`'s.

mod audit;
mod batch;
mod bookings;
mod connect;
mod dialect;
mod files;
mod idempotency;
mod issues;
mod jobs;
mod listings;
mod payments;
mod photos;
mod search;
mod seed;
mod sessions;
mod tasks;
mod users;

pub use audit::By;
pub use batch::Batches;
pub use bookings::Booked;
pub use files::{PhotoFiles, Refused};
pub use idempotency::Key;
pub use jobs::Claim;
pub use listings::Removed;
pub use payments::{Applied, StartedPayment};
pub use photos::{Added, Photo, RenditionMade};
pub use seed::SeedListing;
pub use sessions::Refreshed;
pub use users::Known;

use dialect::Dialect;
use sqlx::{Any, AnyPool, Result, Transaction, query_scalar};

pub struct Store {
    readers: AnyPool,
    /// SQLite's has one connection: writers of this process queue here, in order, instead of racing
    /// for its lock, where whoever waits longest has no better chance.
    writer: AnyPool,
    dialect: Dialect,
}

/// Nothing of it lasts unless it is committed.
type Writing = Transaction<'static, Any>;

impl Store {
    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        query_scalar::<Any, i64>("SELECT count(*) FROM jobs_done")
            .fetch_one(&self.readers)
            .await
            .map(drop)
    }

    /// Waits for running statements, and has SQLite fold its log back into the database.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// By pool: connections that are open, and those of them that nobody uses.
    pub fn connections(&self) -> [(&'static str, u32, usize); 2] {
        let of = |name, pool: &AnyPool| (name, pool.size(), pool.num_idle());
        [of("read", &self.readers), of("write", &self.writer)]
    }

    /// Takes the lock for writing at the start where that is SQLite's: a transaction that reads
    /// first and then finds somebody else writing could only give up.
    async fn write(&self) -> Result<Writing> {
        self.writer.begin_with(self.dialect.begin()).await
    }
}
