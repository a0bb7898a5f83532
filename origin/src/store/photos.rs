//! Which photo belongs to which listing; the pictures themselves are in `files`.

use super::Store;
use crate::domain::photo::{MOST_PER_LISTING, PhotoName};
use sqlx::{Result, query};

#[derive(PartialEq)]
pub enum Added {
    Yes,
    /// The listing has all the photos it may have, or is gone.
    NoRoom,
}

impl Store {
    /// A photo changes what the listing shows, so the listing gets a new version.
    pub async fn add_photo(&self, listing: i64, name: &PhotoName) -> Result<Added> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let touched = query(
            "UPDATE listings SET version = version + 1, \
             updated_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now') \
             WHERE id = ? AND (SELECT count(*) FROM photos WHERE listing_id = listings.id) < ?",
        )
        .bind(listing)
        .bind(MOST_PER_LISTING)
        .execute(&mut *transaction)
        .await?;
        if touched.rows_affected() == 0 {
            return Ok(Added::NoRoom);
        }
        query("INSERT INTO photos (listing_id, name) VALUES (?, ?)")
            .bind(listing)
            .bind(name.to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Added::Yes)
    }
}
