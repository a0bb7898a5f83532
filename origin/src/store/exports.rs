//! Exports, as text, until they are forgotten.

use super::jobs::{enqueue, finish_in};
use super::users::parsed;
use super::{By, Claim, Store, Writing, audit::note, audit::note_each};
use crate::domain::clock::Moment;
use crate::domain::days::written;
use crate::domain::export::{About, DAYS, MOST_EXPORTS, MOST_ROWS};
use crate::domain::job::{Kind, State};
use serde::Serialize;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Result, Row, query, query_as, query_scalar};

const KEPT_SECONDS: i64 = 7 * 86_400;

#[derive(Serialize)]
pub struct Export {
    pub id: i64,
    pub about: About,
    pub state: State,
    pub created_at: String,
    #[serde(skip)]
    pub owner: i64,
}

impl Store {
    pub async fn ask_export(&self, owner: i64, about: About, by: By) -> Result<i64> {
        let mut writing = self.write().await?;
        let oldest: Vec<i64> = query_scalar(
            "DELETE FROM exports WHERE user_id = $1 AND id IN (SELECT id FROM exports \
             WHERE user_id = $1 ORDER BY id DESC LIMIT 100 OFFSET $2) RETURNING id",
        )
        .bind(owner)
        .bind(MOST_EXPORTS - 1)
        .fetch_all(&mut *writing)
        .await?;
        note_forgotten(&mut writing, &oldest, by).await?;
        let id: i64 = query_scalar(
            "INSERT INTO exports (user_id, about, created_at) VALUES ($1, $2, $3) RETURNING id",
        )
        .bind(owner)
        .bind(about.to_string())
        .bind(by.at.iso())
        .fetch_one(&mut *writing)
        .await?;
        enqueue(&mut writing, Kind::Export, &id.to_string(), by.at).await?;
        let detail = json!({ "about": about });
        note(&mut writing, by, "export", subject(id), detail).await?;
        writing.commit().await?;
        Ok(id)
    }

    pub async fn export(&self, id: i64) -> Result<Option<Export>> {
        query_as(
            "SELECT r.id, r.user_id, r.about, r.created_at, coalesce(j.state, 'done') AS state \
             FROM exports r LEFT JOIN jobs j ON j.kind = 'export' AND j.subject = CAST(r.id AS TEXT) WHERE r.id = $1",
        )
        .bind(id)
        .fetch_optional(self.reader())
        .await
    }

    /// None until it is made.
    pub async fn export_csv(&self, id: i64) -> Result<Option<String>> {
        let csv: Option<Option<String>> = query_scalar("SELECT csv FROM exports WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reader())
            .await?;
        Ok(csv.flatten())
    }

    pub async fn add_export(&self, claim: &Claim, id: i64, csv: String) -> Result<()> {
        let mut writing = self.write().await?;
        if finish_in(&mut writing, claim).await? {
            query("UPDATE exports SET csv = $1 WHERE id = $2")
                .bind(csv)
                .bind(id)
                .execute(&mut *writing)
                .await?;
            writing.commit().await?;
        }
        Ok(())
    }

    pub async fn rows_of(&self, export: &Export, now: Moment) -> Result<Vec<Vec<String>>> {
        let rows: Vec<Cells> = match export.about {
            About::Bookings => {
                let bookings = query_as(
                    "SELECT CAST(b.id AS TEXT), CAST(l.id AS TEXT), l.title, \
                     CASE WHEN b.borrower_id = $1 THEN 'borrower' ELSE 'owner' END, \
                     b.first_day, b.last_day, b.state, CAST(b.price_cents AS TEXT) \
                     FROM bookings b JOIN listings l ON l.id = b.listing_id \
                     WHERE b.borrower_id = $1 OR l.owner_id = $1 ORDER BY b.id DESC LIMIT $2",
                );
                let bookings = bookings.bind(export.owner).bind(MOST_ROWS);
                bookings.fetch_all(self.reader()).await?
            }
            About::Analytics => {
                let since = written(now.plus_seconds(-DAYS * 86_400).day());
                let days = query_as(BY_DAY).bind(since);
                days.fetch_all(self.reader()).await?
            }
        };
        Ok(rows.into_iter().map(|Cells(cells)| cells).collect())
    }

    pub(super) async fn forget_exports(&self, now: Moment) -> Result<()> {
        let mut writing = self.write().await?;
        let old: Vec<i64> = query_scalar(
            "DELETE FROM exports WHERE id IN (SELECT id FROM exports WHERE created_at < $1 \
             ORDER BY id LIMIT 1000) RETURNING id",
        )
        .bind(now.plus_seconds(-KEPT_SECONDS).iso())
        .fetch_all(&mut *writing)
        .await?;
        note_forgotten(&mut writing, &old, By::itself(now)).await?;
        writing.commit().await
    }
}

async fn note_forgotten(writing: &mut Writing, exports: &[i64], by: By) -> Result<()> {
    let notes = exports.iter().map(|id| (by, subject(*id), json!({})));
    note_each(writing, "remove", notes).await
}

fn subject(id: i64) -> String {
    format!("export {id}")
}

const BY_DAY: &str = "SELECT day, CAST(sum(people) AS TEXT), CAST(sum(listings) AS TEXT), \
    CAST(sum(bookings) AS TEXT), CAST(sum(cents) AS TEXT) FROM ( \
    SELECT substr(created_at, 1, 10) AS day, 1 AS people, 0 AS listings, 0 AS bookings, 0 AS cents \
    FROM users UNION ALL \
    SELECT substr(created_at, 1, 10), 0, 1, 0, 0 FROM listings UNION ALL \
    SELECT substr(created_at, 1, 10), 0, 0, 1, 0 FROM bookings UNION ALL \
    SELECT substr(updated_at, 1, 10), 0, 0, 0, amount_cents FROM payments WHERE state = 'paid' \
    ) AS events WHERE day >= $1 GROUP BY day ORDER BY day";

/// All columns are text.
struct Cells(Vec<String>);

impl FromRow<'_, AnyRow> for Cells {
    fn from_row(row: &AnyRow) -> Result<Self> {
        (0..row.len())
            .map(|column| row.try_get(column))
            .collect::<Result<_>>()
            .map(Self)
    }
}

impl FromRow<'_, AnyRow> for Export {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            about: parsed(row, "about")?,
            state: parsed(row, "state")?,
            created_at: row.try_get("created_at")?,
            owner: row.try_get("user_id")?,
        })
    }
}
