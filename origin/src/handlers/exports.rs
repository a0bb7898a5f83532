//! Exports: somebody asks for a table, comes back when it is made, and takes it along.

use super::author::Author;
use super::json_body::JsonBody;
use super::path::Id;
use super::problem::Problem;
use super::representation::Representation;
use crate::app::App;
use crate::domain::export::{self, About};
use crate::domain::user::Role;
use crate::store::Export;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

pub async fn ask(
    State(app): State<Arc<App>>,
    author: Author,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let about = export::read(body)?;
    if about == About::Analytics {
        author.must_be(Role::Staff)?;
    }
    let id = app
        .store
        .ask_export(author.id(), about, author.by())
        .await?;
    app.work.notify_one();
    let shown = find_own(&app, id, &author).await?;
    let path = format!("/api/v1/exports/{id}");
    Ok(Representation::json(&shown).placed(path, StatusCode::ACCEPTED, ""))
}

pub async fn show(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
) -> Result<Response, Problem> {
    Ok(Representation::json(&find_own(&app, id, &author).await?).private())
}

pub async fn csv(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
) -> Result<Response, Problem> {
    let export = find_own(&app, id, &author).await?;
    let csv = app.store.export_csv(id).await?;
    let csv = csv.ok_or_else(|| Problem::conflict("The export is not made yet."))?;
    let name = format!("attachment; filename=\"{}-{id}.csv\"", export.about);
    let head = [
        (
            header::CONTENT_TYPE,
            "text/csv; charset=utf-8; header=present".into(),
        ),
        (header::CONTENT_DISPOSITION, name),
        (header::CACHE_CONTROL, "private, no-store".into()),
    ];
    Ok((head, csv).into_response())
}

async fn find_own(app: &App, id: i64, author: &Author) -> Result<Export, Problem> {
    author.own(app.store.export(id).await?, |export| export.owner, "export")
}
