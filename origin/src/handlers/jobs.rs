//! For the staff: jobs that failed for good, and doing them again.

use super::author::Author;
use super::path::Id;
use super::problem::Problem;
use super::query::Asked;
use super::representation::Representation;
use crate::app::App;
use crate::domain::job::State as JobState;
use crate::domain::page::PageQuery;
use crate::domain::user::Role;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;

pub async fn dead(
    State(app): State<Arc<App>>,
    author: Author,
    Asked(query): Asked<PageQuery>,
) -> Result<Response, Problem> {
    author.must_be(Role::Staff)?;
    let page = query.check().map_err(Problem::bad_query)?;
    let found = app
        .store
        .jobs(JobState::Dead, page.before(), page.limit + 1);
    let mut items = found.await?;
    let next = page.cut(&mut items, |job| job.id);
    let list = json!({ "items": items, "next": next.map(|cursor| cursor.to_string()) });
    Ok(Representation::json(&list).private())
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
