//! Tasks, and how many there are.

use super::{By, Store, audit::note};
use crate::domain::days::written;
use crate::domain::task::{Draft, Statistics, Task, TaskPage};
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Result, Row, query, query_as, query_scalar};
use time::Date;

/// The lists with most tasks.
const MOST_LISTS: i64 = 100;

impl Store {
    pub async fn insert_task(&self, owner: i64, draft: &Draft, by: By) -> Result<i64> {
        let mut writing = self.write().await?;
        let id: i64 = query_scalar(
            "INSERT INTO tasks (owner_id, list, title, due, done, created_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING id",
        )
        .bind(owner)
        .bind(draft.list.clone())
        .bind(draft.title.clone())
        .bind(draft.due.clone())
        .bind(i64::from(draft.done))
        .bind(by.at.iso())
        .fetch_one(&mut *writing)
        .await?;
        note(&mut writing, by, "create", format!("task {id}"), json!({})).await?;
        writing.commit().await?;
        Ok(id)
    }

    pub async fn task(&self, id: i64) -> Result<Option<Task>> {
        query_as("SELECT * FROM tasks WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reader())
            .await
    }

    /// Newest first; one more than the page holds, when there is more.
    pub async fn tasks(&self, asked: &TaskPage) -> Result<Vec<Task>> {
        query_as(
            "SELECT * FROM tasks WHERE list = coalesce($1, list) AND done = coalesce($2, done) \
             AND id < $3 ORDER BY id DESC LIMIT $4",
        )
        .bind(asked.list.clone())
        .bind(asked.done.map(i64::from))
        .bind(asked.page.before())
        .bind(i64::from(asked.page.limit) + 1)
        .fetch_all(self.reader())
        .await
    }

    /// Whether the task still had that version, and so was changed.
    pub async fn update_task(&self, seen: &Task, draft: &Draft, by: By) -> Result<bool> {
        let mut writing = self.write().await?;
        let done = query(
            "UPDATE tasks SET list = $1, title = $2, due = $3, done = $4, version = version + 1, \
             updated_at = $5 WHERE id = $6 AND version = $7",
        )
        .bind(draft.list.clone())
        .bind(draft.title.clone())
        .bind(draft.due.clone())
        .bind(i64::from(draft.done))
        .bind(by.at.iso())
        .bind(seen.id)
        .bind(seen.version)
        .execute(&mut *writing)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        let detail = json!({ "done": draft.done });
        note(
            &mut writing,
            by,
            "change",
            format!("task {}", seen.id),
            detail,
        )
        .await?;
        writing.commit().await?;
        Ok(true)
    }

    /// Whether the task still had that version, and so is gone.
    pub async fn delete_task(&self, seen: &Task, by: By) -> Result<bool> {
        let mut writing = self.write().await?;
        let done = query("DELETE FROM tasks WHERE id = $1 AND version = $2")
            .bind(seen.id)
            .bind(seen.version)
            .execute(&mut *writing)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        note(
            &mut writing,
            by,
            "remove",
            format!("task {}", seen.id),
            json!({}),
        )
        .await?;
        writing.commit().await?;
        Ok(true)
    }

    pub async fn task_statistics(&self, today: Date) -> Result<Vec<Statistics>> {
        query_as(
            "SELECT list, count(*) AS total, count(CASE WHEN done = 1 THEN 1 END) AS done, \
             count(CASE WHEN done = 0 AND due < $1 THEN 1 END) AS overdue FROM tasks \
             GROUP BY list ORDER BY count(*) DESC, list LIMIT $2",
        )
        .bind(written(today))
        .bind(MOST_LISTS)
        .fetch_all(self.reader())
        .await
    }
}

impl FromRow<'_, AnyRow> for Task {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            draft: Draft {
                title: row.try_get("title")?,
                list: row.try_get("list")?,
                due: row.try_get("due")?,
                done: row.try_get::<i64, _>("done")? != 0,
            },
            owner: row.try_get("owner_id")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            version: row.try_get("version")?,
        })
    }
}

impl FromRow<'_, AnyRow> for Statistics {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            list: row.try_get("list")?,
            total: row.try_get("total")?,
            done: row.try_get("done")?,
            overdue: row.try_get("overdue")?,
        })
    }
}
