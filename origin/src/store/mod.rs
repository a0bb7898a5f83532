//! What lasts: a SQLite database and a folder of photos, shared by every process on the data
//! folder. WAL lets readers go on while one process writes.

mod files;
mod listings;
mod photos;
mod seed;
mod users;

pub use files::{PhotoFiles, Refused};
pub use photos::Added;
pub use seed::SeedListing;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, Error, Result, raw_sql};
use std::{path::Path, time::Duration};

/// Every step leads from the schema before it to the next; a released step never changes.
const MIGRATIONS: &[&str] = &[include_str!("schema_1.sql")];

const READERS: u32 = 4;

/// How long a writer waits for those of other processes, and a request for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Store {
    readers: SqlitePool,
    /// One connection: writers of this process queue here, in order, instead of racing for
    /// SQLite's lock, where whoever waits longest has no better chance.
    writer: SqlitePool,
}

impl Store {
    /// Opens and migrates. Safe when several processes do so at once only under `start.lock`:
    /// switching a new file to WAL needs it undivided.
    pub async fn open(folder: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(folder.join("lakh.sqlite"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(PATIENCE)
            .foreign_keys(true);
        let writer = pool(1).connect_with(options.clone()).await?;
        migrate(&writer).await?;
        let readers = pool(READERS)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Self { readers, writer })
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        let one: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs_done")
            .fetch_one(&self.readers)
            .await?;
        debug_assert!(one >= 0);
        Ok(())
    }

    /// Waits for running statements and folds the log back into the database.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
}

async fn migrate(writer: &SqlitePool) -> Result<()> {
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await?;
    let done: i64 = sqlx::query_scalar("PRAGMA user_version")
        .fetch_one(&mut *transaction)
        .await?;
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    let Some(open) = MIGRATIONS.get(done..) else {
        return Err(Error::Configuration(
            "the data folder was made by a newer version".into(),
        ));
    };
    for step in open {
        raw_sql(*step).execute(&mut *transaction).await?;
    }
    let version = format!("PRAGMA user_version = {}", MIGRATIONS.len());
    raw_sql(AssertSqlSafe(version))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}
