//! Opening a database, and bringing it to the schema that this version knows.

use super::{Store, Writing, dialect::Dialect};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_drivers};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Error, Result, raw_sql};
use std::{fs, path::Path, sync::Once, time::Duration};

/// How long a writer waits for those of other processes, and a request for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// What every connection to SQLite is told. WAL lets readers go on while one process writes.
const SQLITE_WRITER: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; \
    PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;";
const SQLITE_READER: &str = "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON;";

const SQLITE_READERS: u32 = 4;

static DRIVERS: Once = Once::new();

impl Store {
    /// Opens and migrates the SQLite database in that folder. Safe when several processes do so at
    /// once only under `start.lock`: switching a new file to WAL needs it undivided.
    pub async fn open(folder: &Path) -> Result<Self> {
        let folder = fs::canonicalize(folder)?;
        let Some(folder) = folder
            .to_str()
            .filter(|path| !path.contains(['?', '#', '%']))
        else {
            let reason = "the data folder's name must be text without ?, # and %";
            return Err(Error::Configuration(reason.into()));
        };
        let url = format!("sqlite://{folder}/lakh.sqlite?mode=rwc");
        let writer = connect(&url, 1, SQLITE_WRITER).await?;
        migrate(&writer, Dialect::Sqlite).await?;
        let readers = connect(&url, SQLITE_READERS, SQLITE_READER).await?;
        Ok(Self {
            readers,
            writer,
            dialect: Dialect::Sqlite,
        })
    }
}

async fn connect(url: &str, connections: u32, greeting: &'static str) -> Result<AnyPool> {
    DRIVERS.call_once(|| {
        install_drivers(&[sqlx::sqlite::any::DRIVER]).expect("drivers are installed only here");
    });
    let options: AnyConnectOptions = url.parse()?;
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .after_connect(move |connection: &mut AnyConnection, _| {
            Box::pin(async move { raw_sql(greeting).execute(connection).await.map(drop) })
        })
        .connect_with(options)
        .await
}

/// Every step leads from the schema before it to the next, all of them or none.
async fn migrate(writer: &AnyPool, dialect: Dialect) -> Result<()> {
    let mut writing: Writing = writer.begin_with(dialect.begin()).await?;
    let done: i64 = sqlx::query_scalar(dialect.schema_version())
        .fetch_one(&mut *writing)
        .await?;
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    let Some(open) = dialect.migrations().get(done..) else {
        let reason = "the data was made by a newer version";
        return Err(Error::Configuration(reason.into()));
    };
    for step in open {
        raw_sql(*step).execute(&mut *writing).await?;
    }
    if !open.is_empty() {
        let now = dialect.set_schema_version(dialect.migrations().len());
        raw_sql(AssertSqlSafe(now)).execute(&mut *writing).await?;
    }
    writing.commit().await
}
