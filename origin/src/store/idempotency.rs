//! Keys under which somebody asks, so that asking again changes nothing. A key is written in the
//! transaction of what it led to: of two that come at once, one waits for the other and finds what came of
//! it. draft-ietf-httpapi-idempotency-key-header.

use super::{Store, Writing};
use crate::domain::clock::Moment;
use crate::domain::random::in_hex;
use sha2::{Digest, Sha256};
use sqlx::{Result, query, query_as};

const KEPT_SECONDS: i64 = 24 * 60 * 60;

pub struct Key {
    key: String,
    asked: String,
}

pub(super) enum Known {
    No,
    /// What it led to.
    Result(i64),
    OtherQuestion,
}

impl Key {
    /// `asked` is all that the answer depends on.
    pub fn new(key: String, asked: &str) -> Self {
        Self {
            key,
            asked: in_hex(&Sha256::digest(asked)),
        }
    }
}

impl Store {
    pub(super) async fn forget_keys(&self, now: Moment) -> Result<()> {
        query("DELETE FROM idempotency WHERE made < $1")
            .bind(now.plus_seconds(-KEPT_SECONDS).0)
            .execute(self.nodes.writer()?)
            .await
            .map(drop)
    }
}

/// Takes the key if nobody has.
pub(super) async fn seen(
    writing: &mut Writing,
    user: i64,
    key: &Key,
    now: Moment,
) -> Result<Known> {
    let taken = query(
        "INSERT INTO idempotency (user_id, key, asked, result, made) VALUES ($1, $2, $3, 0, $4) \
         ON CONFLICT (user_id, key) DO NOTHING",
    )
    .bind(user)
    .bind(key.key.clone())
    .bind(key.asked.clone())
    .bind(now.0)
    .execute(&mut **writing)
    .await?;
    if taken.rows_affected() == 1 {
        return Ok(Known::No);
    }
    let (asked, result): (String, i64) =
        query_as("SELECT asked, result FROM idempotency WHERE user_id = $1 AND key = $2")
            .bind(user)
            .bind(key.key.clone())
            .fetch_one(&mut **writing)
            .await?;
    match asked == key.asked {
        true => Ok(Known::Result(result)),
        false => Ok(Known::OtherQuestion),
    }
}

pub(super) async fn remember(
    writing: &mut Writing,
    user: i64,
    key: &Key,
    result: i64,
) -> Result<()> {
    query("UPDATE idempotency SET result = $1 WHERE user_id = $2 AND key = $3")
        .bind(result)
        .bind(user)
        .bind(key.key.clone())
        .execute(&mut **writing)
        .await
        .map(drop)
}
