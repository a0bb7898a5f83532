//! Issues: everybody reads them, who is signed in reports them, the staff sees to them.

use super::author::Author;
use super::json_body::JsonBody;
use super::path::Id;
use super::photos::receive;
use super::problem::Problem;
use super::query::Asked;
use super::representation::{Representation, changed_meanwhile};
use crate::app::App;
use crate::domain::fields::Faults;
use crate::domain::issue::{Change, Issue, Report};
use crate::domain::page::Page;
use crate::domain::photo::{MOST_PER_ISSUE, PhotoName};
use crate::domain::user::Role;
use crate::store::PhotoAdded;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use std::sync::Arc;

const CACHE: &str = "public, max-age=5, s-maxage=60";

/// Tag of all that shows several issues.
const LISTS: &str = "issues";

#[derive(Deserialize)]
pub struct IssueQuery {
    limit: Option<String>,
    cursor: Option<String>,
    state: Option<String>,
}

pub async fn list(
    State(app): State<Arc<App>>,
    Asked(query): Asked<IssueQuery>,
) -> Result<Response, Problem> {
    let mut faults = Faults::default();
    let page: Page = Page::read(query.limit.as_deref(), query.cursor.as_deref(), &mut faults);
    let state = query.state.as_deref().map(str::parse).transpose();
    let rule = "must be one of open, in_progress, resolved, closed";
    faults.note("state", state.is_ok(), rule);
    let page = faults.finish(page).map_err(Problem::bad_query)?;
    let state = state.unwrap_or_default();
    let found = app.store.issues(state, page.before(), page.limit + 1);
    let list = Representation::page(&page, found.await?, |issue| issue.id);
    Ok(list.answer(CACHE, LISTS))
}

pub async fn report(
    State(app): State<Arc<App>>,
    author: Author,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let report = Report::read(body)?;
    let id = app
        .store
        .insert_issue(author.id(), &report, author.by())
        .await?;
    let created = Representation::json(&find(&app, id).await?);
    let path = format!("/api/v1/issues/{id}");
    Ok(created.placed(path, StatusCode::CREATED, LISTS))
}

pub async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Result<Response, Problem> {
    let issue = find(&app, id).await?;
    Ok(Representation::json(&issue).answer(CACHE, &tag(id)))
}

pub async fn change(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
    request: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let seen = find_concerning(&app, id, &author).await?;
    Representation::json(&seen).expect_match(&request, true)?;
    let change = Change::read(body)?;
    if !seen.state.may_become(change.state, author.may(Role::Staff)) {
        let (from, to) = (seen.state, change.state);
        return Err(Problem::conflict(format!(
            "You can't bring it from {from} to {to}."
        )));
    }
    if !app.store.change_issue(&seen, &change, author.by()).await? {
        return Err(changed_meanwhile());
    }
    let changed = Representation::json(&find(&app, id).await?);
    Ok(changed.written(StatusCode::OK, &tags(id)))
}

/// Those that it had before are kept, so that history can be told.
pub async fn add_photo(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = receive(&app, &headers, body, may_add_photo(&app, id, &author))
        .await?
        .name;
    show_photo(&app, id, &name, &author).await?;
    let changed = Representation::json(&find(&app, id).await?);
    Ok(changed.written(StatusCode::OK, &tags(id)))
}

/// Asked before the upload for the sake of its sender; what counts is checked again with the insert.
async fn may_add_photo(app: &App, id: i64, author: &Author) -> Result<(), Problem> {
    let issue = find_concerning(app, id, author).await?;
    match issue.photos.len() < MOST_PER_ISSUE as usize {
        true => Ok(()),
        false => Err(no_room()),
    }
}

/// Has the issue show what was received; if it may not, nothing is left of it.
async fn show_photo(app: &App, id: i64, name: &PhotoName, author: &Author) -> Result<(), Problem> {
    let refused = match find_concerning(app, id, author).await {
        Err(refused) => refused,
        Ok(seen) => match app.store.add_issue_photo(&seen, name, author.by()).await {
            Ok(PhotoAdded::Yes) => return Ok(()),
            Ok(PhotoAdded::NoRoom) => no_room(),
            Ok(PhotoAdded::Changed) => changed_meanwhile(),
            Err(error) => {
                // Perhaps the issue shows it all the same: that is looked at later.
                app.files.doubt(name).await?;
                return Err(error.into());
            }
        },
    };
    app.files.remove(name).await?;
    Err(refused)
}

async fn find(app: &App, id: i64) -> Result<Issue, Problem> {
    let issue = app.store.issue(id).await?;
    issue.ok_or_else(|| Problem::no_such("issue"))
}

async fn find_concerning(app: &App, id: i64, author: &Author) -> Result<Issue, Problem> {
    let issue = find(app, id).await?;
    if issue.reporter == author.id() || author.may(Role::Staff) {
        return Ok(issue);
    }
    let detail = "Only the staff and whoever reported an issue may change it.";
    Err(Problem::forbidden(detail))
}

fn no_room() -> Problem {
    Problem::conflict(format!(
        "An issue may have at most {MOST_PER_ISSUE} photos."
    ))
}

fn tag(id: i64) -> String {
    format!("issue-{id}")
}

fn tags(id: i64) -> String {
    format!("{LISTS}, {}", tag(id))
}
