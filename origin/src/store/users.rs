//! People.

use super::{By, Store, audit::note};
use crate::domain::user::{Grant, User};
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Result, Row, query_as};

/// What a login is checked against.
pub struct Known {
    pub user: User,
    pub password: Option<String>,
}

impl Store {
    /// `None` when the address is taken.
    pub async fn insert_user(
        &self,
        name: &str,
        email: &str,
        password: &str,
        by: By,
    ) -> Result<Option<User>> {
        let mut writing = self.write().await?;
        let user: Option<User> = query_as(
            "INSERT INTO users (name, email, password, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (email) DO NOTHING RETURNING id, name, email, role, class",
        )
        .bind(name)
        .bind(email)
        .bind(password)
        .bind(by.at.iso())
        .fetch_optional(&mut *writing)
        .await?;
        if let Some(user) = &user {
            let by = By {
                user: Some(user.id),
                ..by
            };
            let subject = format!("user {}", user.id);
            note(&mut writing, by, "register", subject, json!({})).await?;
        }
        writing.commit().await?;
        Ok(user)
    }

    pub async fn user_by_email(&self, email: &str) -> Result<Option<Known>> {
        query_as("SELECT id, name, email, role, class, password FROM users WHERE email = $1")
            .bind(email)
            .fetch_optional(self.reader())
            .await
    }

    /// Tokens say what somebody may do, so those of before the change are taken back with it. Those in Redis are
    /// before it, so that nothing changes where that can't be done, and after it: somebody may have signed in.
    pub async fn grant(&self, id: i64, grant: Grant, by: By) -> Result<Option<User>> {
        self.end_in_redis(id, None).await?;
        let mut writing = self.write().await?;
        let user: Option<User> = query_as(
            "UPDATE users SET role = coalesce($1, role), class = coalesce($2, class) \
             WHERE id = $3 RETURNING id, name, email, role, class",
        )
        .bind(grant.role.map(|role| role.to_string()))
        .bind(grant.class.map(|class| class.to_string()))
        .bind(id)
        .fetch_optional(&mut *writing)
        .await?;
        if let Some(user) = &user {
            self.end_sessions_in(&mut writing, id, None).await?;
            let detail = json!({ "role": user.role, "class": user.class });
            note(&mut writing, by, "grant", format!("user {id}"), detail).await?;
        }
        writing.commit().await?;
        self.end_in_redis(id, None).await?;
        Ok(user)
    }
}

impl FromRow<'_, AnyRow> for User {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            email: row.try_get("email")?,
            role: parsed(row, "role")?,
            class: parsed(row, "class")?,
        })
    }
}

impl FromRow<'_, AnyRow> for Known {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            user: User::from_row(row)?,
            password: row.try_get("password")?,
        })
    }
}

/// A column with one of a few words in it.
pub(super) fn parsed<T: std::str::FromStr<Err = ()>>(row: &AnyRow, column: &str) -> Result<T> {
    let text: String = row.try_get(column)?;
    text.parse()
        .map_err(|()| sqlx::Error::Decode(format!("{column} is {text:?}").into()))
}
