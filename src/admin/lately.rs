//! What happened lately: requests, failures, pictures; and who was refused.

use super::answers::{Answer, answer, refused};
use super::bans;
use crate::runtime::Runtime;
use http::StatusCode;
use serde_json::{Value, json};

/// Addresses that are shown.
const MOST_LIMITED: usize = 50;

/// `GET /api/v1/requests?after=N`
pub fn requests(runtime: &Runtime, query: &str) -> Answer {
    let after = match query.split_once('=') {
        None if query.is_empty() => Ok(0),
        Some(("after", number)) => number.parse(),
        _ => "".parse(),
    };
    match after {
        Ok(after) => lines(runtime.recent.requests(after)),
        Err(_) => refused("write ?after=NUMBER, the `next` of the last look"),
    }
}

/// `GET /api/v1/errors`
pub fn errors(runtime: &Runtime) -> Answer {
    lines(runtime.recent.errors())
}

/// `GET /api/v1/images`
pub fn images(runtime: &Runtime) -> Answer {
    lines(runtime.recent.pictures())
}

/// `GET /api/v1/limits`
pub fn limits(runtime: &Runtime) -> Value {
    json!({
        "limits": runtime.limiters().map(|limiter| limiter.shown()).collect::<Vec<_>>(),
        "most_limited": runtime.recent.most_limited(MOST_LIMITED),
        "bans": bans::show(runtime)["bans"],
    })
}

fn lines(text: String) -> Answer {
    answer(StatusCode::OK, "application/json", text.into_bytes())
}
