//! Devices: they listen, their owners and the staff speak to them, and what they ask is answered later.

use super::author::Author;
use super::json_body::JsonBody;
use super::path::{Id, Named};
use super::problem::Problem;
use super::query::AskedPage;
use super::representation::Representation;
use crate::app::App;
use crate::domain::device::{self, DeviceName, MOST_DEVICES};
use crate::domain::job::{Kind, Lane, MOST_WAITING};
use crate::domain::page::Stamp;
use crate::domain::user::Role;
use crate::shards::Shard;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

pub async fn list(State(app): State<Arc<App>>, author: Author) -> Result<Response, Problem> {
    let devices = app.store.devices(author.id(), author.at).await?;
    Ok(Representation::json(&json!({ "items": devices })).private())
}

/// To one device.
pub async fn tell(
    State(app): State<Arc<App>>,
    author: Author,
    Named(name): Named,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let (device, text) = addressed(&app, &author, &name, body).await?;
    let store = &app.shards.of(&device)?.store;
    let id = store.say(Some(&device), &text, author.by()).await?;
    app.shards.wake_all();
    Ok(said(&author, id))
}

/// To all devices.
pub async fn broadcast(
    State(app): State<Arc<App>>,
    author: Author,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    author.must_be(Role::Staff)?;
    let text = device::text(body)?;
    let mut told = Vec::new();
    for shard in app.shards.all() {
        // Whose shard can be reached is told, whatever becomes of the others.
        told.push(tell_all_of(shard, &text, &author).await);
    }
    app.shards.wake_all();
    let numbers: Result<Vec<i64>, Problem> = told.into_iter().collect();
    let not_all = |_| Problem::later("Some devices can't be told at the moment; the others are.");
    Ok(said(&author, numbers.map_err(not_all)?[0]))
}

/// The answer comes later, and the device is told.
pub async fn ask(
    State(app): State<Arc<App>>,
    author: Author,
    Named(name): Named,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let (device, text) = addressed(&app, &author, &name, body).await?;
    let store = &app.shards.of(&device)?.store;
    if store.waiting(Kind::Request).await? >= MOST_WAITING {
        return Err(Problem::busy());
    }
    let id = store.ask(&device, &text, None, author.by()).await?;
    let id = id.ok_or_else(Problem::busy)?;
    app.work_in(Lane::Requests).notify_one();
    let shown = find(&app, id).await?;
    let path = format!("/api/v1/requests/{id}");
    Ok(Representation::json(&shown).placed(path, StatusCode::ACCEPTED, ""))
}

/// What all of somebody's devices asked, wherever that is.
pub async fn requests(
    State(app): State<Arc<App>>,
    author: Author,
    AskedPage(page): AskedPage<Stamp>,
) -> Result<Response, Problem> {
    let devices = app.store.devices(author.id(), author.at).await?;
    let names = devices.iter().flat_map(|device| device.name.parse());
    let found = app.shards.requests_of(names.collect(), &page).await?;
    Ok(Representation::page(&page, found, device::Request::stamp).private())
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

/// What is said to a device, or asked for it, by whoever may.
async fn addressed(
    app: &App,
    author: &Author,
    name: &str,
    body: Value,
) -> Result<(DeviceName, String), Problem> {
    let text = device::text(body)?;
    Ok((own(app, author, name).await?, text))
}

/// Its name, if it is theirs, or nobody's until now. Staff may do what owners may.
pub async fn own(app: &App, author: &Author, name: &str) -> Result<DeviceName, Problem> {
    let name: DeviceName = name.parse().map_err(|()| Problem::no_such("device"))?;
    let owner = app
        .store
        .claim_device(&name, author.id(), MOST_DEVICES, author.at);
    let too_many = || Problem::conflict(format!("Nobody has more than {MOST_DEVICES} devices."));
    let owner = owner.await?.ok_or_else(too_many)?;
    if owner == author.id() || author.may(Role::Staff) {
        return Ok(name);
    }
    Err(Problem::forbidden("The device is somebody else's."))
}

async fn find(app: &App, id: i64) -> Result<device::Request, Problem> {
    let request = app.shards.request(id).await?;
    request.ok_or_else(|| Problem::no_such("request"))
}

async fn tell_all_of(shard: &Shard, text: &str, author: &Author) -> Result<i64, Problem> {
    let store = &shard.reached()?.store;
    Ok(store.say(None, text, author.by()).await?)
}

fn said(author: &Author, id: i64) -> Response {
    let said = json!({ "id": id, "at": author.at });
    Representation::json(&said).written(StatusCode::ACCEPTED, "")
}
