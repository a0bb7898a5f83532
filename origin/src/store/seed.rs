//! What is entered once per data folder, all of it or nothing.

use super::Store;
use super::listings::{INSERT_LISTING, bind_draft};
use super::photos::insert_photo;
use crate::domain::listing::Draft;
use crate::domain::photo::PhotoName;
use sqlx::{Result, query, query_as, query_scalar};

pub struct SeedListing {
    /// Place in the list of people.
    pub owner: usize,
    pub draft: Draft,
    pub photo: Option<PhotoName>,
}

impl Store {
    pub async fn is_done(&self, job: &str) -> Result<bool> {
        let done: i64 = query_scalar("SELECT count(*) FROM jobs_done WHERE name = $1")
            .bind(job)
            .fetch_one(&self.readers)
            .await?;
        Ok(done > 0)
    }

    pub async fn seed(
        &self,
        job: &str,
        people: &[(&str, &str)],
        listings: &[SeedListing],
    ) -> Result<()> {
        let mut writing = self.write().await?;
        query("INSERT INTO jobs_done (name) VALUES ($1)")
            .bind(job)
            .execute(&mut *writing)
            .await?;

        let mut owners: Vec<i64> = Vec::new();
        for (name, email) in people {
            let person = "INSERT INTO users (name, email) VALUES ($1, $2) RETURNING id";
            let person = query_scalar(person).bind(*name).bind(*email);
            owners.push(person.fetch_one(&mut *writing).await?);
        }
        for listing in listings {
            let (id,): (i64,) = bind_draft(query_as(INSERT_LISTING), &listing.draft)
                .bind(owners[listing.owner])
                .fetch_one(&mut *writing)
                .await?;
            if let Some(photo) = &listing.photo {
                insert_photo(&mut writing, id, photo).await?;
            }
        }
        writing.commit().await
    }
}
