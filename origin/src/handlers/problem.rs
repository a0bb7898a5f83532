//! The only place that turns an error into an answer: `application/problem+json`, RFC 9457.

use crate::credentials::Crowded;
use crate::domain::fields::{Fault, Invalid};
use crate::observe::{log, request};
use crate::payments::ProviderError;
use crate::shards::{Failed, Unreachable};
use crate::storage::Unavailable;
use crate::store::Refused;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use std::borrow::Cow;
use std::io;

pub struct Problem {
    status: StatusCode,
    detail: String,
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, Cow<'static, str>)>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// Names the request, as log lines do. RFC 9457 §3.1.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Fault],
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            faults: Vec::new(),
            headers: Vec::new(),
        }
    }

    pub fn invalid(status: StatusCode, Invalid(faults): Invalid) -> Self {
        let detail = format!(
            "{} field(s) are not acceptable; see `errors`.",
            faults.len()
        );
        Self {
            faults,
            ..Self::new(status, detail)
        }
    }

    pub fn bad_query(invalid: Invalid) -> Self {
        Self::invalid(StatusCode::BAD_REQUEST, invalid)
    }

    pub fn no_such(thing: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("There is no such {thing}."))
    }

    pub fn unauthorized(detail: &str) -> Self {
        let challenge = (header::WWW_AUTHENTICATE, "Bearer".into());
        Self {
            headers: vec![challenge],
            ..Self::new(StatusCode::UNAUTHORIZED, detail)
        }
    }

    pub fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// Something that is needed was not sent, or can't be read.
    pub fn malformed(field: &str, detail: &str) -> Self {
        let fault = Fault {
            field: field.into(),
            detail: detail.into(),
        };
        Self::invalid(StatusCode::BAD_REQUEST, Invalid(vec![fault]))
    }

    pub fn busy() -> Self {
        let detail = "Too much is going on at the moment; please try again.";
        Self::soon(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Something that is needed is away.
    pub fn later(detail: &str) -> Self {
        Self::soon(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Whoever asks does too much at once.
    pub fn slow_down(detail: &str) -> Self {
        Self::soon(StatusCode::TOO_MANY_REQUESTS, detail)
    }

    /// Of a representation with so many bytes. RFC 9110 §15.5.17.
    pub fn no_such_range(bytes: u64) -> Self {
        let detail = format!("There are only {bytes} bytes.");
        let length = format!("bytes */{bytes}").into();
        Self {
            headers: vec![(header::CONTENT_RANGE, length)],
            ..Self::new(StatusCode::RANGE_NOT_SATISFIABLE, detail)
        }
    }

    /// Which one is spoken here. RFC 6455 §4.4, RFC 9110 §15.5.22.
    pub fn other_websocket_version() -> Self {
        let headers = vec![
            (header::SEC_WEBSOCKET_VERSION, "13".into()),
            (header::UPGRADE, "websocket".into()),
            (header::CONNECTION, "upgrade".into()),
        ];
        Self {
            headers,
            ..Self::new(
                StatusCode::UPGRADE_REQUIRED,
                "Speak version 13 of WebSocket.",
            )
        }
    }

    fn unreachable(reason: &dyn std::error::Error) -> Self {
        log::error("store", json!({ "reason": reason.to_string() }));
        let detail = "What this is kept in can't do it at the moment; please try again.";
        Self::soon(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// It may be tried again in a second.
    fn soon(status: StatusCode, detail: &str) -> Self {
        let soon = (header::RETRY_AFTER, "1".into());
        Self {
            headers: vec![soon],
            ..Self::new(status, detail)
        }
    }

    /// The reason is for the log; the client learns only that it is not to blame.
    fn internal(reason: &dyn std::error::Error) -> Self {
        log::error("internal_error", json!({ "reason": reason.to_string() }));
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Something went wrong here.",
        )
    }
}

pub async fn unknown_path(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("There is nothing at {}.", uri.path()),
    )
}

pub async fn wrong_method(method: Method) -> Problem {
    let detail = format!("{method} is not possible here; `Allow` says what is.");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(StatusCode::UNPROCESSABLE_ENTITY, invalid)
    }
}

impl From<Crowded> for Problem {
    fn from(_: Crowded) -> Self {
        Self::busy()
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => Self::busy(),
            // It can't be reached, or does not take writes at the moment.
            sqlx::Error::Io(_) | sqlx::Error::PoolClosed => Self::unreachable(&error),
            sqlx::Error::Database(told) if is_passing(told.code().as_deref()) => {
                Self::unreachable(&error)
            }
            // Somebody else has referred to it, or removed it, in this moment.
            sqlx::Error::Database(told) if told.is_foreign_key_violation() => Self::busy(),
            _ => Self::internal(&error),
        }
    }
}

impl From<ProviderError> for Problem {
    fn from(error: ProviderError) -> Self {
        log::error("payment_provider", json!({ "reason": error.to_string() }));
        let detail = "The payment provider does not answer; please try again.";
        Self::new(StatusCode::BAD_GATEWAY, detail)
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        log::error("storage", json!({ "reason": error.to_string() }));
        let detail = "Files can't be stored or read at the moment; please try again.";
        Self::soon(StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl From<Unreachable> for Problem {
    fn from(_: Unreachable) -> Self {
        let detail =
            "What belongs to this device can't be reached at the moment; please try again.";
        Self::later(detail)
    }
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Unreachable => Unreachable.into(),
            Failed::Database(error) => error.into(),
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::internal(&error)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "A photo may have at most 10 MiB (10485760 bytes).",
            ),
            Refused::Mislabelled => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body is not in the format that Content-Type names.",
            ),
            Refused::BrokenOff => Self::new(StatusCode::BAD_REQUEST, "The body broke off."),
            Refused::Failed(error) => Self::internal(&error),
        }
    }
}

/// Whether a database that says this may do better next time. SQLITE_BUSY is 5; extended codes keep it in
/// their low byte. PostgreSQL's have five places: connections (08), rollbacks (40), resources (53), the
/// operator (57), locks (55P03), and a primary that has become a replica (25006).
fn is_passing(code: Option<&str>) -> bool {
    match code {
        Some(state) if state.len() == 5 => {
            ["08", "40", "53", "57"].contains(&&state[..2]) || ["25006", "55P03"].contains(&state)
        }
        Some(code) => code.parse::<u32>().is_ok_and(|code| code & 0xff == 5),
        None => false,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let about_fields = "urn:lakh-origin:problem:fields";
        let document = Document {
            r#type: if self.faults.is_empty() {
                "about:blank"
            } else {
                about_fields
            },
            title,
            status: self.status.as_u16(),
            detail: &self.detail,
            instance: request::id().map(|id| format!("urn:request:{id}")),
            errors: &self.faults,
        };
        let body = serde_json::to_vec(&document).expect("a problem has only text keys");
        let headers = [
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        let mut response = (self.status, headers, body).into_response();
        let headers = self.headers.into_iter().map(|(name, value)| {
            let value = HeaderValue::from_str(&value);
            (name, value.expect("ours are words and numbers"))
        });
        response.headers_mut().extend(headers);
        response
    }
}
