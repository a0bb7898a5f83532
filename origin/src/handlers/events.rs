//! Events: everybody sees them, who is signed in invites to one, and who comes is found by a job.

use super::author::Author;
use super::json_body::JsonBody;
use super::path::Id;
use super::problem::Problem;
use super::query::AskedPage;
use super::representation::Representation;
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::event::{Draft, Event};
use crate::domain::user::Role;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;

const CACHE: &str = "public, max-age=5, s-maxage=60";

/// Tag of whatever shows events.
const EVENTS: &str = "events";

pub async fn list(
    State(app): State<Arc<App>>,
    AskedPage(page): AskedPage,
) -> Result<Response, Problem> {
    let found = app
        .store
        .events(Moment::now(), page.before(), page.limit + 1);
    let list = Representation::page(&page, found.await?, |event| event.id);
    Ok(list.answer(CACHE, EVENTS))
}

pub async fn create(
    State(app): State<Arc<App>>,
    author: Author,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let draft = Draft::read(body, author.at)?;
    let created = app
        .store
        .insert_event(author.id(), &draft, author.by())
        .await?;
    let id = created.ok_or_else(|| {
        Problem::conflict("You have as many events ahead as anybody may have; cancel one.")
    })?;
    let created = Representation::json(&find(&app, id).await?);
    let path = format!("/api/v1/events/{id}");
    Ok(created.placed(path, StatusCode::CREATED, EVENTS))
}

pub async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Result<Response, Problem> {
    let event = find(&app, id).await?;
    Ok(Representation::json(&event).answer(CACHE, EVENTS))
}

/// Cancelling what is cancelled changes nothing, and is no mistake.
pub async fn cancel(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
) -> Result<Response, Problem> {
    find_own(&app, id, &author).await?;
    app.store.cancel_event(id, author.by()).await?;
    let cancelled = Representation::json(&find(&app, id).await?);
    Ok(cancelled.written(StatusCode::OK, EVENTS))
}

/// Who was offered a place, for the organiser.
pub async fn matches(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
    AskedPage(page): AskedPage,
) -> Result<Response, Problem> {
    find_own(&app, id, &author).await?;
    let found = app.store.matches_at(id, page.before(), page.limit + 1);
    Ok(Representation::page(&page, found.await?, |one| one.id).private())
}

async fn find(app: &App, id: i64) -> Result<Event, Problem> {
    let event = app.store.event(id).await?;
    event.ok_or_else(|| Problem::no_such("event"))
}

async fn find_own(app: &App, id: i64, author: &Author) -> Result<Event, Problem> {
    let event = find(app, id).await?;
    match event.organiser == author.id() || author.may(Role::Staff) {
        true => Ok(event),
        false => Err(Problem::forbidden("This is for its organiser.")),
    }
}
