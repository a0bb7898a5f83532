//! What is entered once per database, all of it or nothing.

use super::jobs::enqueue;
use super::listings::{INSERT_LISTING, bind_draft};
use super::{By, Store, audit::note};
use crate::domain::clock::Moment;
use crate::domain::job::Kind;
use crate::domain::listing::Draft;
use crate::domain::photo::PhotoName;
use serde_json::json;
use sqlx::{Result, query, query_as, query_scalar};

pub struct SeedListing {
    /// Place in the list of people.
    pub owner: usize,
    pub draft: Draft,
    /// What is to be drawn for it.
    pub photo: Option<PhotoName>,
}

impl Store {
    /// Does nothing when it has been done.
    pub async fn seed(
        &self,
        name: &str,
        people: &[(&str, &str)],
        listings: &[SeedListing],
        now: Moment,
    ) -> Result<()> {
        let mut writing = self.write().await?;
        let begun = query("INSERT INTO jobs_done (name) VALUES ($1) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .execute(&mut *writing)
            .await?;
        if begun.rows_affected() == 0 {
            return Ok(());
        }
        let mut owners: Vec<i64> = Vec::new();
        for (name, email) in people {
            let person =
                "INSERT INTO users (name, email, created_at) VALUES ($1, $2, $3) RETURNING id";
            let person = query_scalar(person).bind(*name).bind(*email);
            owners.push(person.bind(now.iso()).fetch_one(&mut *writing).await?);
        }
        let mut drawings: Vec<String> = Vec::new();
        for listing in listings {
            let (id,): (i64,) = bind_draft(query_as(INSERT_LISTING), &listing.draft)
                .bind(owners[listing.owner])
                .fetch_one(&mut *writing)
                .await?;
            drawings.extend(listing.photo.iter().map(|photo| format!("{id} {photo}")));
        }
        // What is shown first is drawn first.
        drawings.reverse();
        enqueue(&mut writing, Kind::Drawing, &drawings.join(" "), now).await?;
        let detail = json!({ "people": people.len(), "listings": listings.len() });
        note(&mut writing, By::itself(now), "seed", name.into(), detail).await?;
        writing.commit().await
    }
}
