//! Where people are signed in. A refresh token is good once; of each, only its SHA-256 is kept.

use super::{By, Store, audit::note};
use crate::domain::clock::Moment;
use crate::domain::user::User;
use serde::Serialize;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Result, Row, query, query_as};

/// People have few devices; the oldest session goes when there are more.
const MOST_SESSIONS: i64 = 50;

#[derive(Serialize)]
pub struct Session {
    pub id: String,
    /// As its owner called it.
    pub device: String,
    pub created_at: String,
    pub used_at: String,
}

pub enum Refreshed {
    Session {
        id: String,
        user: User,
    },
    /// It was used before: one of its two holders is a thief, so neither goes on.
    Stolen,
    Unknown,
}

impl Store {
    pub async fn open_session(
        &self,
        user: i64,
        id: &str,
        device: &str,
        refresh: &str,
        expires: Moment,
        now: Moment,
    ) -> Result<()> {
        let mut writing = self.write().await?;
        query("DELETE FROM sessions WHERE user_id = $1 AND (expires < $2 OR id IN \
               (SELECT id FROM sessions WHERE user_id = $1 ORDER BY used_at DESC, id LIMIT 100 OFFSET $3))")
            .bind(user)
            .bind(now.0)
            .bind(MOST_SESSIONS - 1)
            .execute(&mut *writing)
            .await?;
        query(
            "INSERT INTO sessions (id, user_id, device, refresh, created_at, used_at, expires) \
             VALUES ($1, $2, $3, $4, $5, $5, $6)",
        )
        .bind(id)
        .bind(user)
        .bind(device)
        .bind(refresh)
        .bind(now.iso())
        .bind(expires.0)
        .execute(&mut *writing)
        .await?;
        let by = By {
            user: Some(user),
            at: now,
        };
        note(
            &mut writing,
            by,
            "sign_in",
            format!("user {user}"),
            json!({}),
        )
        .await?;
        writing.commit().await
    }

    /// Trades a refresh token for the next one.
    pub async fn refresh(
        &self,
        old: &str,
        new: &str,
        expires: Moment,
        now: Moment,
    ) -> Result<Refreshed> {
        let mut writing = self.write().await?;
        let session: Option<(String, i64)> = query_as(
            "UPDATE sessions SET refresh = $1, spent = $2, used_at = $3, expires = $4 \
             WHERE refresh = $2 AND expires > $5 RETURNING id, user_id",
        )
        .bind(new)
        .bind(old)
        .bind(now.iso())
        .bind(expires.0)
        .bind(now.0)
        .fetch_optional(&mut *writing)
        .await?;
        let refreshed = match session {
            Some((id, user)) => Refreshed::Session {
                id,
                user: query_as("SELECT id, name, email, role, class FROM users WHERE id = $1")
                    .bind(user)
                    .fetch_one(&mut *writing)
                    .await?,
            },
            None => match end_stolen(&mut writing, old, now).await? {
                true => Refreshed::Stolen,
                false => Refreshed::Unknown,
            },
        };
        writing.commit().await?;
        Ok(refreshed)
    }

    /// Who it is, as long as the session lasts. What they may do is what is written now, not what
    /// it was when a token was issued.
    pub async fn session_user(&self, session: &str, user: i64) -> Result<Option<User>> {
        query_as(
            "SELECT u.id, u.name, u.email, u.role, u.class FROM sessions s \
             JOIN users u ON u.id = s.user_id WHERE s.id = $1 AND s.user_id = $2",
        )
        .bind(session)
        .bind(user)
        .fetch_optional(self.reader())
        .await
    }

    /// Used last first.
    pub async fn sessions(&self, user: i64) -> Result<Vec<Session>> {
        query_as(
            "SELECT id, device, created_at, used_at FROM sessions WHERE user_id = $1 \
             ORDER BY used_at DESC, id",
        )
        .bind(user)
        .fetch_all(self.reader())
        .await
    }

    /// One session, or with None all.
    pub async fn end_sessions(&self, user: i64, session: Option<&str>, by: By) -> Result<()> {
        let mut writing = self.write().await?;
        query("DELETE FROM sessions WHERE user_id = $1 AND id = coalesce($2, id)")
            .bind(user)
            .bind(session)
            .execute(&mut *writing)
            .await?;
        let detail = json!({ "everywhere": session.is_none() });
        note(&mut writing, by, "sign_out", format!("user {user}"), detail).await?;
        writing.commit().await
    }
}

async fn end_stolen(writing: &mut super::Writing, spent: &str, now: Moment) -> Result<bool> {
    let ended: Option<(i64,)> = query_as("DELETE FROM sessions WHERE spent = $1 RETURNING user_id")
        .bind(spent)
        .fetch_optional(&mut **writing)
        .await?;
    if let Some((user,)) = ended {
        let subject = format!("user {user}");
        note(
            writing,
            By::itself(now),
            "refresh_reused",
            subject,
            json!({}),
        )
        .await?;
    }
    Ok(ended.is_some())
}

impl FromRow<'_, AnyRow> for Session {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            device: row.try_get("device")?,
            created_at: row.try_get("created_at")?,
            used_at: row.try_get("used_at")?,
        })
    }
}
