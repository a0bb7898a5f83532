//! Listings. A change names the version it has seen and happens only to that version.

use super::{By, Store, Writing, audit::note};
use crate::domain::listing::{Availability, Draft, Listing, Owner};
use crate::domain::photo::PhotoName;
use crate::domain::search::folded;
use serde_json::json;
use sqlx::any::{Any, AnyArguments, AnyRow};
use sqlx::{FromRow, Result, Row, query, query_as, query_scalar};

/// A listing with its owner and its photos, in one statement.
macro_rules! select_listings {
    ($which:literal) => {
        concat!(
            "SELECT l.*, u.name AS owner_name, (SELECT string_agg(name, ' ' ORDER BY id) \
             FROM photos WHERE listing_id = l.id) AS photos \
             FROM listings l JOIN users u ON u.id = l.owner_id ",
            $which
        )
    };
}

pub(super) use select_listings;

pub(super) const INSERT_LISTING: &str = "INSERT INTO listings (title, text, category, \
    price_cents, place, available, available_from, available_to, archived, place_folded, owner_id) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id";

pub enum Removed {
    /// With the names of what is left in the photos' folder.
    Yes(Vec<PhotoName>),
    ChangedMeanwhile,
    /// Somebody has booked it, now or once: it can be archived.
    Booked,
}

impl Store {
    pub async fn listing(&self, id: i64) -> Result<Option<Listing>> {
        query_as(select_listings!("WHERE l.id = $1"))
            .bind(id)
            .fetch_optional(self.reader())
            .await
    }

    pub async fn insert_listing(&self, owner: i64, draft: &Draft, by: By) -> Result<i64> {
        let mut writing = self.write().await?;
        let (id,): (i64,) = bind_draft(query_as(INSERT_LISTING), draft)
            .bind(owner)
            .fetch_one(&mut *writing)
            .await?;
        note(&mut writing, by, "create", subject(id), json!({})).await?;
        writing.commit().await?;
        Ok(id)
    }

    /// Whether the listing still had that version, and so was changed.
    pub async fn update_listing(&self, seen: &Listing, draft: &Draft, by: By) -> Result<bool> {
        let mut writing = self.write().await?;
        let statement = query_as(
            "UPDATE listings SET title = $1, text = $2, category = $3, price_cents = $4, \
             place = $5, available = $6, available_from = $7, available_to = $8, archived = $9, \
             place_folded = $10, version = version + 1, updated_at = $11 \
             WHERE id = $12 AND version = $13 RETURNING id",
        );
        let changed: Option<(i64,)> = bind_draft(statement, draft)
            .bind(by.at.iso())
            .bind(seen.id)
            .bind(seen.version)
            .fetch_optional(&mut *writing)
            .await?;
        let fields = json!({ "fields": seen.draft.changed_fields(draft) });
        note(&mut writing, by, "change", subject(seen.id), fields).await?;
        if changed.is_some() {
            writing.commit().await?;
        }
        Ok(changed.is_some())
    }

    pub async fn delete_listing(&self, id: i64, version: i64, by: By) -> Result<Removed> {
        let mut writing = self.write().await?;
        // Nothing in the row changes, but it is held: no booking or photo comes to it meanwhile.
        query("UPDATE listings SET version = version WHERE id = $1")
            .bind(id)
            .execute(&mut *writing)
            .await?;
        let booked: i64 = query_scalar("SELECT count(*) FROM bookings WHERE listing_id = $1")
            .bind(id)
            .fetch_one(&mut *writing)
            .await?;
        if booked > 0 {
            return Ok(Removed::Booked);
        }
        let names: Vec<String> = query_scalar(
            "SELECT name FROM photos WHERE listing_id = $1 UNION ALL SELECT r.name \
             FROM renditions r JOIN photos p ON p.id = r.photo_id WHERE p.listing_id = $1",
        )
        .bind(id)
        .fetch_all(&mut *writing)
        .await?;
        let done = query("DELETE FROM listings WHERE id = $1 AND version = $2")
            .bind(id)
            .bind(version)
            .execute(&mut *writing)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(Removed::ChangedMeanwhile);
        }
        note(&mut writing, by, "remove", subject(id), json!({})).await?;
        writing.commit().await?;
        let photos = names.iter().flat_map(|name| name.parse()).collect();
        Ok(Removed::Yes(photos))
    }
}

pub(super) fn subject(id: i64) -> String {
    format!("listing {id}")
}

type Statement<'q, T> = sqlx::query::QueryAs<'q, Any, T, AnyArguments>;

pub(super) fn bind_draft<'q, T>(statement: Statement<'q, T>, draft: &Draft) -> Statement<'q, T> {
    let (available, from, to) = match &draft.availability {
        Availability::Now(now) => (*now, None, None),
        Availability::Between { from, to } => (true, Some(from.clone()), Some(to.clone())),
    };
    statement
        .bind(draft.title.clone())
        .bind(draft.text.clone())
        .bind(draft.category.clone())
        .bind(draft.price_cents)
        .bind(draft.place.clone())
        .bind(i64::from(available))
        .bind(from)
        .bind(to)
        .bind(i64::from(draft.archived))
        .bind(folded(&draft.place))
}

/// Of listings that were written before places were folded.
pub(super) async fn fold_places(writing: &mut Writing) -> Result<()> {
    loop {
        let some: Vec<(i64, String)> = query_as(
            "SELECT id, place FROM listings WHERE place_folded = '' ORDER BY id LIMIT 1000",
        )
        .fetch_all(&mut **writing)
        .await?;
        if some.is_empty() {
            return Ok(());
        }
        for (id, place) in some {
            query("UPDATE listings SET place_folded = $1 WHERE id = $2")
                .bind(folded(&place))
                .bind(id)
                .execute(&mut **writing)
                .await?;
        }
    }
}

impl FromRow<'_, AnyRow> for Listing {
    fn from_row(row: &AnyRow) -> Result<Self> {
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
                archived: row.try_get::<i64, _>("archived")? != 0,
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

fn availability(row: &AnyRow) -> Result<Availability> {
    let days = (row.try_get("available_from")?, row.try_get("available_to")?);
    Ok(match days {
        (Some(from), Some(to)) => Availability::Between { from, to },
        _ => Availability::Now(row.try_get::<i64, _>("available")? != 0),
    })
}
