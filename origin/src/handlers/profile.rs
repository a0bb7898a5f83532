//! What somebody says of themselves, to be offered places at events. Nobody else sees it.

use super::author::Author;
use super::json_body::JsonBody;
use super::problem::Problem;
use super::representation::{Representation, gone};
use crate::app::App;
use crate::domain::profile::Profile;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;

pub async fn show(State(app): State<Arc<App>>, author: Author) -> Result<Response, Problem> {
    let profile = app.store.profile(author.id()).await?;
    let profile = profile.ok_or_else(|| Problem::no_such("profile"))?;
    Ok(Representation::json(&profile).private())
}

pub async fn put(
    State(app): State<Arc<App>>,
    author: Author,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let profile = Profile::read(body)?;
    app.store
        .put_profile(author.id(), &profile, author.by())
        .await?;
    Ok(Representation::json(&profile).written(StatusCode::OK, ""))
}

pub async fn remove(State(app): State<Arc<App>>, author: Author) -> Result<Response, Problem> {
    match app.store.remove_profile(author.id(), author.by()).await? {
        true => Ok(gone("")),
        false => Err(Problem::no_such("profile")),
    }
}
