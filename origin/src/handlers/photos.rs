//! Photos: owners add them, everybody sees them.

use super::author::Author;
use super::listings::{ListingId, find_own};
use super::problem::Problem;
use super::representation::{NO_STORE, Representation};
use crate::app::App;
use crate::domain::photo::{MOST_BYTES, MOST_PER_LISTING, PhotoKind, PhotoName};
use crate::store::{Added, Refused};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde_json::json;
use std::{io, sync::Arc, time::Duration};
use tokio::time;
use tower_http::services::ServeFile;

/// A photo never changes under its name.
const FOR_GOOD: &str = "public, max-age=86400, immutable";

/// Fewer, larger reads: a photo has megabytes.
const CHUNK: usize = 256 * 1024;

const LINGER_BYTES: usize = 32 * 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(5);

/// Conditions, ranges and HEAD are the file service's. The query is the edge's: it resizes.
pub async fn show(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let name: PhotoName = name.parse().map_err(|()| Problem::no_such("photo"))?;
    let mut file = ServeFile::new(app.files.path(&name)).with_buf_chunk_size(CHUNK);
    let response = match file.try_call(request).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Problem::no_such("photo"));
        }
        response => response?,
    };
    let mut response = response.map(Body::new);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(FOR_GOOD));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Ok(response)
}

/// Whoever is refused while still sending would often not see why: closing a connection with
/// unread bytes resets it. So a refusal reads on for a while, and drops what it reads.
pub async fn add(
    State(app): State<Arc<App>>,
    Author(author): Author,
    ListingId(id): ListingId,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Response, Problem> {
    let kept = keep(&app, author, id, &headers, &mut body).await;
    if kept.is_err() {
        linger(&mut body).await;
    }
    let name = kept?;
    let created = Representation::json(&json!({ "url": name.path() }));
    let location = [(header::LOCATION, name.path())];
    Ok((location, created.written(StatusCode::CREATED, NO_STORE)).into_response())
}

async fn keep(
    app: &App,
    author: i64,
    id: i64,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<PhotoName, Problem> {
    let kind = kind(headers)?;
    if announced_length(headers).is_some_and(|length| length > MOST_BYTES) {
        return Err(Refused::TooLarge.into());
    }
    let listing = find_own(app, id, author).await?;
    // Before the upload for the sake of its sender; what counts is checked again with the insert.
    if listing.photos.len() >= MOST_PER_LISTING as usize {
        return Err(no_room());
    }
    let name = app.files.receive(kind, body).await?;
    match app.store.add_photo(id, &name).await {
        Ok(Added::Yes) => Ok(name),
        otherwise => {
            app.files.remove(&name).await?;
            otherwise?;
            Err(no_room())
        }
    }
}

async fn linger(body: &mut Body) {
    let drop_rest = async {
        let mut left = LINGER_BYTES;
        while let (1.., Some(Ok(frame))) = (left, body.frame().await) {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    // Time over or all read: the refusal goes out either way.
    let _ = time::timeout(LINGER_TIME, drop_rest).await;
}

fn kind(headers: &HeaderMap) -> Result<PhotoKind, Problem> {
    let label = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    label.and_then(PhotoKind::from_media_type).ok_or_else(|| {
        let detail = "A photo must be image/jpeg, image/png or image/webp.";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    })
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn no_room() -> Problem {
    let detail = format!("A listing may have at most {MOST_PER_LISTING} photos.");
    Problem::new(StatusCode::CONFLICT, detail)
}
