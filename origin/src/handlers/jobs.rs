//! For the staff: jobs that failed for good, and doing them again. Those of a shard that can't be reached are seen
//! when it can.

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
use std::{cmp::Reverse, sync::Arc};

pub async fn dead(
    State(app): State<Arc<App>>,
    author: Author,
    AskedPage(page): AskedPage,
) -> Result<Response, Problem> {
    author.must_be(Role::Staff)?;
    let mut found = Vec::new();
    for store in app.stores().filter(|store| store.is_readable()) {
        let dead = store.jobs(JobState::Dead, page.before(), page.limit + 1);
        found.extend(dead.await?);
    }
    found.sort_by_key(|job| Reverse(job.id));
    Ok(Representation::page(&page, found, |job| job.id).private())
}

pub async fn replay(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
) -> Result<Response, Problem> {
    author.must_be(Role::Staff)?;
    for store in app.stores().filter(|store| store.is_reachable()) {
        if let Some(job) = store.replay(id, author.by()).await? {
            app.work_in(job.kind.lane()).notify_one();
            return Ok(Representation::json(&job).written(StatusCode::ACCEPTED, ""));
        }
    }
    Err(Problem::no_such("dead job"))
}
