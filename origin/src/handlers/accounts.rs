//! Registering and logging in.

use super::json_body::JsonBody;
use super::problem::Problem;
use super::representation::{NO_STORE, Representation};
use crate::app::App;
use crate::domain::user::{Login, Registration};
use axum::{extract::State, http::StatusCode, response::Response};
use serde_json::json;
use std::sync::Arc;

pub async fn register(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let Registration {
        name,
        email,
        password,
    } = Registration::read(body)?;
    let hash = app.passwords.hash(password).await?;
    let Some(user) = app.store.insert_user(&name, &email, &hash).await? else {
        let detail = "Somebody is registered with this e-mail address.";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    let answer = json!({ "token": app.tokens.issue(user.id), "user": user });
    Ok(Representation::json(&answer).written(StatusCode::CREATED, NO_STORE))
}

pub async fn login(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let Login { email, password } = Login::read(body)?;
    let (user, hash) = match app.store.user_by_email(&email).await? {
        Some(known) => (Some(known.id), known.password),
        None => (None, None),
    };
    match (user, app.passwords.verify(password, hash).await?) {
        (Some(user), true) => {
            let answer = json!({ "token": app.tokens.issue(user) });
            Ok(Representation::json(&answer).written(StatusCode::OK, NO_STORE))
        }
        _ => Err(Problem::unauthorized(
            "E-mail address or password are wrong.",
        )),
    }
}
