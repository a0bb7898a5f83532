//! Which photo belongs to which listing, and what was made of it; the pictures themselves are in `files`.

use super::jobs::{enqueue, finish_in};
use super::{By, users::parsed};
use super::{Claim, Store, Writing, audit::note, listings::subject};
use crate::domain::job::{Kind, MOST_WAITING, State};
use crate::domain::photo::{MOST_PER_LISTING, PhotoName};
use serde::Serialize;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Result, Row, query, query_as, query_scalar};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Added {
    Yes,
    /// The listing has all the photos it may have, or is gone.
    NoRoom,
    /// More wait for a worker than it makes sense to let wait.
    TooManyWaiting,
}

/// How far a photo is.
#[derive(Clone, Serialize, PartialEq)]
pub struct Photo {
    pub name: String,
    pub url: String,
    pub listing: i64,
    pub state: State,
    /// Why it failed last; empty otherwise.
    pub reason: String,
    pub attempts: i64,
    pub renditions: Vec<RenditionMade>,
}

#[derive(Clone, Serialize, PartialEq)]
pub struct RenditionMade {
    pub preset: String,
    pub url: String,
    pub width: i64,
    pub height: i64,
    pub bytes: i64,
    #[serde(skip)]
    pub name: String,
}

impl Store {
    pub async fn photo(&self, name: &PhotoName) -> Result<Option<Photo>> {
        let photo: Option<Photo> = query_as(
            "SELECT p.name, p.listing_id, coalesce(j.state, 'done') AS state, \
             coalesce(j.reason, '') AS reason, coalesce(j.attempts, 0) AS attempts \
             FROM photos p LEFT JOIN jobs j ON j.kind = 'photo' AND j.subject = p.name \
             WHERE p.name = $1",
        )
        .bind(name.to_string())
        .fetch_optional(self.reader())
        .await?;
        let Some(mut photo) = photo else {
            return Ok(None);
        };
        photo.renditions = query_as(
            "SELECT r.* FROM renditions r JOIN photos p ON p.id = r.photo_id WHERE p.name = $1 \
             ORDER BY r.bytes DESC, r.name",
        )
        .bind(name.to_string())
        .fetch_all(self.reader())
        .await?;
        Ok(Some(photo))
    }

    /// Renditions and the end of the job that made them are written together. Whether they count;
    /// the listing may be gone, or the job somebody else's.
    pub async fn add_renditions(&self, claim: &Claim, made: &[RenditionMade]) -> Result<bool> {
        let mut writing = self.write().await?;
        if !finish_in(&mut writing, claim).await? {
            return Ok(false);
        }
        let photo: Option<i64> = query_scalar("SELECT id FROM photos WHERE name = $1")
            .bind(claim.subject.clone())
            .fetch_optional(&mut *writing)
            .await?;
        if let Some(photo) = photo {
            for one in made {
                query(
                    "INSERT INTO renditions (photo_id, preset, name, width, height, bytes) \
                     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name) DO NOTHING",
                )
                .bind(photo)
                .bind(one.preset.clone())
                .bind(one.name.clone())
                .bind(one.width)
                .bind(one.height)
                .bind(one.bytes)
                .execute(&mut *writing)
                .await?;
            }
        }
        writing.commit().await?;
        Ok(photo.is_some())
    }

    /// None when the job is somebody else's by now, who has added the same. Otherwise it has ended, unless
    /// there is to be another attempt, and there is one for the rest.
    pub async fn add_drawn(
        &self,
        claim: &Claim,
        listing: i64,
        name: &PhotoName,
        rest: &str,
        by: By,
    ) -> Result<Option<Added>> {
        let mut writing = self.write().await?;
        if !finish_in(&mut writing, claim).await? {
            return Ok(None);
        }
        let added = add_photo(&mut writing, listing, name, by).await?;
        if added != Added::TooManyWaiting {
            if !rest.is_empty() {
                enqueue(&mut writing, Kind::Drawing, rest, by.at).await?;
            }
            writing.commit().await?;
        }
        Ok(Some(added))
    }
}

/// A photo changes what the listing shows, so the listing gets a new version. The job that makes its
/// renditions is there if the photo is.
pub(super) async fn add_photo(
    writing: &mut Writing,
    listing: i64,
    name: &PhotoName,
    by: By,
) -> Result<Added> {
    let waiting: i64 = query_scalar("SELECT count(*) FROM jobs WHERE state = 'waiting'")
        .fetch_one(&mut **writing)
        .await?;
    if waiting >= MOST_WAITING {
        return Ok(Added::TooManyWaiting);
    }
    let touched = query(
        "UPDATE listings SET version = version + 1, updated_at = $1 \
         WHERE id = $2 AND (SELECT count(*) FROM photos WHERE listing_id = listings.id) < $3",
    )
    .bind(by.at.iso())
    .bind(listing)
    .bind(i64::from(MOST_PER_LISTING))
    .execute(&mut **writing)
    .await?;
    if touched.rows_affected() == 0 {
        return Ok(Added::NoRoom);
    }
    insert_photo(writing, listing, name).await?;
    enqueue(writing, Kind::Photo, &name.to_string(), by.at).await?;
    let detail = json!({ "photo": name.to_string() });
    note(writing, by, "add_photo", subject(listing), detail).await?;
    Ok(Added::Yes)
}

async fn insert_photo(writing: &mut Writing, listing: i64, name: &PhotoName) -> Result<()> {
    query("INSERT INTO photos (listing_id, name) VALUES ($1, $2)")
        .bind(listing)
        .bind(name.to_string())
        .execute(&mut **writing)
        .await
        .map(drop)
}

impl FromRow<'_, AnyRow> for Photo {
    fn from_row(row: &AnyRow) -> Result<Self> {
        let name: String = row.try_get("name")?;
        Ok(Self {
            url: format!("/photos/{name}"),
            name,
            listing: row.try_get("listing_id")?,
            state: parsed(row, "state")?,
            reason: row.try_get("reason")?,
            attempts: row.try_get("attempts")?,
            renditions: Vec::new(),
        })
    }
}

impl FromRow<'_, AnyRow> for RenditionMade {
    fn from_row(row: &AnyRow) -> Result<Self> {
        let name: String = row.try_get("name")?;
        Ok(Self {
            preset: row.try_get("preset")?,
            url: format!("/photos/{name}"),
            width: row.try_get("width")?,
            height: row.try_get("height")?,
            bytes: row.try_get("bytes")?,
            name,
        })
    }
}
