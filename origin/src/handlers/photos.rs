//! Photos: owners add them, everybody sees them.

use super::author::Author;
use super::incoming::{UPLOAD_TIME, announced_length, linger};
use super::listings::{find_own, tags};
use super::path::{Id, Named};
use super::problem::Problem;
use super::representation::Representation;
use crate::app::App;
use crate::domain::photo::{MOST_BYTES, MOST_PER_LISTING, PhotoKind, PhotoName};
use crate::store::{Added, By, Photo, Received, Refused};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use std::{io, pin::pin, sync::Arc};
use tokio::time;
use tower_http::services::ServeFile;

/// A photo never changes under its name.
const FOR_GOOD: &str = "public, max-age=86400, immutable";

/// Fewer, larger reads: a photo has megabytes.
const CHUNK: usize = 256 * 1024;

/// Conditions, ranges and HEAD are the file service's. The query is the edge's: it resizes.
pub async fn show(
    State(app): State<Arc<App>>,
    Named(name): Named,
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
    let tag = HeaderValue::from_str(&format!("photo-{name}"));
    headers.insert(
        HeaderName::from_static("surrogate-key"),
        tag.expect("a photo's name is letters, digits and dashes"),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    Ok(response)
}

/// Acknowledged as soon as it is kept; what pages show of it is made later, and until then, or if that
/// fails, they show the photo itself.
pub async fn add(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let received = receive(&app, &headers, body, may_add(&app, id, &author)).await?;
    attach(&app, id, &received, author.by()).await?;
    let shown = Photo::added(id, &received.name);
    let path = format!("/api/v1/photos/{}", received.name);
    Ok(Representation::json(&shown).placed(path, StatusCode::CREATED, &tags(id)))
}

/// Has the listing show what was received; if it may not, nothing is left of it.
pub async fn attach(app: &App, id: i64, received: &Received, by: By) -> Result<(), Problem> {
    let name = &received.name;
    let refused = match app.batches.add_photo(id, name, by).await {
        Ok(Added::Yes) => {
            app.work.notify_one();
            app.metrics.acknowledged(received.whole.elapsed());
            return Ok(());
        }
        Ok(Added::NoRoom) => no_room(),
        Ok(Added::TooManyWaiting) => Problem::busy(),
        Err(error) => {
            // Perhaps the listing shows it all the same: that is looked at later.
            app.files.doubt(name).await?;
            return Err(error.into());
        }
    };
    app.files.remove(name).await?;
    Err(refused)
}

/// How far it is.
pub async fn progress(
    State(app): State<Arc<App>>,
    Named(name): Named,
) -> Result<Response, Problem> {
    let name: PhotoName = name.parse().map_err(|()| Problem::no_such("photo"))?;
    Ok(Representation::json(&find(&app, &name).await?).private())
}

pub async fn find(app: &App, name: &PhotoName) -> Result<Photo, Problem> {
    let photo = app.store.photo(name).await?;
    photo.ok_or_else(|| Problem::no_such("photo"))
}

/// Keeps what is uploaded, in its turn, if whoever sends it may.
pub async fn receive(
    app: &App,
    headers: &HeaderMap,
    mut body: Body,
    may: impl Future<Output = Result<(), Problem>>,
) -> Result<Received, Problem> {
    let kept = keep(app, headers, &mut body, may).await;
    if kept.is_err() {
        linger(&mut body).await;
    }
    kept
}

async fn keep(
    app: &App,
    headers: &HeaderMap,
    body: &mut Body,
    may: impl Future<Output = Result<(), Problem>>,
) -> Result<Received, Problem> {
    let kind = kind(headers)?;
    let most = announced_length(headers).unwrap_or(MOST_BYTES);
    if most > MOST_BYTES {
        return Err(Refused::TooLarge.into());
    }
    may.await?;
    let _turn = app.uploads.enter().await?;
    let chunks = pin!(app.turns.read(body, most));
    let received = time::timeout(UPLOAD_TIME, app.files.receive(kind, chunks)).await;
    Ok(received.unwrap_or(Err(Refused::BrokenOff))?)
}

/// Asked before the upload for the sake of its sender; what counts is checked again with the insert.
async fn may_add(app: &App, id: i64, author: &Author) -> Result<(), Problem> {
    let listing = find_own(app, id, author).await?;
    match listing.photos.len() < MOST_PER_LISTING as usize {
        true => Ok(()),
        false => Err(no_room()),
    }
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

fn no_room() -> Problem {
    let detail = format!("A listing may have at most {MOST_PER_LISTING} photos.");
    Problem::new(StatusCode::CONFLICT, detail)
}
