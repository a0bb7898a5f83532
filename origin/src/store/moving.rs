//! What belongs to one device, taken out of one database and into another. Nobody else may use either meanwhile.

use super::backup::{fields, insert};
use super::{Store, Writing};
use crate::domain::clock::Moment;
use serde_json::{Map, Value};
use sqlx::{query, query_scalar};
use std::error::Error;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A table and a row of it.
pub type Belonging = (&'static str, Map<String, Value>);

/// Jobs are found by the requests that they are for.
const BELONGINGS: [(&str, &str, &str); 3] = [
    (
        "jobs",
        "SELECT * FROM jobs WHERE kind = 'request' AND subject IN \
         (SELECT CAST(id AS TEXT) FROM requests WHERE device = $1) ORDER BY id",
        "DELETE FROM jobs WHERE kind = 'request' AND subject IN \
         (SELECT CAST(id AS TEXT) FROM requests WHERE device = $1)",
    ),
    (
        "requests",
        "SELECT * FROM requests WHERE device = $1 ORDER BY id",
        "DELETE FROM requests WHERE device = $1",
    ),
    (
        "messages",
        "SELECT * FROM messages WHERE device = $1 ORDER BY id",
        "DELETE FROM messages WHERE device = $1",
    ),
];

impl Store {
    pub async fn belongings_of(&self, device: &str) -> Result<Vec<Belonging>> {
        let mut rows = Vec::new();
        for (table, select, _) in BELONGINGS {
            let found = query(select).bind(device).fetch_all(self.nodes.writer()?);
            for row in found.await? {
                rows.push((table, fields(&row)?));
            }
        }
        Ok(rows)
    }

    /// All of it or nothing, in place of whatever an attempt before this one has left.
    pub async fn take_in(&self, device: &str, rows: &[Belonging]) -> Result<()> {
        let mut writing = self.write().await?;
        remove(&mut writing, device).await?;
        for (table, row) in rows {
            insert(&mut writing, table, row.clone()).await?;
        }
        Ok(writing.commit().await?)
    }

    pub async fn give_away(&self, device: &str) -> Result<()> {
        let mut writing = self.write().await?;
        remove(&mut writing, device).await?;
        Ok(writing.commit().await?)
    }

    /// Whether a process serves on it, or did so seconds ago and did not say that it ended.
    pub async fn is_served(&self, now: Moment) -> Result<bool> {
        let watching = "SELECT count(*) FROM leases WHERE lease >= $1";
        let count: i64 = query_scalar(watching)
            .bind(now.0)
            .fetch_one(self.nodes.writer()?)
            .await?;
        Ok(count > 0)
    }
}

async fn remove(writing: &mut Writing, device: &str) -> Result<()> {
    for (_, _, delete) in BELONGINGS {
        query(delete).bind(device).execute(&mut **writing).await?;
    }
    Ok(())
}
