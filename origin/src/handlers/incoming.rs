//! Bodies that are too large to be read before anything is decided.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time;

/// Who sends more slowly than this gives the place to somebody else.
pub const UPLOAD_TIME: Duration = Duration::from_secs(300);

const LINGER_BYTES: usize = 32 * 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(5);

/// Reads on for a while, and drops what it reads. Whoever is refused while still sending would often not see
/// why: closing a connection with unread bytes resets it.
pub async fn linger(body: &mut Body) {
    let drop_rest = async {
        let mut left = LINGER_BYTES;
        while let (1.., Some(Ok(frame))) = (left, body.frame().await) {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    // Time over or all read: the refusal goes out either way.
    let _ = time::timeout(LINGER_TIME, drop_rest).await;
}

pub fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}
