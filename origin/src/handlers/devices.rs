//! Devices: they listen, their owners and the staff speak to them, and what they ask is answered later.

use super::author::Author;
use super::json_body::JsonBody;
use super::path::Id;
use super::problem::Problem;
use super::representation::Representation;
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::device::{self, DeviceName};
use crate::domain::job::{Kind, Lane, MOST_WAITING};
use crate::domain::user::Role;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;

pub async fn list(State(app): State<Arc<App>>, author: Author) -> Result<Response, Problem> {
    let devices = app.store.devices(author.id(), author.at).await?;
    Ok(Representation::json(&json!({ "items": devices })).private())
}

/// To one device.
pub async fn tell(
    State(app): State<Arc<App>>,
    author: Author,
    Path(name): Path<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let text = device::text(body)?;
    let device = own(&app, &author, &name).await?;
    say(&app, &author, Some(&device), &text).await
}

/// To all devices.
pub async fn broadcast(
    State(app): State<Arc<App>>,
    author: Author,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    author.must_be(Role::Staff)?;
    say(&app, &author, None, &device::text(body)?).await
}

/// The answer comes later, and the device is told.
pub async fn ask(
    State(app): State<Arc<App>>,
    author: Author,
    Path(name): Path<String>,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let text = device::text(body)?;
    let device = own(&app, &author, &name).await?;
    if app.store.waiting(Kind::Request).await? >= MOST_WAITING {
        return Err(Problem::busy());
    }
    let id = app.store.ask(&device, &text, None, author.at).await?;
    let id = id.ok_or_else(Problem::busy)?;
    app.work_in(Lane::Requests).notify_one();
    let shown = find(&app, id).await?;
    let path = format!("/api/v1/requests/{id}");
    Ok(Representation::json(&shown).placed(path, StatusCode::ACCEPTED, ""))
}

pub async fn request(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
) -> Result<Response, Problem> {
    let request = find(&app, id).await?;
    own(&app, &author, &request.device).await?;
    Ok(Representation::json(&request).private())
}

/// Its name, if it is theirs, or nobody's until now. Staff may do what owners may.
pub async fn own(app: &App, author: &Author, name: &str) -> Result<DeviceName, Problem> {
    let name: DeviceName = name.parse().map_err(|()| Problem::no_such("device"))?;
    let owner = app.store.claim_device(&name, author.id(), author.at);
    if owner.await? == author.id() || author.may(Role::Staff) {
        return Ok(name);
    }
    Err(Problem::forbidden("The device is somebody else's."))
}

async fn find(app: &App, id: i64) -> Result<device::Request, Problem> {
    let request = app.store.request(id).await?;
    request.ok_or_else(|| Problem::no_such("request"))
}

async fn say(
    app: &App,
    author: &Author,
    device: Option<&DeviceName>,
    text: &str,
) -> Result<Response, Problem> {
    let id = app.store.say(device, text, author.by()).await?;
    app.hub.wake_all();
    let said = json!({ "id": id, "at": Moment::iso(author.at) });
    Ok(Representation::json(&said).written(StatusCode::ACCEPTED, ""))
}
