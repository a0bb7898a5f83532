//! Where people are signed in. A refresh token is good once; of each, only its SHA-256 is kept. Sessions are in
//! the database, or in Redis; what is noted of them is in the database.

mod redis;

pub use redis::InRedis;

use super::{By, Store, Writing, audit::note};
use crate::domain::clock::Moment;
use crate::domain::user::User;
use redis::Traded;
use serde::Serialize;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{Error, FromRow, Result, Row, query, query_as};
use std::io;

/// People have few devices; the oldest session goes when there are more.
const MOST_SESSIONS: i64 = 50;

/// Used tokens of a session that are known again; more than it uses in its life, unless somebody plays with it.
const MOST_SPENT: i64 = 1_000;

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
    /// Whether what has the sessions answers, where that is not the database.
    pub async fn ping_sessions(&self) -> Result<()> {
        match &self.redis {
            Some(redis) => redis.ping().await.map_err(away),
            None => Ok(()),
        }
    }

    pub async fn open_session(
        &self,
        user: i64,
        id: &str,
        device: &str,
        refresh: &str,
        expires: Moment,
        now: Moment,
    ) -> Result<()> {
        let by = By {
            user: Some(user),
            at: now,
        };
        // Nobody waits for Redis with the database's lock.
        if let Some(redis) = &self.redis {
            let moments = (expires, now);
            let opened = redis.open(user, id, device, refresh, moments, MOST_SESSIONS);
            opened.await.map_err(away)?;
        }
        let mut writing = self.write().await?;
        note(&mut writing, by, "sign_in", subject(user), json!({})).await?;
        if self.redis.is_some() {
            return writing.commit().await;
        }
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
        if let Some(redis) = &self.redis {
            let traded = redis.trade(old, new, expires, now).await;
            return self.refreshed(traded.map_err(away)?, now).await;
        }
        let mut writing = self.write().await?;
        let session: Option<(String, i64)> = query_as(
            "UPDATE sessions SET refresh = $1, used_at = $3, expires = $4 \
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
            Some((id, user)) => {
                spend(&mut writing, old, &id, now).await?;
                Refreshed::Session {
                    id,
                    user: query_as("SELECT id, name, email, role, class FROM users WHERE id = $1")
                        .bind(user)
                        .fetch_one(&mut *writing)
                        .await?,
                }
            }
            None => match end_stolen(&mut writing, old, now).await? {
                true => Refreshed::Stolen,
                false => Refreshed::Unknown,
            },
        };
        writing.commit().await?;
        Ok(refreshed)
    }

    async fn refreshed(&self, traded: Traded, now: Moment) -> Result<Refreshed> {
        Ok(match traded {
            Traded::Session { id, user } => match self.user(user).await? {
                Some(user) => Refreshed::Session { id, user },
                None => Refreshed::Unknown,
            },
            Traded::Stolen { user } => {
                let mut writing = self.write().await?;
                note_stolen(&mut writing, user, now).await?;
                writing.commit().await?;
                Refreshed::Stolen
            }
            Traded::Unknown => Refreshed::Unknown,
        })
    }

    /// Who it is, as long as the session lasts. What they may do is what is written now, not what
    /// it was when a token was issued.
    pub async fn session_user(&self, session: &str, user: i64) -> Result<Option<User>> {
        if let Some(redis) = &self.redis {
            return match redis.is_of(session, user).await.map_err(away)? {
                true => self.user(user).await,
                false => Ok(None),
            };
        }
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
        if let Some(redis) = &self.redis {
            return redis.of(user).await.map_err(away);
        }
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
        self.end_in_redis(user, session).await?;
        let mut writing = self.write().await?;
        self.end_sessions_in(&mut writing, user, session).await?;
        let detail = json!({ "everywhere": session.is_none() });
        note(&mut writing, by, "sign_out", subject(user), detail).await?;
        writing.commit().await
    }

    /// Where they are in Redis: outside of any transaction, whose lock all others would wait for as well.
    pub(super) async fn end_in_redis(&self, user: i64, session: Option<&str>) -> Result<()> {
        match &self.redis {
            Some(redis) => redis.end_of(user, session).await.map_err(away),
            None => Ok(()),
        }
    }

    /// Where they are in the database.
    pub(super) async fn end_sessions_in(
        &self,
        writing: &mut Writing,
        user: i64,
        session: Option<&str>,
    ) -> Result<()> {
        if self.redis.is_some() {
            return Ok(());
        }
        query("DELETE FROM sessions WHERE user_id = $1 AND id = coalesce($2, id)")
            .bind(user)
            .bind(session)
            .execute(&mut **writing)
            .await
            .map(drop)
    }

    async fn user(&self, id: i64) -> Result<Option<User>> {
        query_as("SELECT id, name, email, role, class FROM users WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reader())
            .await
    }
}

