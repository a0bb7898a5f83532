//! Numbers of messages, requests, jobs and what is noted, which no two shards give. A database that becomes a shard takes an epoch
//! from the main one and numbers on from there; the main database itself is the first epoch's.

use super::Store;
use crate::domain::clock::Moment;
use crate::domain::ranges::Range;
use sqlx::{AssertSqlSafe, Result, query_scalar, raw_sql};

/// In one epoch; after four thousand of them numbers are still exact in JSON.
const EPOCH: i64 = 1 << 40;

/// Those that shards have rows in.
const TABLES: [&str; 4] = ["messages", "requests", "jobs", "audit"];

impl Store {
    /// Where the next one to become a shard begins to count. None is given twice.
    pub async fn next_epoch(&self) -> Result<i64> {
        let mut writing = self.write().await?;
        let epoch: i64 = query_scalar("INSERT INTO epochs (taken_at) VALUES ($1) RETURNING id")
            .bind(Moment::now().iso())
            .fetch_one(&mut *writing)
            .await?;
        writing.commit().await?;
        Ok(epoch * EPOCH)
    }

    /// Whether it has been a shard before, with all of these.
    pub async fn is_numbered(&self) -> Result<bool> {
        for table in TABLES {
            let last = self.dialect.last_number(table);
            let last: i64 = query_scalar(AssertSqlSafe(last))
                .fetch_one(self.nodes.writer()?)
                .await?;
            if last < EPOCH {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Unless its numbers are higher already.
    pub async fn number_from(&self, first: i64) -> Result<()> {
        let mut writing = self.write().await?;
        for table in TABLES {
            let sql = self.dialect.number_after(table, first);
            raw_sql(AssertSqlSafe(sql)).execute(&mut *writing).await?;
        }
        writing.commit().await
    }

    /// Some device of these that something here belongs to.
    pub async fn device_within(&self, range: &Range) -> Result<Option<String>> {
        let device = format!("device {}", self.dialect.bytewise());
        let mut within = format!("device <> '' AND {device} >= '{}'", range.first);
        if let Some(until) = &range.until {
            within += &format!(" AND {device} < '{until}'");
        }
        // The ends of ranges are names of devices, which have no quotes.
        let sql = format!(
            "SELECT device FROM (SELECT device FROM requests WHERE {within} UNION ALL \
             SELECT device FROM messages WHERE {within}) AS found LIMIT 1"
        );
        query_scalar(AssertSqlSafe(sql))
            .fetch_optional(self.reader())
            .await
    }
}
