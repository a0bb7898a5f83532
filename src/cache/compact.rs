//! Fields in memory of their own.
//!
//! A parsed field is a slice of the buffer that its whole head was read into, some of them 4 KiB and
//! more; kept, it keeps all of that. A stored object's fields lie behind one another in one block.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};

/// The same fields in the same order.
pub fn compact(fields: &HeaderMap) -> HeaderMap {
    let length = fields.values().map(HeaderValue::len).sum();
    let mut block = BytesMut::with_capacity(length);
    for value in fields.values() {
        block.extend_from_slice(value.as_bytes());
    }
    let mut block = block.freeze();
    let mut compact = HeaderMap::with_capacity(fields.keys_len());
    for (name, value) in fields {
        compact.append(name.clone(), of_own(block.split_to(value.len()), value));
    }
    compact
}

fn of_own(bytes: Bytes, value: &HeaderValue) -> HeaderValue {
    let mut own = HeaderValue::from_maybe_shared(bytes).expect("it was a value before");
    own.set_sensitive(value.is_sensitive());
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use proptest::prelude::*;

    fn fields() -> impl Strategy<Value = HeaderMap> {
        let name = prop::sample::select(vec!["etag", "date", "x-one", "x-two", "set-cookie"]);
        let value = prop::collection::vec(prop_oneof![32..127u8, 128..=255u8], 0..40);
        prop::collection::vec((name, value, any::<bool>()), 0..20).prop_map(|pairs| {
            let mut fields = HeaderMap::new();
            for (name, value, is_sensitive) in pairs {
                let mut value = HeaderValue::from_bytes(&value).expect("a good value");
                value.set_sensitive(is_sensitive);
                fields.append(HeaderName::from_static(name), value);
            }
            fields
        })
    }

    proptest! {
        #[test]
        fn nothing_is_changed(fields in fields()) {
            let compact = compact(&fields);
            let all = |fields: &HeaderMap| -> Vec<_> {
                let owned = |(name, value): (&HeaderName, &HeaderValue)| {
                    (name.clone(), value.clone(), value.is_sensitive())
                };
                fields.iter().map(owned).collect()
            };
            prop_assert_eq!(all(&compact), all(&fields));
        }
    }
}
