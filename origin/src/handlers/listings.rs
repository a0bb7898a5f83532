//! Listings: everybody reads them, their owners write them.

use super::author::Author;
use super::json_body::JsonBody;
use super::problem::Problem;
use super::representation::{NO_STORE, Representation, changed_meanwhile};
use crate::app::App;
use crate::domain::listing::{Draft, Listing};
use crate::domain::page::{Cursor, Page, PageQuery};
use crate::log;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;

const LIST: &str = "public, max-age=5, stale-while-revalidate=30";
const ONE: &str = "public, max-age=10";

pub async fn list(
    State(app): State<Arc<App>>,
    page: Page,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let (items, next) = turn(&app, &page).await?;
    let next = next.map(|cursor| cursor.to_string());
    let list = Representation::json(&json!({ "items": items, "next": next }));
    let mut response = list.answer(&request, LIST);
    if let Some(cursor) = next {
        let link = link_to_next(&page, &cursor);
        let link = link
            .parse()
            .expect("cursors and categories are visible ASCII");
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

pub async fn show(
    State(app): State<Arc<App>>,
    ListingId(id): ListingId,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let listing = find(&app, id).await?;
    Ok(Representation::json(&listing).answer(&request, ONE))
}

pub async fn create(
    State(app): State<Arc<App>>,
    Author(author): Author,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let draft = Draft::read(body)?;
    let id = app.store.insert_listing(author, &draft).await?;
    let created = Representation::json(&find(&app, id).await?);
    let location = [(header::LOCATION, format!("/api/v1/listings/{id}"))];
    Ok((location, created.written(StatusCode::CREATED, NO_STORE)).into_response())
}

pub async fn change(
    State(app): State<Arc<App>>,
    Author(author): Author,
    ListingId(id): ListingId,
    request: HeaderMap,
    JsonBody(patch): JsonBody,
) -> Result<Response, Problem> {
    let seen = find_own(&app, id, author).await?;
    Representation::json(&seen).expect_match(&request, true)?;
    let draft = seen.draft.patched(patch)?;
    if !app.store.update_listing(id, seen.version, &draft).await? {
        return Err(changed_meanwhile());
    }
    let changed = find(&app, id).await?;
    Ok(Representation::json(&changed).written(StatusCode::OK, NO_STORE))
}

pub async fn remove(
    State(app): State<Arc<App>>,
    Author(author): Author,
    ListingId(id): ListingId,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let seen = find_own(&app, id, author).await?;
    Representation::json(&seen).expect_match(&request, false)?;
    let Some(photos) = app.store.delete_listing(id, seen.version).await? else {
        return Err(changed_meanwhile());
    };
    for photo in photos {
        // The listing is gone either way; a file left behind only costs space.
        if let Err(error) = app.files.remove(&photo).await {
            log::error(
                "photo_left",
                json!({ "name": photo.to_string(), "reason": error.to_string() }),
            );
        }
    }
    Ok((StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, NO_STORE)]).into_response())
}

/// One page, and where the next begins if there is one.
pub async fn turn(app: &App, page: &Page) -> Result<(Vec<Listing>, Option<Cursor>), Problem> {
    let mut items = app.store.listings(page).await?;
    let limit = page.limit as usize;
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| Cursor(last.id));
    Ok((items, next))
}

pub async fn find_own(app: &App, id: i64, author: i64) -> Result<Listing, Problem> {
    let listing = find(app, id).await?;
    if listing.owner.id == author {
        return Ok(listing);
    }
    Err(Problem::new(
        StatusCode::FORBIDDEN,
        "Only its owner may change a listing.",
    ))
}

async fn find(app: &App, id: i64) -> Result<Listing, Problem> {
    app.store
        .listing(id)
        .await?
        .ok_or_else(|| Problem::no_such("listing"))
}

fn link_to_next(page: &Page, cursor: &str) -> String {
    let limit = page.limit;
    let category = match &page.category {
        Some(category) => format!("&category={category}"),
        None => String::new(),
    };
    format!("</api/v1/listings?limit={limit}&cursor={cursor}{category}>; rel=\"next\"")
}

/// A listing's identifier in a path; anything else there names no listing.
pub struct ListingId(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for ListingId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<i64>::from_request_parts(parts, state).await;
        path.map(|Path(id)| Self(id))
            .map_err(|_| Problem::no_such("listing"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<PageQuery>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::new(StatusCode::BAD_REQUEST, rejection.body_text()))?;
        query
            .check()
            .map_err(|invalid| Problem::invalid(StatusCode::BAD_REQUEST, invalid))
    }
}
