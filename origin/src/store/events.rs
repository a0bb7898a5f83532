//! Events, until they are over or cancelled.

use super::matches::enqueue_round;
use super::profiles::position;
use super::users::parsed;
use super::{By, Store, audit::note};
use crate::domain::clock::Moment;
use crate::domain::event::{Draft, Event, MOST_AHEAD};
use crate::domain::span::Span;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Result, Row, query, query_as, query_scalar};

impl Store {
    /// None when somebody has as many ahead as anybody may have.
    pub async fn insert_event(&self, organiser: i64, draft: &Draft, by: By) -> Result<Option<i64>> {
        let mut writing = self.write().await?;
        // Nothing in the row changes, but it is held until the end of the transaction.
        query("UPDATE users SET name = name WHERE id = $1")
            .bind(organiser)
            .execute(&mut *writing)
            .await?;
        let ahead: i64 = query_scalar(
            "SELECT count(*) FROM events WHERE organiser_id = $1 AND ends > $2 AND cancelled = 0",
        )
        .bind(organiser)
        .bind(by.at.0)
        .fetch_one(&mut *writing)
        .await?;
        if ahead >= MOST_AHEAD {
            return Ok(None);
        }
        let id: i64 = query_scalar(
            "INSERT INTO events (organiser_id, title, text, topics, place, latitude, longitude, \
             starts, ends, capacity, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             RETURNING id",
        )
        .bind(organiser)
        .bind(draft.title.clone())
        .bind(draft.text.clone())
        .bind(draft.topics.to_string())
        .bind(draft.place.clone())
        .bind(draft.position.latitude)
        .bind(draft.position.longitude)
        .bind(draft.time.from.0)
        .bind(draft.time.to.0)
        .bind(draft.capacity)
        .bind(by.at.iso())
        .fetch_one(&mut *writing)
        .await?;
        note(&mut writing, by, "create", subject(id), json!({})).await?;
        enqueue_round(&mut writing, by.at).await?;
        writing.commit().await?;
        Ok(Some(id))
    }

    pub async fn event(&self, id: i64) -> Result<Option<Event>> {
        query_as("SELECT * FROM events WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reader())
            .await
    }

    /// Those that are not over, newest first.
    pub async fn events(&self, now: Moment, before: i64, most: u32) -> Result<Vec<Event>> {
        query_as(
            "SELECT * FROM events WHERE cancelled = 0 AND ends > $1 AND id < $2 \
             ORDER BY id DESC LIMIT $3",
        )
        .bind(now.0)
        .bind(before)
        .bind(i64::from(most))
        .fetch_all(self.reader())
        .await
    }

    /// Cancelling what is cancelled changes nothing. Who had a place has that time for others.
    pub async fn cancel_event(&self, id: i64, by: By) -> Result<()> {
        let mut writing = self.write().await?;
        let cancelled = query(
            "UPDATE events SET cancelled = 1, version = version + 1 WHERE id = $1 AND cancelled = 0",
        )
        .bind(id)
        .execute(&mut *writing)
        .await?;
        if cancelled.rows_affected() == 1 {
            note(&mut writing, by, "cancel", subject(id), json!({})).await?;
            enqueue_round(&mut writing, by.at).await?;
        }
        writing.commit().await
    }
}

pub(super) fn subject(id: i64) -> String {
    format!("event {id}")
}

/// When an event is.
pub(super) fn time(row: &AnyRow) -> Result<Span> {
    Ok(Span {
        from: Moment(row.try_get("starts")?),
        to: Moment(row.try_get("ends")?),
    })
}

impl FromRow<'_, AnyRow> for Event {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            draft: Draft {
                title: row.try_get("title")?,
                text: row.try_get("text")?,
                topics: parsed(row, "topics")?,
                place: row.try_get("place")?,
                position: position(row)?,
                time: time(row)?,
                capacity: row.try_get("capacity")?,
            },
            organiser: row.try_get("organiser_id")?,
            cancelled: row.try_get::<i64, _>("cancelled")? != 0,
            created_at: row.try_get("created_at")?,
            version: row.try_get("version")?,
        })
    }
}
