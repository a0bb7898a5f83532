//! Listings. A change names the version it has seen and happens only to that version.

use super::Store;
use crate::domain::listing::{Availability, Draft, Listing, Owner};
use crate::domain::page::Page;
use crate::domain::photo::PhotoName;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{FromRow, Result, Row, Sqlite, query, query_as, query_scalar};

/// A listing with its owner and its photos, in one statement.
macro_rules! select_listings {
    ($which:literal) => {
        concat!(
            "SELECT l.*, u.name AS owner_name, (SELECT group_concat(name, ' ' ORDER BY id) \
             FROM photos WHERE listing_id = l.id) AS photos \
             FROM listings l JOIN users u ON u.id = l.owner_id ",
            $which
        )
    };
}

pub(super) const INSERT_LISTING: &str = "INSERT INTO listings (title, text, category, \
    price_cents, place, available, available_from, available_to, owner_id) \
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

impl Store {
    pub async fn listing(&self, id: i64) -> Result<Option<Listing>> {
        query_as(select_listings!("WHERE l.id = ?"))
            .bind(id)
            .fetch_optional(&self.readers)
            .await
    }

    /// One more than the page holds, when there is more.
    pub async fn listings(&self, page: &Page) -> Result<Vec<Listing>> {
        let before = page.after.map_or(i64::MAX, |cursor| cursor.0);
        let found = match &page.category {
            None => query_as(select_listings!(
                "WHERE l.id < ? ORDER BY l.id DESC LIMIT ?"
            )),
            Some(category) => query_as(select_listings!(
                "WHERE l.category = ? AND l.id < ? ORDER BY l.id DESC LIMIT ?"
            ))
            .bind(category),
        };
        found
            .bind(before)
            .bind(page.limit + 1)
            .fetch_all(&self.readers)
            .await
    }

    pub async fn insert_listing(&self, owner: i64, draft: &Draft) -> Result<i64> {
        let statement = query(INSERT_LISTING);
        let done = bind_draft(statement, draft)
            .bind(owner)
            .execute(&self.writer)
            .await?;
        Ok(done.last_insert_rowid())
    }

    /// Whether the listing still had that version, and so was changed.
    pub async fn update_listing(&self, id: i64, version: i64, draft: &Draft) -> Result<bool> {
        let statement = query(
            "UPDATE listings SET title = ?, text = ?, category = ?, price_cents = ?, place = ?, \
             available = ?, available_from = ?, available_to = ?, version = version + 1, \
             updated_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') WHERE id = ? AND version = ?",
        );
        let statement = bind_draft(statement, draft).bind(id).bind(version);
        Ok(statement.execute(&self.writer).await?.rows_affected() == 1)
    }

    /// The names of the photos that went with it; `None` when it no longer had that version.
    pub async fn delete_listing(&self, id: i64, version: i64) -> Result<Option<Vec<PhotoName>>> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let names: Vec<String> = query_scalar("SELECT name FROM photos WHERE listing_id = ?")
            .bind(id)
            .fetch_all(&mut *transaction)
            .await?;
        let done = query("DELETE FROM listings WHERE id = ? AND version = ?")
            .bind(id)
            .bind(version)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let photos = names.iter().flat_map(|name| name.parse()).collect();
        Ok((done.rows_affected() == 1).then_some(photos))
    }
}

type Statement<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

pub(super) fn bind_draft<'q>(statement: Statement<'q>, draft: &'q Draft) -> Statement<'q> {
    let (available, from, to) = match &draft.availability {
        Availability::Now(now) => (*now, None, None),
        Availability::Between { from, to } => (true, Some(from), Some(to)),
    };
    statement
        .bind(&draft.title)
        .bind(&draft.text)
        .bind(&draft.category)
        .bind(draft.price_cents)
        .bind(&draft.place)
        .bind(available)
        .bind(from)
        .bind(to)
}

impl FromRow<'_, SqliteRow> for Listing {
    fn from_row(row: &SqliteRow) -> Result<Self> {
        let photos: Option<String> = row.try_get("photos")?;
        Ok(Self {
            id: row.try_get("id")?,
            draft: Draft {
                title: row.try_get("title")?,
                text: row.try_get("text")?,
                category: row.try_get("category")?,
                price_cents: row.try_get("price_cents")?,
                place: row.try_get("place")?,
                availability: availability(row)?,
            },
            owner: Owner {
                id: row.try_get("owner_id")?,
                name: row.try_get("owner_name")?,
            },
            photos: photos
                .iter()
                .flat_map(|names| names.split(' '))
                .flat_map(str::parse)
                .collect(),
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

fn availability(row: &SqliteRow) -> Result<Availability> {
    let days = (row.try_get("available_from")?, row.try_get("available_to")?);
    Ok(match days {
        (Some(from), Some(to)) => Availability::Between { from, to },
        _ => Availability::Now(row.try_get("available")?),
    })
}
