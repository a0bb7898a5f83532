//! Opening a database, and bringing it to the schema that this version knows.

use super::nodes::{Node, Nodes};
use super::{
    Store, dialect::Dialect, listings::fold_places, sessions::InRedis, timelines::Timelines,
};
use crate::settings::{Sessions, Settings};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_drivers};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Error, Result, raw_sql};
use std::sync::{Arc, Once};
use std::{fs, io, path::Path, time::Duration};
use tokio::{sync::Notify, time};

const SQLITE_READERS: u32 = 4;

/// Of each process, on each node; PostgreSQL has a hundred for all unless told otherwise.
const POSTGRES_READERS: u32 = 8;
const POSTGRES_WRITERS: u32 = 8;

/// What every connection is told. WAL lets readers go on while one process writes.
const SQLITE_WRITER: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; \
    PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;";
const SQLITE_READER: &str = "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON;";

/// Longer than any of the statements here takes, and shorter than anybody waits.
const POSTGRES_WRITER: &str = "SET statement_timeout = '10s'; SET lock_timeout = '5s'; \
    SET idle_in_transaction_session_timeout = '30s';";
const POSTGRES_READER: &str =
    "SET statement_timeout = '10s'; SET default_transaction_read_only = on;";

/// How long a writer waits for those of other processes, and a request for a connection.
const SQLITE_PATIENCE: Duration = Duration::from_secs(10);
const POSTGRES_PATIENCE: Duration = Duration::from_secs(3);

/// For a node that takes writes, when this process starts.
const START_PATIENCE: Duration = Duration::from_secs(30);

static DRIVERS: Once = Once::new();

impl Store {
    /// Opens and migrates the database that the settings name: PostgreSQL by its URL, else SQLite in the data
    /// folder. That is safe in several processes at once only under `start.lock`: switching a new file to
    /// WAL needs it undivided.
    pub async fn open(settings: &Settings) -> Result<Self> {
        let (nodes, dialect) = match &settings.database {
            None => (vec![sqlite(&in_folder(&settings.data)?)?], Dialect::Sqlite),
            Some(primary) => {
                let urls = [primary].into_iter().chain(&settings.replicas);
                let nodes: Result<_> = urls.map(|url| postgres(url)).collect();
                (nodes?, Dialect::Postgres)
            }
        };
        let nodes = Nodes::of(nodes, Timelines::below(&settings.data));
        Self::on(nodes, dialect, sessions_in_redis(settings)?).await
    }

    /// The database at that URL, of either kind, and nothing beside it. What is known of it is in the data folder.
    pub async fn open_at(url: &str, data: &Path) -> Result<Self> {
        Self::open_nodes(&[url], data).await
    }

    /// PostgreSQL's nodes, one of which is the primary; or SQLite, which is one.
    pub async fn open_nodes(urls: &[&str], data: &Path) -> Result<Self> {
        let file = urls.first().and_then(|url| url.strip_prefix("sqlite://"));
        let (nodes, dialect) = match file {
            Some(file) if urls.len() == 1 => (vec![sqlite(file)?], Dialect::Sqlite),
            _ => {
                let nodes: Result<_> = urls.iter().map(|url| postgres(url)).collect();
                (nodes?, Dialect::Postgres)
            }
        };
        let nodes = Nodes::of(nodes, Timelines::below(data));
        Self::on(nodes, dialect, None).await
    }

    async fn on(nodes: Nodes, dialect: Dialect, redis: Option<InRedis>) -> Result<Self> {
        let nodes = Arc::new(nodes);
        let store = Self {
            _watch: nodes.watch(),
            nodes,
            dialect,
            redis,
        };
        let primary = time::timeout(START_PATIENCE, store.nodes.primary()).await;
        primary.map_err(|_| Error::Io(io::Error::other("no database node takes writes")))?;
        store.migrate().await?;
        Ok(store)
    }

    /// Every step leads from the schema before it to the next, all of them or none.
    async fn migrate(&self) -> Result<()> {
        let mut writing = self.write().await?;
        raw_sql(self.dialect.before_migrations())
            .execute(&mut *writing)
            .await?;
        let done: i64 = sqlx::query_scalar(self.dialect.schema_version())
            .fetch_one(&mut *writing)
            .await?;
        let done = usize::try_from(done).unwrap_or(usize::MAX);
        let Some(open) = self.dialect.migrations().get(done..) else {
            let reason = "the data was made by a newer version";
            return Err(Error::Configuration(reason.into()));
        };
        for step in open {
            raw_sql(*step).execute(&mut *writing).await?;
        }
        if !open.is_empty() {
            fold_places(&mut writing).await?;
            let now = self
                .dialect
                .set_schema_version(self.dialect.migrations().len());
            raw_sql(AssertSqlSafe(now)).execute(&mut *writing).await?;
        }
        writing.commit().await
    }
}

fn sessions_in_redis(settings: &Settings) -> Result<Option<InRedis>> {
    let url = settings.redis.as_deref();
    let url = url.filter(|_| settings.sessions == Sessions::Redis);
    let at = |url| InRedis::at(url).map_err(|error| Error::Configuration(error.into()));
    url.map(at).transpose()
}

