//! An object's bytes in one block.
//!
//! A parsed field is a slice of the buffer that its whole head was read into, some of them 4 KiB and
//! more; kept, it keeps all of that. A stored object's head lies in a block of its own, as HTTP/1
//! writes it, and its body behind it if that is short: who answers a hit reads them from beginning to
//! end, which a processor foresees. The fields are slices of the same bytes.

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE,
    HeaderName, SERVER, SET_COOKIE,
};
use http::{HeaderMap, HeaderValue};
use std::ops::Range;

/// A body up to this size, in bytes, is copied.
const SHORT: usize = 16 << 10;

pub struct Compact {
    /// The same fields in the same order.
    pub fields: HeaderMap,
    /// Those that each answer does not say for itself.
    pub head: Bytes,
    pub body: Bytes,
}

impl Compact {
    pub fn new(fields: &HeaderMap, body: Bytes) -> Compact {
        let lengths = fields.iter().map(|(n, v)| n.as_str().len() + v.len() + 4);
        let short = Some(&body).filter(|body| body.len() <= SHORT);
        let length = lengths.sum::<usize>() + short.map_or(0, Bytes::len);
        let mut block = BytesMut::with_capacity(length);
        let mut values = vec![0..0; fields.len()];
        for ((name, value), place) in fields.iter().zip(&mut values) {
            if is_of_the_answer(name) {
                *place = put(&mut block, value.as_bytes());
            }
        }
        let start = block.len();
        for ((name, value), place) in fields.iter().zip(&mut values) {
            if !is_of_the_answer(name) {
                put(&mut block, spelled(name).as_bytes());
                put(&mut block, b": ");
                *place = put(&mut block, value.as_bytes());
                put(&mut block, b"\r\n");
            }
        }
        let end = block.len();
        block.extend_from_slice(short.map_or(b"", |body| body));
        let block = block.freeze();
        Compact {
            fields: sliced(fields, &block, values),
            head: block.slice(start..end),
            body: match short {
                Some(_) => block.slice(end..),
                None => body,
            },
        }
    }
}

/// Fields that say something about one answer, though they may be stored with it.
fn is_of_the_answer(name: &HeaderName) -> bool {
    matches!(*name, CONTENT_LENGTH | AGE) || name == "x-request-id"
}

/// As Pingora spells it, which writes the heads that do not come from here.
fn spelled(name: &HeaderName) -> &str {
    match *name {
        ACCEPT_RANGES => "Accept-Ranges",
        CACHE_CONTROL => "Cache-Control",
        CONTENT_ENCODING => "Content-Encoding",
        CONTENT_TYPE => "Content-Type",
        DATE => "Date",
        SERVER => "Server",
        SET_COOKIE => "Set-Cookie",
        _ => name.as_str(),
    }
}

fn put(block: &mut BytesMut, bytes: &[u8]) -> Range<usize> {
    let start = block.len();
    block.extend_from_slice(bytes);
    start..block.len()
}

fn sliced(fields: &HeaderMap, block: &Bytes, values: Vec<Range<usize>>) -> HeaderMap {
    let mut sliced = HeaderMap::with_capacity(fields.keys_len());
    for ((name, value), place) in fields.iter().zip(values) {
        sliced.append(name.clone(), of_own(block.slice(place), value));
    }
    sliced
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
        let name = prop::sample::select(vec!["etag", "date", "x-one", "age", "set-cookie"]);
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

    type Pairs = Vec<(String, Vec<u8>)>;

    fn sorted(fields: &HeaderMap, wanted: impl Fn(&HeaderName) -> bool) -> Pairs {
        let wanted = fields.iter().filter(|(name, _)| wanted(name));
        let pair = |(name, value): (&HeaderName, &HeaderValue)| {
            // What a reader of HTTP/1 takes away around a value.
            (name.to_string(), value.as_bytes().trim_ascii().to_vec())
        };
        let mut pairs: Pairs = wanted.map(pair).collect();
        pairs.sort();
        pairs
    }

    fn read(head: &[u8]) -> Pairs {
        let (whole, mut slots) = ([head, b"\r\n"].concat(), [httparse::EMPTY_HEADER; 32]);
        let (_, read) = httparse::parse_headers(&whole, &mut slots)
            .expect("it is a head")
            .unwrap();
        let pair = |field: &httparse::Header<'_>| {
            (
                field.name.to_ascii_lowercase(),
                field.value.trim_ascii().to_vec(),
            )
        };
        let mut pairs: Pairs = read.iter().map(pair).collect();
        pairs.sort();
        pairs
    }

    proptest! {
        #[test]
        fn nothing_is_changed(
            fields in fields(),
            body in prop::collection::vec(any::<u8>(), 0..100),
            is_long in any::<bool>(),
        ) {
            let body = Bytes::from(if is_long { body.repeat(SHORT) } else { body });
            let compact = Compact::new(&fields, body.clone());
            prop_assert_eq!(&compact.body, &body);
            prop_assert_eq!(read(&compact.head), sorted(&fields, |n| !is_of_the_answer(n)));
            let all = |fields: &HeaderMap| -> Vec<_> {
                let owned = |(name, value): (&HeaderName, &HeaderValue)| {
                    (name.clone(), value.clone(), value.is_sensitive())
                };
                fields.iter().map(owned).collect()
            };
            prop_assert_eq!(all(&compact.fields), all(&fields));
        }
    }
}
