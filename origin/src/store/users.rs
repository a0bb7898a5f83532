//! People.

use super::Store;
use crate::domain::user::User;
use sqlx::{Result, query, query_as};

/// What a login is checked against.
pub struct Known {
    pub id: i64,
    pub password: Option<String>,
}

impl Store {
    /// `None` when the address is taken.
    pub async fn insert_user(
        &self,
        name: &str,
        email: &str,
        password: &str,
    ) -> Result<Option<User>> {
        let inserted = query("INSERT INTO users (name, email, password) VALUES (?, ?, ?)")
            .bind(name)
            .bind(email)
            .bind(password)
            .execute(&self.writer)
            .await;
        match inserted {
            Ok(done) => Ok(Some(User {
                id: done.last_insert_rowid(),
                name: name.into(),
                email: email.into(),
            })),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn user_by_email(&self, email: &str) -> Result<Option<Known>> {
        let row: Option<(i64, Option<String>)> =
            query_as("SELECT id, password FROM users WHERE email = ?")
                .bind(email)
                .fetch_optional(&self.readers)
                .await?;
        Ok(row.map(|(id, password)| Known { id, password }))
    }
}