/// The path of the database that a data folder has.
fn in_folder(folder: &Path) -> Result<String> {
    let file = fs::canonicalize(folder)?.join("lakh.sqlite");
    let not_text = || Error::Configuration("the data folder's name must be text".into());
    file.to_str().map(str::to_owned).ok_or_else(not_text)
}

fn sqlite(file: &str) -> Result<Node> {
    if file.contains(['?', '#', '%']) {
        let reason = "the path of SQLite's file must be without ?, # and %";
        return Err(Error::Configuration(reason.into()));
    }
    let url = format!("sqlite://{file}?mode=rwc");
    let pool = |most, greeting| pool(&url, most, SQLITE_PATIENCE, greeting);
    Ok(Node {
        read: pool(SQLITE_READERS, SQLITE_READER)?,
        write: pool(1, SQLITE_WRITER)?,
        ask: None,
        look: Notify::new(),
    })
}

fn postgres(url: &str) -> Result<Node> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        let reason = "a database's URL begins with postgres://";
        return Err(Error::Configuration(reason.into()));
    }
    let pool = |most, greeting| pool(url, most, POSTGRES_PATIENCE, greeting);
    Ok(Node {
        read: pool(POSTGRES_READERS, POSTGRES_READER)?,
        write: pool(POSTGRES_WRITERS, POSTGRES_WRITER)?,
        ask: Some(pool(1, POSTGRES_READER)?),
        look: Notify::new(),
    })
}

fn install() {
    DRIVERS.call_once(|| {
        install_drivers(&[sqlx::sqlite::any::DRIVER, sqlx::postgres::any::DRIVER])
            .expect("drivers are installed only here");
    });
}

/// Connections are made when they are needed: a node that isn't there now may be later.
fn pool(url: &str, most: u32, patience: Duration, greeting: &'static str) -> Result<AnyPool> {
    install();
    let options: AnyConnectOptions = url.parse()?;
    let pool = AnyPoolOptions::new()
        .max_connections(most)
        .acquire_timeout(patience)
        .after_connect(move |connection: &mut AnyConnection, _| {
            Box::pin(async move { raw_sql(greeting).execute(connection).await.map(drop) })
        });
    Ok(pool.connect_lazy_with(options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::search::SearchQuery;
    use sqlx::Connection;

    const PEOPLE: &str = "INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.org')";

    /// A database that had that schema and these rows, and is opened now.
    async fn opened(folder: &Path, schema: usize, rows: &[&str]) -> Store {
        let file = format!("sqlite://{}/store", folder.display());
        install();
        let dialect = Dialect::Sqlite;
        let mut former = AnyConnection::connect(&format!("{file}?mode=rwc"))
            .await
            .expect("a new database");
        let version = dialect.set_schema_version(schema);
        let steps = &dialect.migrations()[..schema];
        for sql in steps.iter().chain(rows).chain([&version.as_str()]) {
            let done = raw_sql(AssertSqlSafe((*sql).to_owned()))
                .execute(&mut former)
                .await;
            done.expect("it is written");
        }
        former.close().await.expect("it is whole");
        let store = Store::open_at(&file, folder).await;
        store.expect("it is brought here")
    }

    #[tokio::test]
    async fn places_of_before_are_folded_when_the_database_is_opened() {
        let things = "INSERT INTO listings (owner_id, title, text, category, price_cents, place, available) \
                      VALUES (1, 'Ladder', 'x', 'tools', 1, 'Österreicher Straße', 1)";
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = opened(folder.path(), 10, &[PEOPLE, things]).await;
        let search = SearchQuery::for_place("ÖSTERREICHER STRASSE").check();
        let found = store.listings(&search.expect("a good question")).await;
        assert_eq!(found.expect("it is read").len(), 1);
    }

    #[tokio::test]
    async fn photos_that_an_issue_showed_before_its_last_one_are_among_its_photos() {
        let issues = "INSERT INTO issues (reporter_id, title, text, place, photo, state, created_at, updated_at) \
                      VALUES (1, 'Lamp', 'x', 'y', 'b.png', 'open', '', ''), \
                      (1, 'Bench', 'x', 'y', 'c.png', 'open', '', '')";
        let notes = r#"INSERT INTO audit (at, action, subject, detail) VALUES
            ('1', 'add_photo', 'issue 1', '{"photo":"a.png"}'), ('2', 'add_photo', 'issue 1', '{"photo":"b.png"}'),
            ('3', 'add_photo', 'listing 1', '{"photo":"d.png"}'), ('4', 'issue', 'issue 1', '{"state":"open"}')"#;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = opened(folder.path(), 11, &[PEOPLE, issues, notes]).await;
        for (id, expected) in [
            (1, &["/photos/a.png", "/photos/b.png"][..]),
            (2, &["/photos/c.png"]),
        ] {
            let issue = store.issue(id).await.expect("it is read");
            assert_eq!(issue.expect("it is there").photos, expected);
        }
    }
}
