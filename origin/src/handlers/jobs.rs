//! For the staff: jobs that failed for good, and doing them again.

use super::author::Author;
use super::path::Id;
use super::problem::Problem;
use super::query::AskedPage;
use super::representation::Representation;
use crate::app::App;
use crate::domain::job::State as JobState;
use crate::domain::user::Role;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;

pub async fn dead(
    State(app): State<Arc<App>>,
    author: Author,
    AskedPage(page): AskedPage,
) -> Result<Response, Problem> {
    author.must_be(Role::Staff)?;
    let found = app
        .store
        .jobs(JobState::Dead, page.before(), page.limit + 1);
    Ok(Representation::page(&page, found.await?, |job| job.id).private())
}

pub async fn replay(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
) -> Result<Response, Problem> {
    author.must_be(Role::Staff)?;
    let job = app.store.replay(id, author.by()).await?;
    let job = job.ok_or_else(|| Problem::no_such("dead job"))?;
    app.work.notify_one();
    Ok(Representation::json(&job).written(StatusCode::ACCEPTED, ""))
}
