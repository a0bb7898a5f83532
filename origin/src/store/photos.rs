//! Which photo belongs to which listing, and what was made of it; the pictures themselves are in `files`.

use super::jobs::{enqueue, enqueue_new, finish_in};
use super::{By, users::parsed};
use super::{Claim, Store, Writing, audit::note_each, listings::subject};
use crate::domain::job::{Kind, MOST_WAITING, State};
use crate::domain::photo::{MOST_PER_LISTING, PhotoName};
use serde::Serialize;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, FromRow, Result, Row, query, query_as, query_scalar};
use std::collections::{BTreeSet, HashMap};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Added {
    Yes,
    /// The listing has all the photos it may have, or is gone.
    NoRoom,
    /// More wait for a worker than it makes sense to let wait.
    TooManyWaiting,
}

/// A photo that a listing is to show.
pub struct Wanted {
    pub listing: i64,
    pub name: PhotoName,
    pub by: By,
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

impl Photo {
    /// As it is at first: a worker has yet to see it.
    pub fn added(listing: i64, name: &PhotoName) -> Self {
        Self {
            name: name.to_string(),
            url: name.path(),
            listing,
            state: State::Waiting,
            reason: String::new(),
            attempts: 0,
            renditions: Vec::new(),
        }
    }
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

    /// Whether a listing or an issue names it, as the primary knows, once whoever reads sees that too.
    pub async fn is_photo_shown(&self, name: &PhotoName) -> Result<bool> {
        let mut writing = self.write().await?;
        let count: i64 = query_scalar(
            "SELECT (SELECT count(*) FROM photos WHERE name = $1) \
             + (SELECT count(*) FROM issue_photos WHERE name = $1)",
        )
        .bind(name.to_string())
        .fetch_one(&mut *writing)
        .await?;
        writing.commit().await?;
        Ok(count > 0)
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
        let name = name.clone();
        let wanted = Wanted { listing, name, by };
        let added = add_photos(&mut writing, &[wanted]).await?[0];
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
/// renditions is there if the photo is. As few statements as one photo would take.
pub(super) async fn add_photos(writing: &mut Writing, wanted: &[Wanted]) -> Result<Vec<Added>> {
    let waiting: i64 = query_scalar("SELECT count(*) FROM jobs WHERE state = 'waiting'")
        .fetch_one(&mut **writing)
        .await?;
    let mut free = hold_listings(writing, wanted).await?;
    let mut room = MOST_WAITING - waiting;
    let outcomes: Vec<Added> = wanted
        .iter()
        .map(|one| match free.get_mut(&one.listing) {
            _ if room <= 0 => Added::TooManyWaiting,
            None | Some(..=0) => Added::NoRoom,
            Some(free) => {
                (*free, room) = (*free - 1, room - 1);
                Added::Yes
            }
        })
        .collect();
    let added = wanted.iter().zip(&outcomes);
    let added = added.filter(|(_, outcome)| **outcome == Added::Yes);
    let added: Vec<&Wanted> = added.map(|(one, _)| one).collect();
    insert_photos(writing, &added).await?;
    Ok(outcomes)
}

/// How many photos each may still have; without those that are gone. Writing the rows, though nothing in
/// them changes, holds them until the end of the transaction.
async fn hold_listings(writing: &mut Writing, wanted: &[Wanted]) -> Result<HashMap<i64, i64>> {
    let listings = listings_of(wanted.iter());
    let sql = format!("UPDATE listings SET version = version WHERE id IN ({listings})");
    query(AssertSqlSafe(sql)).execute(&mut **writing).await?;
    let sql = format!(
        "SELECT l.id, {MOST_PER_LISTING} - (SELECT count(*) FROM photos WHERE listing_id = l.id) \
         FROM listings l WHERE l.id IN ({listings})"
    );
    let free: Vec<(i64, i64)> = query_as(AssertSqlSafe(sql))
        .fetch_all(&mut **writing)
        .await?;
    Ok(free.into_iter().collect())
}

async fn insert_photos(writing: &mut Writing, added: &[&Wanted]) -> Result<()> {
    let Some(first) = added.first() else {
        return Ok(());
    };
    let listings = listings_of(added.iter().copied());
    let sql = format!(
        "UPDATE listings SET version = version + 1, updated_at = $1 WHERE id IN ({listings})"
    );
    query(AssertSqlSafe(sql))
        .bind(first.by.at.iso())
        .execute(&mut **writing)
        .await?;
    let photos = added
        .iter()
        .map(|one| [json!(one.listing), json!(one.name.to_string())]);
    let photos: Vec<_> = photos.collect();
    writing
        .insert("photos", &["listing_id", "name"], &photos)
        .await?;
    enqueue_new(
        writing,
        Kind::Photo,
        added.iter().map(|one| (one.name.to_string(), one.by.at)),
    )
    .await?;
    let notes = added.iter().map(|one| {
        let detail = json!({ "photo": one.name.to_string() });
        (one.by, subject(one.listing), detail)
    });
    note_each(writing, "add_photo", notes).await
}

/// As SQL reads them; numbers only.
fn listings_of<'a>(wanted: impl Iterator<Item = &'a Wanted>) -> String {
    let listings: BTreeSet<i64> = wanted.map(|one| one.listing).collect();
    let listings: Vec<_> = listings.iter().map(i64::to_string).collect();
    listings.join(", ")
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
