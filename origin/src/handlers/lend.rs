//! Lending something from the page itself: one form, without a script, for who one is, the thing, and its
//! photo. The photo comes last, so that it streams to its folder once all else is known.

use super::listings::LISTS;
use super::problem::Problem;
use super::representation::see;
use super::{accounts, photos};
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::fields::Invalid;
use crate::domain::listing::Draft;
use crate::domain::user::Registration;
use crate::store::By;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt;
use multer::{Constraints, Field, Multipart, SizeLimit, parse_boundary};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time;

const PHOTO: &str = "photo";
const PERSON: [&str; 3] = ["name", "email", "password"];

/// More than the form has.
const MOST_FIELDS: usize = 16;

/// All texts together, with their names.
const MOST_TEXT_BYTES: usize = 32 * 1024;

/// All that may come before it is known that a photo does: texts, what is around them, and as much of the photo as is
/// read together with them.
const MOST_BYTES_BEFORE: usize = 1024 * 1024;

const FORM_TIME: Duration = Duration::from_secs(10);

pub async fn lend(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Form { texts, photo } = read(&app, &headers, body).await?;
    let (person, draft) = understood(texts)?;
    let user = accounts::enter(&app, person).await?;
    let by = By {
        user: Some(user.id),
        at: Moment::now(),
    };
    let photo = match photo {
        Some((headers, body)) => {
            let may = async { Ok(()) };
            Some(photos::receive(&app, &headers, body, may).await?)
        }
        None => None,
    };
    let id = app.store.insert_listing(user.id, &draft, by).await?;
    if let Some(received) = photo {
        photos::attach(&app, id, &received, by).await?;
    }
    Ok(see("/", LISTS))
}

/// All but the photo, which has a place and a time of its own.
async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Form, Problem> {
    let _turn = app.forms.enter().await?;
    let read = time::timeout(FORM_TIME, Form::read(headers, body)).await;
    let too_slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "The form came too slowly.");
    read.map_err(too_slow)?
}

struct Form {
    texts: Map<String, Value>,
    /// As it would come by itself.
    photo: Option<(HeaderMap, Body)>,
}

impl Form {
    async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Problem> {
        let is_photo = Arc::new(AtomicBool::new(false));
        let mut parts = parts(headers, body, is_photo.clone())?;
        let (mut texts, mut left) = (Map::new(), MOST_TEXT_BYTES);
        for _ in 0..MOST_FIELDS {
            let Some(part) = parts.next_field().await.map_err(unreadable)? else {
                return Ok(Self { texts, photo: None });
            };
            let name = part.name().unwrap_or_default().to_owned();
            if name == PHOTO {
                is_photo.store(true, Ordering::Relaxed);
                let photo = photo(part);
                return Ok(Self { texts, photo });
            }
            let text = part.text().await.map_err(unreadable)?;
            let bytes = name.len() + text.len();
            left = left.checked_sub(bytes).ok_or_else(too_long)?;
            texts.insert(name, text.into());
        }
        Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "The form has too many fields.",
        ))
    }
}

/// RFC 7578.
fn parts(
    headers: &HeaderMap,
    body: Body,
    is_photo: Arc<AtomicBool>,
) -> Result<Multipart<'static>, Problem> {
    let label = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let boundary = label.and_then(|label| parse_boundary(label).ok());
    let boundary = boundary.ok_or_else(|| {
        let detail = "The body must be multipart/form-data.";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    })?;
    // A photo's size is looked at where it is written.
    let sizes = SizeLimit::new()
        .per_field(MOST_TEXT_BYTES as u64)
        .for_field(PHOTO, u64::MAX);
    let rules = Constraints::new().size_limit(sizes);
    // The parser keeps what it can't make a part of yet, however much that is.
    let mut left = MOST_BYTES_BEFORE;
    let body = body.into_data_stream().map(move |chunk| {
        let chunk = chunk?;
        if !is_photo.load(Ordering::Relaxed) {
            let long = || axum::Error::new("there is too much before the photo");
            left = left.checked_sub(chunk.len()).ok_or_else(long)?;
        }
        Ok::<_, axum::Error>(chunk)
    });
    Ok(Multipart::with_constraints(body, boundary, rules))
}

