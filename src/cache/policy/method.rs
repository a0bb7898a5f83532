//! What a request's method means to a cache.

use super::storable::Asked;
use http::{Method, StatusCode};

/// Whether a request may be answered from a cache or by a fill at all: only plain reads, and only
/// whole ones (a range goes to the origin unless the whole is stored).
pub fn may_look_up(asked: &Asked<'_>) -> bool {
    asked.method == Method::GET || asked.method == Method::HEAD
}

/// Whether an answer to this method makes what is stored for its URI invalid, §4.4.
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    let safe = matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    );
    !safe && (status.is_success() || status.is_redirection())
}