/// Whoever shows it again, however much later, is not the only one who has had it. RFC 9700 §4.14.2.
async fn spend(writing: &mut Writing, old: &str, session: &str, now: Moment) -> Result<()> {
    query("INSERT INTO spent_tokens (refresh, session_id, spent) VALUES ($1, $2, $3)")
        .bind(old)
        .bind(session)
        .bind(now.0)
        .execute(&mut **writing)
        .await?;
    query(
        "DELETE FROM spent_tokens WHERE session_id = $1 AND spent < (SELECT spent FROM spent_tokens \
         WHERE session_id = $1 ORDER BY spent DESC LIMIT 1 OFFSET $2)",
    )
    .bind(session)
    .bind(MOST_SPENT)
    .execute(&mut **writing)
    .await
    .map(drop)
}

async fn end_stolen(writing: &mut Writing, spent: &str, now: Moment) -> Result<bool> {
    let ended: Option<(i64,)> = query_as(
        "DELETE FROM sessions WHERE id = (SELECT session_id FROM spent_tokens WHERE refresh = $1) \
         RETURNING user_id",
    )
    .bind(spent)
    .fetch_optional(&mut **writing)
    .await?;
    if let Some((user,)) = ended {
        note_stolen(writing, user, now).await?;
    }
    Ok(ended.is_some())
}

async fn note_stolen(writing: &mut Writing, user: i64, now: Moment) -> Result<()> {
    let by = By::itself(now);
    note(writing, by, "refresh_reused", subject(user), json!({})).await
}

fn subject(user: i64) -> String {
    format!("user {user}")
}

/// Redis does not answer: as when the database doesn't.
fn away(error: fred::error::Error) -> Error {
    Error::Io(io::Error::other(format!("Redis has the sessions: {error}")))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::user::{Grant, Role};
    use crate::settings::Settings;
    use clap::Parser;
    use tokio::net::TcpListener;
    use tokio::select;

    /// Whether somebody else can write while that waits.
    async fn others_write(store: &Store, number: usize, waiting: impl Future) -> bool {
        let email = format!("{number}@example.org");
        select! {
            biased;
            _ = waiting => false,
            written = store.insert_user("Bob", &email, "", By::itself(Moment(0))) => written.is_ok(),
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_silent_redis_with_the_lock_for_writing() {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("redis://{}", silent.local_addr().expect("it is bound"));
        let data = tempfile::tempdir().expect("a folder");
        let folder = data.path().to_str().expect("a plain name");
        let settings = ["--sessions", "redis", "--redis", &url, "--data", folder];
        let settings = Settings::parse_from([&["lakh-origin"], &settings[..]].concat());
        let store = Store::open(&settings).await.expect("a database");
        let (now, by) = (Moment(0), By::itself(Moment(0)));
        let ada = store.insert_user("Ada", "ada@example.org", "", by).await;
        let ada = ada.expect("it is written").expect("she is new").id;
        let grant = || Grant {
            role: Some(Role::Staff),
            class: None,
        };
        // On a busy machine Redis may be given up before the other has written; with the lock it always is.
        let mut numbers = 0..20;
        assert!(loop {
            let Some(number) = numbers.next() else {
                break false;
            };
            let opening = store.open_session(ada, "s", "", "r", Moment(1), now);
            if others_write(&store, number, opening).await {
                break true;
            }
        });
        let mut numbers = 20..40;
        assert!(loop {
            let Some(number) = numbers.next() else {
                break false;
            };
            if others_write(&store, number, store.end_sessions(ada, None, by)).await {
                break true;
            }
        });
        let mut numbers = 40..60;
        assert!(loop {
            let Some(number) = numbers.next() else {
                break false;
            };
            if others_write(&store, number, store.grant(ada, grant(), by)).await {
                break true;
            }
        });
    }
}
