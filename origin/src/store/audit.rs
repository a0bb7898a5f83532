//! Who changed what: written in the transaction of the change, so there is neither without the other. So what is
//! noted of devices is on their shards. What follows by itself, pictures, letters, who is present, is not a change.

use super::{MOST_FORGOTTEN, Store, Writing};
use crate::domain::clock::Moment;
use crate::domain::page::Stamp;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, FromRow, Result, Row, query, query_as};

/// Whose change it is, and when.
#[derive(Clone, Copy)]
pub struct By {
    /// None: this application itself.
    pub user: Option<i64>,
    pub at: Moment,
}

/// Holds no texts that people wrote: fields' names, states, numbers.
#[derive(Serialize)]
pub struct Entry {
    pub id: i64,
    pub at: String,
    pub user_id: Option<i64>,
    pub action: String,
    /// Kind and identifier, as `listing 5`.
    pub subject: String,
    pub detail: Value,
}

impl By {
    pub fn itself(at: Moment) -> Self {
        Self { user: None, at }
    }
}

impl Entry {
    /// Where it is in a list of them.
    pub fn stamp(&self) -> Stamp {
        let at = Moment::read(&self.at).unwrap_or(Moment(0));
        Stamp { at, id: self.id }
    }
}

impl Store {
    /// Before that one, newest first.
    pub async fn audit(&self, before: Stamp, most: u32) -> Result<Vec<Entry>> {
        query_as(
            "SELECT * FROM audit WHERE at <= $1 AND (at < $1 OR id < $2) \
             ORDER BY at DESC, id DESC LIMIT $3",
        )
        .bind(before.at.iso())
        .bind(before.id)
        .bind(i64::from(most))
        .fetch_all(self.reader())
        .await
    }

    /// Forgets some of what was noted before that moment, as many lines as `MOST_FORGOTTEN`; how many.
    pub async fn forget_audit(&self, before: Moment) -> Result<u64> {
        let sql = format!(
            "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < $1 \
             ORDER BY at, id LIMIT {MOST_FORGOTTEN} {})",
            self.dialect.skip_taken()
        );
        self.forget(query(AssertSqlSafe(sql)).bind(before.iso()))
            .await
    }
}

pub(super) async fn note(
    writing: &mut Writing,
    by: By,
    action: &str,
    subject: String,
    detail: Value,
) -> Result<()> {
    query("INSERT INTO audit (at, user_id, action, subject, detail) VALUES ($1, $2, $3, $4, $5)")
        .bind(by.at.iso())
        .bind(by.user)
        .bind(action)
        .bind(subject)
        .bind(detail.to_string())
        .execute(&mut **writing)
        .await
        .map(drop)
}

/// As `note`, of several subjects; each with who it was.
pub(super) async fn note_each(
    writing: &mut Writing,
    action: &str,
    changes: impl Iterator<Item = (By, String, Value)>,
) -> Result<()> {
    let rows: Vec<[Value; 5]> = changes
        .map(|(by, subject, detail)| {
            let (at, detail) = (by.at.iso(), detail.to_string());
            [
                json!(at),
                json!(by.user),
                json!(action),
                json!(subject),
                json!(detail),
            ]
        })
        .collect();
    let columns = ["at", "user_id", "action", "subject", "detail"];
    writing.insert("audit", &columns, &rows).await
}

impl FromRow<'_, AnyRow> for Entry {
    fn from_row(row: &AnyRow) -> Result<Self> {
        let detail: String = row.try_get("detail")?;
        Ok(Self {
            id: row.try_get("id")?,
            at: row.try_get("at")?,
            user_id: row.try_get("user_id")?,
            action: row.try_get("action")?,
            subject: row.try_get("subject")?,
            detail: serde_json::from_str(&detail).unwrap_or(Value::Null),
        })
    }
}
