//! A large file, whole or a part of it, chunk by chunk from wherever each is.

use super::author::Author;
use super::files::find_own;
use super::path::Id;
use super::problem::Problem;
use super::representation::{Comparison, changed_meanwhile, names};
use crate::app::App;
use crate::domain::file::{Piece, State as FileState};
use crate::storage::{Object, Unavailable};
use crate::store::LargeFile;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http_range_header::{EndPosition as End, StartPosition as Start, parse_range_header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

const KEPT: &str = "private, no-store";

pub async fn show(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let file = find_own(&app, id, &author).await?;
    if file.state != FileState::Whole {
        return Err(Problem::conflict(format!("The file is {}.", file.state)));
    }
    match asked(&headers, &file)? {
        Asked::Nothing => Ok(unchanged(&file)),
        Asked::Part(part) => {
            let body = body(app, &author, &file, part.clone()).await?;
            let mut response = described(body, &file, &part);
            let (start, end, bytes) = (part.start(), part.end(), file.cut().bytes);
            let range = format!("bytes {start}-{end}/{bytes}");
            say(&mut response, header::CONTENT_RANGE, range);
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            Ok(response)
        }
        Asked::Whole => {
            let all = 0..=file.cut().bytes - 1;
            let body = body(app, &author, &file, all.clone()).await?;
            Ok(described(body, &file, &all))
        }
    }
}

/// What of a file somebody is to be sent.
enum Asked {
    Whole,
    Part(RangeInclusive<u64>),
    /// They have it.
    Nothing,
}

/// By the conditions first. RFC 9110 §13.2.2.
fn asked(headers: &HeaderMap, file: &LargeFile) -> Result<Asked, Problem> {
    let validator = etag(file);
    let names = |field, by| names(headers, &field, &validator, by);
    if names(header::IF_MATCH, Comparison::Strong) == Some(false) {
        return Err(changed_meanwhile());
    }
    if names(header::IF_NONE_MATCH, Comparison::Weak) == Some(true) {
        return Ok(Asked::Nothing);
    }
    Ok(asked_part(headers, file)?.map_or(Asked::Whole, Asked::Part))
}

fn unchanged(file: &LargeFile) -> Response {
    let validator = etag(file);
    let about = [
        (header::ETAG, validator.as_str()),
        (header::CACHE_CONTROL, KEPT),
    ];
    (StatusCode::NOT_MODIFIED, about).into_response()
}

/// With all that is to be said of it, whole or in part.
fn described(body: Body, file: &LargeFile, part: &RangeInclusive<u64>) -> Response {
    let name = utf8_percent_encode(&file.name, NON_ALPHANUMERIC);
    let length = part.end() - part.start() + 1;
    let mut response = Response::new(body);
    for (field, value) in [
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename*=UTF-8''{name}"),
        ),
        (header::CONTENT_TYPE, file.media_type.clone()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::ETAG, etag(file)),
        (header::ACCEPT_RANGES, "bytes".into()),
        (header::CACHE_CONTROL, KEPT.into()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".into()),
        (
            HeaderName::from_static("repr-digest"),
            file.sha256.digest_field(),
        ),
    ] {
        say(&mut response, field, value);
    }
    response
}

fn say(response: &mut Response, field: HeaderName, value: String) {
    let value = HeaderValue::try_from(value).expect("media types, numbers and digests are plain");
    response.headers_mut().insert(field, value);
}

/// None: the whole. So it is where several parts are asked for, or a part of something else (If-Range), or the
/// field can't be read. RFC 9110 §14.2.
fn asked_part(
    headers: &HeaderMap,
    file: &LargeFile,
) -> Result<Option<RangeInclusive<u64>>, Problem> {
    let text = |name| {
        let value = headers.get(name);
        value.and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let is_other = headers.contains_key(header::IF_RANGE)
        && text(header::IF_RANGE) != Some(etag(file).as_str());
    let Some(asked) = text(header::RANGE).filter(|_| !is_other) else {
        return Ok(None);
    };
    let bytes = file.cut().bytes;
    match part_of(asked, bytes) {
        Some(part) if part.is_empty() => Err(Problem::no_such_range(bytes)),
        part => Ok(part),
    }
}

/// Of so many bytes; empty where there are none of those.
fn part_of(asked: &str, bytes: u64) -> Option<RangeInclusive<u64>> {
    // Nothing at the end: the parser takes it for a mistake. RFC 9110 §14.1.2.
    if asked == "bytes=-0" {
        return Some(bytes..=bytes - 1);
    }
    let asked = parse_range_header(asked).ok()?;
    let [range] = asked.ranges[..] else {
        return None;
    };
    let last = bytes - 1;
    match (range.start, range.end) {
        (Start::Index(start), End::Index(end)) if end < start => None,
        (Start::Index(start), End::Index(end)) => Some(start..=end.min(last)),
        (Start::Index(start), End::LastByte) => Some(start..=last),
        (Start::FromLast(count), _) => Some(bytes.saturating_sub(count)..=last),
    }
}

/// Of each reader no more than a chunk is in memory, and there are so many readers.
async fn body(
    app: Arc<App>,
    author: &Author,
    file: &LargeFile,
    range: RangeInclusive<u64>,
) -> Result<Body, Problem> {
    let own = app.downloads_by_each.enter(author.id()).ok_or_else(|| {
        let detail = "Read no more than eight files, or parts of them, at the same time.";
        Problem::slow_down(detail)
    })?;
    let place = app.downloads.clone().try_acquire_owned();
    let place = (own, place.map_err(|_| Problem::busy())?);
    let chunks = app.store.chunks_of(file.id).await?;
    let chunks: HashMap<_, _> = chunks
        .into_iter()
        .map(|chunk| (chunk.number.cast_unsigned(), chunk.sha256))
        .collect();
    let key = file.key.clone();
    let pieces = stream::iter(file.cut().pieces(range)).then(move |Piece { chunk, part }| {
        let (app, key, checksum) = (app.clone(), key.clone(), chunks.get(&chunk).copied());
        async move {
            let checksum = checksum.expect("a whole file has all its chunks");
            let object = Object {
                file: &key,
                checksum,
            };
            let bytes = app.storage.get(object).await?;
            Ok::<Bytes, Unavailable>(bytes.slice(part))
        }
    });
    let mut pieces = Box::pin(pieces.map(move |piece| {
        let _place = &place;
        piece
    }));
    // Whoever asks for what can't be read now is told so, and not cut off.
    let first = pieces.next().await.transpose()?;
    let first = stream::iter(first.map(Ok));
    Ok(Body::from_stream(first.chain(pieces)))
}

fn etag(file: &LargeFile) -> String {
    format!("\"{}\"", file.sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_within_the_whole() {
        let whole = [
            ("bytes=0-", Some(0..=9)),
            ("bytes=3-5", Some(3..=5)),
            ("bytes=3-500", Some(3..=9)),
            ("bytes=-4", Some(6..=9)),
            ("bytes=-40", Some(0..=9)),
            ("bytes=5-3", None),
            ("bytes=1-2, 4-5", None),
            ("lines=1-2", None),
            ("bytes=x", None),
        ];
        for (asked, expected) in whole {
            assert_eq!(part_of(asked, 10), expected, "{asked}");
        }
        for nothing in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert!(part_of(nothing, 10).is_some_and(|part| part.is_empty()));
        }
    }
}