/// None where no file was chosen: browsers send a field without a name for the file then.
fn photo(part: Field<'static>) -> Option<(HeaderMap, Body)> {
    if part.file_name().is_none_or(str::is_empty) {
        return None;
    }
    let mut headers = HeaderMap::new();
    let label = part.headers().get(header::CONTENT_TYPE).cloned();
    headers.extend(label.map(|label| (header::CONTENT_TYPE, label)));
    Some((headers, Body::from_stream(part)))
}

/// All that is wrong with it at once. A form has only text, so the price is read here.
fn understood(mut texts: Map<String, Value>) -> Result<(Registration, Draft), Problem> {
    let person = PERSON.map(|field| texts.remove_entry(field));
    let person = Registration::read(person.into_iter().flatten().collect());
    if let Some(price) = texts.remove("price") {
        let cents = price.as_str().and_then(cents);
        texts.insert("price_cents".into(), cents.map_or(price, Value::from));
    }
    match (person, Draft::read(texts.into())) {
        (Ok(person), Ok(draft)) => Ok((person, draft)),
        (person, draft) => {
            let faults = [person.err(), draft.err()].into_iter().flatten();
            let faults = faults.flat_map(|Invalid(faults)| faults).collect();
            Err(Invalid(faults).into())
        }
    }
}

/// Of euros as people write them: 12, 12.5 or 12,50.
fn cents(euros: &str) -> Option<i64> {
    let euros = euros.trim().replace(',', ".");
    let (whole, part) = euros.split_once('.').unwrap_or((&euros, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 6 || part.len() > 2 || !digits(whole) || !digits(part) {
        return None;
    }
    format!("{whole}{part:0<2}").parse().ok()
}

fn too_long() -> Problem {
    let detail = format!("All texts together may have at most {MOST_TEXT_BYTES} bytes.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn unreadable(error: multer::Error) -> Problem {
    let detail = format!("The form can't be read: {error}.");
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use axum::response::IntoResponse;
    use futures_util::stream;
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn prices_are_read_as_people_write_them() {
        let read = ["12", "12.5", " 12,50 ", "0", "0.05"].map(cents);
        assert_eq!(
            read.map(|cents| cents.unwrap_or(-1)),
            [1200, 1250, 1250, 0, 5]
        );
        for bad in ["", "x", "-1", "1.234", ".5", "1.2.3", "1234567"] {
            assert_eq!(cents(bad), None, "{bad:?}");
        }
    }

    async fn refused(parts: impl Iterator<Item = String>) -> (StatusCode, usize) {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = read.clone();
        let chunks = stream::iter(parts.collect::<Vec<_>>()).map(move |part| {
            counted.fetch_add(part.len(), Ordering::Relaxed);
            Ok::<_, Infallible>(part)
        });
        let label = HeaderValue::from_static("multipart/form-data; boundary=b");
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, label)]);
        let form = Form::read(&headers, Body::from_stream(chunks)).await;
        let problem = form.err().expect("it is refused").into_response();
        (problem.status(), read.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn all_texts_together_are_bounded_and_so_is_what_is_not_one_yet() {
        let text = |name| {
            let text = "x".repeat(MOST_TEXT_BYTES / 2);
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
        };
        let texts = [text("title"), text("text"), "--b--\r\n".into()].into_iter();
        assert_eq!(refused(texts).await.0, StatusCode::PAYLOAD_TOO_LARGE);

        let head = ["--b\r\nx-endless: ".to_owned()].into_iter();
        let endless = head.chain((0..128).map(|_| "x".repeat(64 * 1024)));
        let (status, read) = refused(endless).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(read < 2 * MOST_BYTES_BEFORE, "{read}");
    }
}
