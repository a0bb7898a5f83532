//! Names that one process holds at a time, for as long as it says so: itself, and what it is at. Who goes
//! silent loses them.

use super::Store;
use crate::domain::clock::Moment;
use sqlx::{Result, query, query_scalar};

impl Store {
    /// Takes a name, or keeps it; whether it is held now.
    pub async fn hold(&self, name: &str, holder: &str, until: Moment, now: Moment) -> Result<bool> {
        let held = query(
            "INSERT INTO leases (name, holder, lease) VALUES ($1, $2, $3) ON CONFLICT (name) \
             DO UPDATE SET holder = $2, lease = $3 WHERE leases.holder = $2 OR leases.lease < $4",
        )
        .bind(name)
        .bind(holder)
        .bind(until.0)
        .bind(now.0)
        .execute(self.nodes.writer()?)
        .await?;
        Ok(held.rows_affected() == 1)
    }

    /// Names that begin so and are held, in order. `prefix` has no wildcards.
    pub async fn held(&self, prefix: &str, now: Moment) -> Result<Vec<String>> {
        query_scalar("SELECT name FROM leases WHERE name LIKE $1 AND lease >= $2 ORDER BY name")
            .bind(format!("{prefix}%"))
            .bind(now.0)
            .fetch_all(self.reader())
            .await
    }

    pub async fn holds_any(&self, holder: &str) -> Result<bool> {
        let count: i64 = query_scalar("SELECT count(*) FROM leases WHERE holder = $1")
            .bind(holder)
            .fetch_one(self.nodes.writer()?)
            .await?;
        Ok(count > 0)
    }

    pub async fn let_go(&self, holder: &str) -> Result<()> {
        query("DELETE FROM leases WHERE holder = $1")
            .bind(holder)
            .execute(self.nodes.writer()?)
            .await
            .map(drop)
    }

    pub(super) async fn forget_leases(&self, now: Moment) -> Result<()> {
        query("DELETE FROM leases WHERE lease < $1")
            .bind(now.0)
            .execute(self.nodes.writer()?)
            .await
            .map(drop)
    }
}
