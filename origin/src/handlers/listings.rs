//! Listings: everybody reads them, their owners write them.

use super::author::Author;
use super::json_body::JsonBody;
use super::path::Id;
use super::problem::Problem;
use super::query::Asked;
use super::representation::{Representation, changed_meanwhile, gone};
use crate::app::App;
use crate::domain::listing::{Draft, Listing};
use crate::domain::page::Cursor;
use crate::domain::search::{Search, SearchQuery};
use crate::domain::user::Role;
use crate::jobs::demo;
use crate::observe::log;
use crate::store::Removed;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;

/// The edge may keep for longer what a write takes back there.
const LIST: &str = "public, max-age=5, s-maxage=60, stale-while-revalidate=30";
/// Until the demonstration has all its photos.
const SOON: &str = "public, max-age=1";
const ONE: &str = "public, max-age=10, s-maxage=60";

/// Bookings also end by themselves, when nobody pays or a payment is taken back, and nothing tells the edge.
pub const BOOKED: &str = "public, max-age=5";

/// Tag of all that shows several listings.
pub const LISTS: &str = "listings";

pub async fn list(
    State(app): State<Arc<App>>,
    Asked(query): Asked<SearchQuery>,
) -> Result<Response, Problem> {
    let search = query.check().map_err(Problem::bad_query)?;
    let cache = while_complete(&app, kept(&search, LIST)).await?;
    let (items, next) = turn(&app, &search).await?;
    let list = json!({ "items": items, "next": next.map(|cursor| cursor.to_string()) });
    let mut response = Representation::json(&list).answer(cache, LISTS);
    if let Some(cursor) = next {
        let query = search.query_after(cursor);
        let link = format!("</api/v1/listings?{query}>; rel=\"next\"");
        let link = link.parse().expect("the query is percent-encoded");
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

pub async fn facets(
    State(app): State<Arc<App>>,
    Asked(query): Asked<SearchQuery>,
) -> Result<Response, Problem> {
    let search = query.check().map_err(Problem::bad_query)?;
    let facets = app.store.facets(&search).await?;
    Ok(Representation::json(&facets).answer(kept(&search, LIST), LISTS))
}

/// Nothing typed suggests nothing.
pub async fn suggestions(
    State(app): State<Arc<App>>,
    Asked(query): Asked<SearchQuery>,
) -> Result<Response, Problem> {
    let search = query.check().map_err(Problem::bad_query)?;
    let cache = kept(&search, LIST);
    let titles = match search.words {
        None => Vec::new(),
        Some(_) => app.store.suggestions(&search).await?,
    };
    let list = json!({ "items": titles });
    Ok(Representation::json(&list).answer(cache, LISTS))
}

pub async fn show(State(app): State<Arc<App>>, Id(id): Id) -> Result<Response, Problem> {
    let listing = find(&app, id).await?;
    Ok(Representation::json(&listing).answer(ONE, &tag(id)))
}

pub async fn create(
    State(app): State<Arc<App>>,
    author: Author,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let draft = Draft::read(body)?;
    let id = app
        .store
        .insert_listing(author.id(), &draft, author.by())
        .await?;
    let created = Representation::json(&find(&app, id).await?);
    let path = format!("/api/v1/listings/{id}");
    Ok(created.placed(path, StatusCode::CREATED, LISTS))
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
    if !app.store.update_listing(&seen, &draft, author.by()).await? {
        return Err(changed_meanwhile());
    }
    let changed = find(&app, id).await?;
    Ok(Representation::json(&changed).written(StatusCode::OK, &tags(id)))
}

pub async fn remove(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let seen = find_own(&app, id, &author).await?;
    Representation::json(&seen).expect_match(&request, false)?;
    let photos = match app
        .store
        .delete_listing(id, seen.version, author.by())
        .await?
    {
        Removed::Yes(photos) => photos,
        Removed::ChangedMeanwhile => return Err(changed_meanwhile()),
        Removed::Booked => {
            let detail = "Somebody has booked it, so it stays on record. Archive it instead.";
            return Err(Problem::conflict(detail));
        }
    };
    let mut invalid = tags(id);
    for photo in photos {
        invalid += &format!(", photo-{photo}");
        // The listing is gone either way; a file left behind only costs space.
        if let Err(error) = app.files.remove(&photo).await {
            log::error(
                "photo_left",
                json!({ "name": photo.to_string(), "reason": error.to_string() }),
            );
        }
    }
    Ok(gone(&invalid))
}

/// What depends on booked days, for a moment.
pub fn kept(search: &Search, cache: &'static str) -> &'static str {
    match search.days {
        Some(_) => BOOKED,
        None => cache,
    }
}

/// How long what shows several listings may be kept.
pub async fn while_complete(app: &App, cache: &'static str) -> Result<&'static str, Problem> {
    match demo::is_complete(app).await? {
        true => Ok(cache),
        false => Ok(SOON),
    }
}

/// One page, and where the next begins if there is one.
pub async fn turn(app: &App, search: &Search) -> Result<(Vec<Listing>, Option<Cursor>), Problem> {
    let mut items = app.store.listings(search).await?;
    let next = search.page.cut(&mut items, |listing| listing.id);
    Ok((items, next))
}

/// Staff may do what owners may.
pub async fn find_own(app: &App, id: i64, author: &Author) -> Result<Listing, Problem> {
    let listing = find(app, id).await?;
    if listing.owner.id == author.id() || author.may(Role::Staff) {
        return Ok(listing);
    }
    Err(Problem::forbidden("Only its owner may change a listing."))
}

pub async fn find(app: &App, id: i64) -> Result<Listing, Problem> {
    app.store
        .listing(id)
        .await?
        .ok_or_else(|| Problem::no_such("listing"))
}

/// Tag of what shows one listing.
pub fn tag(id: i64) -> String {
    format!("listing-{id}")
}

/// Of all that looks different when a listing has changed.
pub fn tags(id: i64) -> String {
    format!("{LISTS}, {}", tag(id))
}
