//! Tasks: everybody sees them, who is signed in adds them, their owners and the staff change them.

use super::author::Author;
use super::json_body::JsonBody;
use super::path::Id;
use super::problem::Problem;
use super::query::Asked;
use super::representation::{Representation, changed_meanwhile, gone};
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::task::{Draft, Task, TaskQuery};
use crate::domain::user::Role;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;

const CACHE: &str = "public, max-age=5, s-maxage=60";

/// The edge keeps them for ten minutes, or until a task is written.
const STATISTICS: &str = "public, max-age=5, s-maxage=600";

/// Tag of whatever shows tasks: each of them is in a list and in the statistics.
const TASKS: &str = "tasks";

pub async fn list(
    State(app): State<Arc<App>>,
    Asked(query): Asked<TaskQuery>,
) -> Result<Response, Problem> {
    let asked = query.check().map_err(Problem::bad_query)?;
    let found = app.store.tasks(&asked).await?;
    let list = Representation::page(&asked.page, found, |task| task.id);
    Ok(list.answer(CACHE, TASKS))
}

pub async fn statistics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let lists = app.store.task_statistics(Moment::now().day()).await?;
    let answer = json!({ "lists": lists });
    Ok(Representation::json(&answer).answer(STATISTICS, TASKS))
}

pub async fn create(
    State(app): State<Arc<App>>,
    author: Author,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let draft = Draft::read(body)?;
    let id = app
        .store
        .insert_task(author.id(), &draft, author.by())
        .await?;
    let created = Representation::json(&find(&app, id).await?);
    let path = format!("/api/v1/tasks/{id}");
    Ok(created.placed(path, StatusCode::CREATED, TASKS))
}

pub async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Result<Response, Problem> {
    let task = find(&app, id).await?;
    Ok(Representation::json(&task).answer(CACHE, TASKS))
}

pub async fn change(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
    request: HeaderMap,
    JsonBody(patch): JsonBody,
) -> Result<Response, Problem> {
    let seen = find_own(&app, id, &author).await?;
    Representation::json(&seen).expect_match(&request, true)?;
    let draft = seen.draft.patched(patch)?;
    if !app.store.update_task(&seen, &draft, author.by()).await? {
        return Err(changed_meanwhile());
    }
    let changed = Representation::json(&find(&app, id).await?);
    Ok(changed.written(StatusCode::OK, TASKS))
}

pub async fn remove(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let seen = find_own(&app, id, &author).await?;
    Representation::json(&seen).expect_match(&request, false)?;
    match app.store.delete_task(&seen, author.by()).await? {
        true => Ok(gone(TASKS)),
        false => Err(changed_meanwhile()),
    }
}

async fn find(app: &App, id: i64) -> Result<Task, Problem> {
    let task = app.store.task(id).await?;
    task.ok_or_else(|| Problem::no_such("task"))
}

async fn find_own(app: &App, id: i64, author: &Author) -> Result<Task, Problem> {
    let task = find(app, id).await?;
    match task.owner == author.id() || author.may(Role::Staff) {
        true => Ok(task),
        false => Err(Problem::forbidden("Only its owner may change a task.")),
    }
}
