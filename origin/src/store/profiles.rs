//! What people say of themselves. Who says nothing any more is offered nothing.

use super::matches::{enqueue_round, note_declined};
use super::users::parsed;
use super::{By, Store, audit::note};
use crate::domain::position::Position;
use crate::domain::profile::Profile;
use crate::domain::span::Span;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{Error, FromRow, Result, Row, query, query_as, query_scalar};

impl Store {
    pub async fn profile(&self, user: i64) -> Result<Option<Profile>> {
        query_as("SELECT * FROM profiles WHERE user_id = $1")
            .bind(user)
            .fetch_optional(self.reader())
            .await
    }

    pub async fn put_profile(&self, user: i64, profile: &Profile, by: By) -> Result<()> {
        let free: Vec<_> = profile.free.iter().map(Span::to_string).collect();
        let free_until = profile.free.last().map_or(0, |span| span.to.0);
        let mut writing = self.write().await?;
        query(
            "INSERT INTO profiles (user_id, interests, latitude, longitude, distance_km, free, \
             free_until, version, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
             ON CONFLICT (user_id) DO UPDATE SET interests = $2, latitude = $3, longitude = $4, \
             distance_km = $5, free = $6, free_until = $7, version = profiles.version + 1, updated_at = $9",
        )
        .bind(user)
        .bind(profile.interests.to_string())
        .bind(profile.position.latitude)
        .bind(profile.position.longitude)
        .bind(profile.distance_km)
        .bind(free.join(" "))
        .bind(free_until)
        .bind(by.at.0)
        .bind(by.at.iso())
        .execute(&mut *writing)
        .await?;
        note(&mut writing, by, "describe", subject(user), json!({})).await?;
        enqueue_round(&mut writing, by.at).await?;
        writing.commit().await
    }

    /// Whether there was one. What they were offered and have not taken is offered to others.
    pub async fn remove_profile(&self, user: i64, by: By) -> Result<bool> {
        let mut writing = self.write().await?;
        let removed = query("DELETE FROM profiles WHERE user_id = $1")
            .bind(user)
            .execute(&mut *writing)
            .await?;
        if removed.rows_affected() == 0 {
            return Ok(false);
        }
        let declined: Vec<i64> = query_scalar(
            "UPDATE matches SET state = 'declined', updated_at = $1 \
             WHERE user_id = $2 AND state = 'offered' RETURNING id",
        )
        .bind(by.at.iso())
        .bind(user)
        .fetch_all(&mut *writing)
        .await?;
        note_declined(&mut writing, &declined, by).await?;
        note(&mut writing, by, "remove", subject(user), json!({})).await?;
        enqueue_round(&mut writing, by.at).await?;
        writing.commit().await?;
        Ok(true)
    }
}

fn subject(user: i64) -> String {
    format!("profile {user}")
}

impl FromRow<'_, AnyRow> for Profile {
    fn from_row(row: &AnyRow) -> Result<Self> {
        let free: String = row.try_get("free")?;
        let spans: std::result::Result<Vec<_>, ()> = free.split(' ').map(str::parse).collect();
        Ok(Self {
            interests: parsed(row, "interests")?,
            position: position(row)?,
            distance_km: row.try_get("distance_km")?,
            free: spans.map_err(|()| Error::Decode("not spans of time".into()))?,
        })
    }
}

pub(super) fn position(row: &AnyRow) -> Result<Position> {
    Ok(Position {
        latitude: row.try_get("latitude")?,
        longitude: row.try_get("longitude")?,
    })
}
