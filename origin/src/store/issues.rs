//! Issues and their history.

use super::letters::tell_of_issue;
use super::users::parsed;
use super::{By, Store, Writing, audit::note};
use crate::domain::issue::{Change, Issue, Report, State, Step};
use crate::domain::photo::{MOST_PER_ISSUE, PhotoName};
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Result, Row, query, query_as, query_scalar};

pub enum PhotoAdded {
    Yes,
    /// The issue has all the photos it may have.
    NoRoom,
    /// It has another version by now.
    Changed,
}

impl Store {
    pub async fn insert_issue(&self, reporter: i64, report: &Report, by: By) -> Result<i64> {
        let mut writing = self.write().await?;
        let id: i64 = query_scalar(
            "INSERT INTO issues (reporter_id, listing_id, title, text, place, state, created_at, \
             updated_at) VALUES ($1, (SELECT id FROM listings WHERE id = $2), $3, $4, $5, 'open', $6, $6) \
             RETURNING id",
        )
        .bind(reporter)
        .bind(report.listing)
        .bind(report.title.clone())
        .bind(report.text.clone())
        .bind(report.place.clone())
        .bind(by.at.iso())
        .fetch_one(&mut *writing)
        .await?;
        let change = Change {
            state: State::Open,
            note: String::new(),
        };
        add_step(&mut writing, id, &change, reporter, by).await?;
        writing.commit().await?;
        Ok(id)
    }

    pub async fn issue(&self, id: i64) -> Result<Option<Issue>> {
        let issue: Option<Issue> = query_as("SELECT * FROM issues WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reader())
            .await?;
        let Some(mut issue) = issue else {
            return Ok(None);
        };
        issue.history = query_as("SELECT * FROM issue_steps WHERE issue_id = $1 ORDER BY id")
            .bind(id)
            .fetch_all(self.reader())
            .await?;
        let photos: Vec<String> =
            query_scalar("SELECT name FROM issue_photos WHERE issue_id = $1 ORDER BY id")
                .bind(id)
                .fetch_all(self.reader())
                .await?;
        issue.photos = photos.iter().map(|name| path_of(name)).collect();
        Ok(Some(issue))
    }

    /// Newest first, without their history, and of their photos the last one alone.
    pub async fn issues(&self, state: Option<State>, before: i64, most: u32) -> Result<Vec<Issue>> {
        query_as(
            "SELECT * FROM issues WHERE state = coalesce($1, state) AND id < $2 \
             ORDER BY id DESC LIMIT $3",
        )
        .bind(state.map(|state| state.to_string()))
        .bind(before)
        .bind(i64::from(most))
        .fetch_all(self.reader())
        .await
    }

    /// Whether the issue still had that version, and so was changed.
    pub async fn change_issue(&self, seen: &Issue, change: &Change, by: By) -> Result<bool> {
        let mut writing = self.write().await?;
        let done = query(
            "UPDATE issues SET state = $1, version = version + 1, updated_at = $2 \
             WHERE id = $3 AND version = $4",
        )
        .bind(change.state.to_string())
        .bind(by.at.iso())
        .bind(seen.id)
        .bind(seen.version)
        .execute(&mut *writing)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let user = by.user.unwrap_or(seen.reporter);
        add_step(&mut writing, seen.id, change, user, by).await?;
        if user != seen.reporter {
            tell_of_issue(&mut writing, seen, change, by.at).await?;
        }
        writing.commit().await?;
        Ok(true)
    }

    /// If the issue still has that version.
    pub async fn add_issue_photo(
        &self,
        seen: &Issue,
        photo: &PhotoName,
        by: By,
    ) -> Result<PhotoAdded> {
        let mut writing = self.write().await?;
        let done = query(
            "UPDATE issues SET photo = $1, version = version + 1, updated_at = $2 \
             WHERE id = $3 AND version = $4",
        )
        .bind(photo.to_string())
        .bind(by.at.iso())
        .bind(seen.id)
        .bind(seen.version)
        .execute(&mut *writing)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(PhotoAdded::Changed);
        }
        let added = query(
            "INSERT INTO issue_photos (issue_id, name) SELECT $1, $2 \
             WHERE (SELECT count(*) FROM issue_photos WHERE issue_id = $1) < $3",
        )
        .bind(seen.id)
        .bind(photo.to_string())
        .bind(i64::from(MOST_PER_ISSUE))
        .execute(&mut *writing)
        .await?;
        if added.rows_affected() == 0 {
            return Ok(PhotoAdded::NoRoom);
        }
        let (subject, detail) = (
            format!("issue {}", seen.id),
            json!({ "photo": photo.to_string() }),
        );
        note(&mut writing, by, "add_photo", subject, detail).await?;
        writing.commit().await?;
        Ok(PhotoAdded::Yes)
    }
}

async fn add_step(
    writing: &mut Writing,
    issue: i64,
    change: &Change,
    user: i64,
    by: By,
) -> Result<()> {
    query(
        "INSERT INTO issue_steps (issue_id, state, note, user_id, at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(issue)
    .bind(change.state.to_string())
    .bind(change.note.clone())
    .bind(user)
    .bind(by.at.iso())
    .execute(&mut **writing)
    .await?;
    let detail = json!({ "state": change.state });
    note(writing, by, "issue", format!("issue {issue}"), detail).await
}

fn path_of(photo: &str) -> String {
    format!("/photos/{photo}")
}

impl FromRow<'_, AnyRow> for Issue {
    fn from_row(row: &AnyRow) -> Result<Self> {
        let photo: Option<String> = row.try_get("photo")?;
        Ok(Self {
            id: row.try_get("id")?,
            report: Report {
                title: row.try_get("title")?,
                text: row.try_get("text")?,
                place: row.try_get("place")?,
                listing: row.try_get("listing_id")?,
            },
            reporter: row.try_get("reporter_id")?,
            state: parsed(row, "state")?,
            photo: photo.map(|name| path_of(&name)),
            photos: Vec::new(),
            history: Vec::new(),
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

impl FromRow<'_, AnyRow> for Step {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            state: parsed(row, "state")?,
            note: row.try_get("note")?,
            by: row.try_get("user_id")?,
            at: row.try_get("at")?,
        })
    }
}
