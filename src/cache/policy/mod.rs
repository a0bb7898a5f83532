//! What a shared cache may keep, and when it may use what it kept. Pure: times are arguments,
//! as whole seconds of Unix time. Sections without a document are of RFC 9111.

mod conditional;
mod date;
mod directives;
mod freshness;
mod method;
mod storable;
mod targeted;

pub use conditional::{confirms, not_modified};
pub use date::date;
pub use directives::{CacheControl, split_list};
pub use freshness::{Freshness, Use, usable};
pub use method::{invalidates, may_look_up};
pub use storable::{Asked, Passing, Refused, RouteTtl, storable, vary_names};

#[cfg(test)]
mod fixtures;

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{
        AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, IF_NONE_MATCH, LAST_MODIFIED, PRAGMA, VARY,
    };
    use http::{HeaderMap, HeaderValue, Method, StatusCode};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_field_value_panics(bytes in proptest::collection::vec(32u8..=255, 0..80)) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let mut map = HeaderMap::new();
            for name in [CACHE_CONTROL, EXPIRES, DATE, AGE, VARY, ETAG, LAST_MODIFIED, IF_NONE_MATCH, PRAGMA] {
                map.insert(name, value.clone());
            }
            let asked = Asked { method: &Method::GET, headers: &map, authorized: false };
            if let Ok(kept) = storable(&asked, StatusCode::OK, &map, &RouteTtl::default(), 5, 9) {
                usable(&kept, &map, 1 << 40);
            }
            not_modified(&map, &map);
        }
    }
}
