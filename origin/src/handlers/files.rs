//! Large files: somebody announces one, sends its chunks in any order, and may go on later where the
//! connection broke: what has come is told.

use super::author::Author;
use super::incoming::{UPLOAD_TIME, announced_length, linger};
use super::json_body::JsonBody;
use super::path::{Id, Named};
use super::problem::Problem;
use super::query::AskedPage;
use super::representation::{Representation, gone};
use crate::app::App;
use crate::domain::file::{self, Checksum};
use crate::domain::job::Lane;
use crate::storage::{Object, checksum_of};
use crate::store::{ChunkAdded, LargeFile};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use http_body_util::BodyExt;
use serde::Serialize;
use std::sync::Arc;
use tokio::time;

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    file: LargeFile,
    /// Numbers of the chunks that have come.
    received: Vec<i64>,
}

pub async fn announce(
    State(app): State<Arc<App>>,
    author: Author,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let draft = file::read(body)?;
    let announced = app
        .store
        .insert_file(author.id(), &draft, author.by())
        .await?;
    let id = announced.ok_or_else(|| {
        let detail = "You have as many files, or bytes of them, as anybody may have; remove one.";
        Problem::conflict(detail)
    })?;
    let shown = show_file(&app, find_own(&app, id, &author).await?).await?;
    let path = format!("/api/v1/files/{id}");
    Ok(Representation::json(&shown).placed(path, StatusCode::CREATED, ""))
}

pub async fn list(
    State(app): State<Arc<App>>,
    author: Author,
    AskedPage(page): AskedPage,
) -> Result<Response, Problem> {
    let found = app
        .store
        .files_of(author.id(), page.before(), page.limit + 1);
    Ok(Representation::page(&page, found.await?, |file| file.id).private())
}

pub async fn show(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
) -> Result<Response, Problem> {
    let shown = show_file(&app, find_own(&app, id, &author).await?).await?;
    Ok(Representation::json(&shown).private())
}

pub async fn remove(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
) -> Result<Response, Problem> {
    let file = find_own(&app, id, &author).await?;
    app.store.remove_file(&file, author.by()).await?;
    app.work_in(Lane::Files).notify_one();
    Ok(gone(""))
}

/// Answered once it is stored. The same chunk may be sent again.
pub async fn add_chunk(
    State(app): State<Arc<App>>,
    author: Author,
    Named((id, number)): Named<(String, String)>,
    headers: HeaderMap,
    mut body: Body,
) -> Result<Response, Problem> {
    let added = keep_chunk(&app, &author, (&id, &number), &headers, &mut body).await;
    if added.is_err() {
        linger(&mut body).await;
    }
    Ok(Representation::json(&added?).written(StatusCode::OK, ""))
}

async fn keep_chunk(
    app: &App,
    author: &Author,
    (id, number): (&str, &str),
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Shown, Problem> {
    let no_file = || Problem::no_such("file");
    let id = id.parse().map_err(|_| no_file())?;
    let file = find_own(app, id, author).await?;
    let number: i64 = number.parse().map_err(|_| no_chunk())?;
    let length = file
        .cut()
        .length(number.try_into().map_err(|_| no_chunk())?);
    let length = length.ok_or_else(no_chunk)?;
    let checksum = announced_checksum(headers)?;
    if announced_length(headers).is_some_and(|announced| announced != length) {
        return Err(wrong_length(length));
    }

    let _one = app.chunks_of_each.enter(id).ok_or_else(|| {
        let detail = "Send no more than three chunks of a file at the same time.";
        Problem::slow_down(detail)
    })?;
    let _own = app.chunks_from_each.enter(author.id()).ok_or_else(|| {
        let detail = "Send no more than six chunks of all your files at the same time.";
        Problem::slow_down(detail)
    })?;
    let _turn = app.chunks.enter().await?;
    let bytes = receive(body, length).await?;
    if checksum_of(bytes.clone()).await != Some(checksum) {
        let detail = "The bytes are not those that Content-Digest names.";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    store_chunk(app, &file, number, checksum, &bytes, author).await?;
    show_file(app, find_own(app, id, author).await?).await
}

/// First where it is to last, then in the list of what has come.
async fn store_chunk(
    app: &App,
    file: &LargeFile,
    number: i64,
    checksum: Checksum,
    bytes: &Bytes,
    author: &Author,
) -> Result<(), Problem> {
    let chunks = app.store.chunks_of(file.id).await?;
    match chunks.iter().find(|chunk| chunk.number == number) {
        Some(chunk) if chunk.sha256 == checksum => return Ok(()),
        Some(_) => return Err(taken()),
        None => {}
    }
    let object = Object {
        file: &file.key,
        checksum,
    };
    app.storage.put(object, bytes).await?;
    let added = app
        .store
        .add_chunk(file, number, checksum, author.by())
        .await?;
    match added {
        ChunkAdded::Yes => Ok(()),
        ChunkAdded::All => {
            app.work_in(Lane::Files).notify_one();
            Ok(())
        }
        ChunkAdded::Taken => Err(taken()),
        ChunkAdded::Closed => {
            if app.store.large_file(file.id).await?.is_none() {
                app.storage.remove(&file.key).await?;
                return Err(Problem::no_such("file"));
            }
            Err(taken())
        }
    }
}

/// In one piece from the start, so that a chunk is in memory once.
async fn receive(body: &mut Body, length: u64) -> Result<Bytes, Problem> {
    let most = usize::try_from(length).expect("a chunk is smaller than 2^24 bytes");
    let broken_off = || Problem::new(StatusCode::BAD_REQUEST, "The body broke off.");
    let mut bytes = Vec::with_capacity(most);
    let collecting = async {
        while let Some(frame) = body.frame().await {
            // What is not data is trailers.
            let Ok(data) = frame.map_err(|_| broken_off())?.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > most {
                return Err(wrong_length(length));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    let collected = time::timeout(UPLOAD_TIME, collecting).await;
    collected.map_err(|_| broken_off())??;
    match bytes.len() == most {
        true => Ok(bytes.into()),
        false => Err(wrong_length(length)),
    }
}

fn announced_checksum(headers: &HeaderMap) -> Result<Checksum, Problem> {
    let field = headers.get("content-digest");
    let checksum = field.and_then(|field| Checksum::from_digest_field(field.as_bytes()));
    checksum.ok_or_else(|| {
        let detail = "send the chunk's SHA-256, as sha-256=:base64: (RFC 9530)";
        Problem::malformed("Content-Digest", detail)
    })
}

async fn show_file(app: &App, file: LargeFile) -> Result<Shown, Problem> {
    let chunks = app.store.chunks_of(file.id).await?;
    let received = chunks.iter().map(|chunk| chunk.number).collect();
    Ok(Shown { file, received })
}

pub async fn find_own(app: &App, id: i64, author: &Author) -> Result<LargeFile, Problem> {
    author.own(app.store.large_file(id).await?, |file| file.owner, "file")
}

fn no_chunk() -> Problem {
    Problem::no_such("chunk")
}

fn taken() -> Problem {
    Problem::conflict("Another chunk has come in its place.")
}

fn wrong_length(length: u64) -> Problem {
    let detail = format!("This chunk must have {length} bytes.");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}
