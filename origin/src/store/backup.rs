//! A database's rows, of all tables, a line of JSON for each. What one kind of database has written another one
//! reads, which is also the way from SQLite to PostgreSQL.

use super::{Store, Writing, dialect::Dialect};
use futures_util::TryStreamExt;
use serde_json::{Map, Value, json};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Column, Row, ValueRef, query, query_scalar, raw_sql};
use std::error::Error;
use std::io::Write;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Those that others refer to come first.
const TABLES: [&str; 29] = [
    "users",
    "sessions",
    "spent_tokens",
    "audit",
    "listings",
    "photos",
    "renditions",
    "jobs_done",
    "jobs",
    "bookings",
    "booked_days",
    "idempotency",
    "payments",
    "payment_events",
    "issues",
    "issue_steps",
    "issue_photos",
    "tasks",
    "devices",
    "messages",
    "requests",
    "letters",
    "exports",
    "files",
    "file_chunks",
    "profiles",
    "events",
    "matches",
    "epochs",
];

/// Those that number their rows.
const NUMBERED: [&str; 19] = [
    "users",
    "audit",
    "listings",
    "photos",
    "jobs",
    "bookings",
    "payments",
    "issues",
    "issue_steps",
    "issue_photos",
    "tasks",
    "messages",
    "requests",
    "letters",
    "exports",
    "files",
    "events",
    "matches",
    "epochs",
];

/// A database that a backup is read into. All of it lasts, or nothing.
pub struct Restoring {
    writing: Writing,
    dialect: Dialect,
}

/// A backup of another schema can't be read.
pub fn schema() -> usize {
    Dialect::Sqlite.migrations().len()
}

impl Store {
    /// All rows at one moment, each in a line. How many there are.
    pub async fn backup(&self, file: &mut impl Write) -> Result<u64> {
        let reader = self.nodes.writer()?;
        let mut reading = reader.begin_with(self.dialect.begin_snapshot()).await?;
        let take_time = raw_sql(self.dialect.take_time());
        take_time.execute(&mut *reading).await?;
        let mut count = 0;
        for table in TABLES {
            let sql = AssertSqlSafe(format!("SELECT * FROM {table} ORDER BY 1"));
            let mut rows = query(sql).fetch(&mut *reading);
            while let Some(row) = rows.try_next().await? {
                writeln!(file, "{}", json!([table, fields(&row)?]))?;
                count += 1;
            }
        }
        Ok(count)
    }

    /// Only what has nobody's data yet.
    pub async fn restoring(&self) -> Result<Restoring> {
        let mut writing = self.write().await?;
        let take_time = raw_sql(self.dialect.take_time());
        take_time.execute(&mut *writing).await?;
        let sql = "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM messages) \
                   + (SELECT count(*) FROM requests)";
        let there: i64 = query_scalar(sql).fetch_one(&mut *writing).await?;
        if there > 0 {
            return Err("there is something in this database; restore into an empty one".into());
        }
        // Of shards that it was to have.
        query("DELETE FROM epochs").execute(&mut *writing).await?;
        let dialect = self.dialect;
        Ok(Restoring { writing, dialect })
    }
}

impl Restoring {
    pub async fn insert(&mut self, table: &str, row: Map<String, Value>) -> Result<()> {
        insert(&mut self.writing, table, row).await
    }

    pub async fn finish(mut self) -> Result<()> {
        for table in NUMBERED {
            let sql = AssertSqlSafe(self.dialect.number_on(table));
            raw_sql(sql).execute(&mut *self.writing).await?;
        }
        Ok(self.writing.commit().await?)
    }
}

/// Without those that are NULL.
pub(super) fn fields(row: &AnyRow) -> sqlx::Result<Map<String, Value>> {
    let mut fields = Map::new();
    for column in row.columns() {
        if row.try_get_raw(column.ordinal())?.is_null() {
            continue;
        }
        let value = match row.try_get::<i64, _>(column.ordinal()) {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(row.try_get::<String, _>(column.ordinal())?),
        };
        fields.insert(column.name().to_owned(), value);
    }
    Ok(fields)
}

pub(super) async fn insert(
    writing: &mut Writing,
    table: &str,
    row: Map<String, Value>,
) -> Result<()> {
    let plain = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    if !TABLES.contains(&table) || !row.keys().all(|name| plain(name)) {
        return Err(format!("there is no such table or column: {table}").into());
    }
    let names: Vec<&str> = row.keys().map(String::as_str).collect();
    Ok(writing.insert(table, &names, [row.values()]).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(dialect: Dialect) -> Vec<String> {
        let steps = dialect.migrations().iter();
        let made = steps.flat_map(|step| step.split("CREATE TABLE ").skip(1));
        let mut names: Vec<_> = made
            .flat_map(|rest| rest.split_whitespace().next().map(str::to_owned))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn no_table_is_forgotten() {
        let mut known = TABLES.map(str::to_owned).to_vec();
        // Who is at what is over when a backup is read.
        known.extend(["leases", "copies_look"].map(String::from));
        known.sort();
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            assert_eq!(tables(dialect), known);
        }
    }
}
