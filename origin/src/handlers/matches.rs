//! Places at events that somebody is offered, and whether they take them.

use super::author::Author;
use super::json_body::JsonBody;
use super::path::Id;
use super::problem::Problem;
use super::query::AskedPage;
use super::representation::{Representation, changed_meanwhile};
use crate::app::App;
use crate::domain::event::{self, Match};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;

pub async fn list(
    State(app): State<Arc<App>>,
    author: Author,
    AskedPage(page): AskedPage,
) -> Result<Response, Problem> {
    let found = app
        .store
        .matches_of(author.id(), page.before(), page.limit + 1);
    Ok(Representation::page(&page, found.await?, |one| one.id).private())
}

/// For whoever it is offered to, and the organiser; for all others there is none.
pub async fn show(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
) -> Result<Response, Problem> {
    let found = find(&app, id, &author, |one| [one.person, one.organiser]).await?;
    Ok(Representation::json(&found).private())
}

pub async fn answer(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let theirs = |one: &Match| [one.person; 2];
    let seen = find(&app, id, &author, theirs).await?;
    let state = event::answer(body)?;
    if seen.cancelled || seen.time.from <= author.at {
        return Err(Problem::conflict("The event is cancelled, or has begun."));
    }
    if !seen.state.may_become(state) {
        return Err(Problem::conflict(
            "You have declined; the place is another's.",
        ));
    }
    if state != seen.state && !app.store.answer_match(&seen, state, author.by()).await? {
        return Err(changed_meanwhile());
    }
    let answered = find(&app, id, &author, theirs).await?;
    Ok(Representation::json(&answered).written(StatusCode::OK, ""))
}

async fn find(
    app: &App,
    id: i64,
    author: &Author,
    concerned: impl Fn(&Match) -> [i64; 2],
) -> Result<Match, Problem> {
    let found = app.store.find_match(id).await?;
    let found = found.filter(|one| concerned(one).contains(&author.id()));
    found.ok_or_else(|| Problem::no_such("match"))
}
