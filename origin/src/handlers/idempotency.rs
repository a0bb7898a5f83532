//! `Idempotency-Key`: what is sent again under the same key happens once.
//! draft-ietf-httpapi-idempotency-key-header.

use super::problem::Problem;
use crate::store::Key;
use axum::extract::FromRequestParts;
use axum::http::{StatusCode, request::Parts};

/// Chosen by the client: 1 to 128 visible ASCII characters.
pub struct IdempotencyKey(pub String);

impl IdempotencyKey {
    /// The key, for this question.
    pub fn of(self, asked: &str) -> Key {
        Key::new(self.0, asked)
    }

    pub fn reused() -> Problem {
        let detail = "This Idempotency-Key was used for something else.";
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let key = parts.headers.get("idempotency-key");
        let key = key.and_then(|value| value.to_str().ok());
        let fits = |key: &&str| {
            (1..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
        };
        key.filter(fits)
            .map(|key| Self(key.to_owned()))
            .ok_or_else(|| {
                let rule = "must be sent: 1 to 128 visible ASCII characters";
                Problem::malformed("Idempotency-Key", rule)
            })
    }
}
