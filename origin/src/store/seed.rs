//! What is entered once per data folder, all of it or nothing.

use super::Store;
use super::listings::{INSERT_LISTING, bind_draft};
use crate::domain::listing::Draft;
use crate::domain::photo::PhotoName;
use sqlx::{Result, query, query_scalar};

pub struct SeedListing {
    /// Place in the list of people.
    pub owner: usize,
    pub draft: Draft,
    pub photo: Option<PhotoName>,
}

impl Store {
    pub async fn is_done(&self, job: &str) -> Result<bool> {
        query_scalar("SELECT EXISTS (SELECT 1 FROM jobs_done WHERE name = ?)")
            .bind(job)
            .fetch_one(&self.readers)
            .await
    }

    pub async fn seed(
        &self,
        job: &str,
        people: &[(&str, &str)],
        listings: &[SeedListing],
    ) -> Result<()> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        query("INSERT INTO jobs_done (name) VALUES (?)")
            .bind(job)
            .execute(&mut *transaction)
            .await?;

        let mut owners = Vec::new();
        for (name, email) in people {
            let person = query("INSERT INTO users (name, email) VALUES (?, ?)")
                .bind(*name)
                .bind(*email);
            owners.push(person.execute(&mut *transaction).await?.last_insert_rowid());
        }
        for listing in listings {
            let statement = bind_draft(query(INSERT_LISTING), &listing.draft);
            let statement = statement.bind(owners[listing.owner]);
            let id = statement
                .execute(&mut *transaction)
                .await?
                .last_insert_rowid();
            if let Some(photo) = &listing.photo {
                let statement = query("INSERT INTO photos (listing_id, name) VALUES (?, ?)");
                let statement = statement.bind(id).bind(photo.to_string());
                statement.execute(&mut *transaction).await?;
            }
        }
        transaction.commit().await
    }
}
