use super::*;
use crate::cache::{KeyRules, Scheme, Url};
use proptest::collection::vec;
use proptest::prelude::*;

fn key(path: &str) -> Key {
    KeyRules::default().key(
        "app",
        Scheme::Http,
        &Url::new("h", path.as_bytes()),
        &HeaderMap::new(),
    )
}

fn object(headers: &[(String, String)], body: Vec<u8>, times: [u64; 5]) -> Object {
    let fields = headers.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        (name, HeaderValue::from_str(value).expect("a value"))
    });
    let mut all = HeaderMap::new();
    fields.for_each(|(name, value)| {
        all.append(name, value);
    });
    let freshness = Freshness {
        stored_at: times[0],
        initial_age: times[1],
        lifetime: times[2],
        stale_while_revalidate: times[3],
        stale_if_error: times[4],
        always_revalidate: times[0] % 2 == 1,
    };
    let names = Names::of([Name::tag(b"t"), Name::host("h")].into(), 7);
    Object::new(StatusCode::OK, all, body.into(), freshness, names)
}

fn read(bytes: &[u8], key: &Key) -> Option<Box<Object>> {
    let bytes = Bytes::copy_from_slice(bytes);
    match decode(&bytes, key, 1 << 20, |mark| Some(mark.0 + mark.1))? {
        Record::Object(object) => Some(object),
        Record::Varies(_) => None,
    }
}

fn is_same(a: &Object, b: &Object) -> bool {
    a.status == b.status
        && a.headers == b.headers
        && a.body == b.body
        && a.freshness == b.freshness
        && a.names.list() == b.names.list()
}

#[test]
fn text_is_compressed_and_pictures_are_not() {
    let of = |kind: &str| {
        let kind = [("content-type".to_owned(), kind.to_owned())];
        object(&kind, vec![b'a'; 10_000], [0; 5])
    };
    let size = |kind| encode_object(&key("/"), &of(kind), Mark(1, 2)).len();
    assert!(size("text/html; charset=utf-8") < 500);
    assert!(size("application/ld+json") < 500);
    assert!(size("image/jpeg") > 10_000);
    let packed = encode_object(&key("/"), &of("text/css"), Mark(1, 2));
    let read = read(&packed, &key("/")).expect("it is whole");
    assert!(is_same(&read, &of("text/css")));
    assert_eq!(read.names.asked_at(), 3);
}

#[test]
fn what_is_not_meant_for_the_reader_is_nothing() {
    let small = object(&[], b"hello".to_vec(), [0; 5]);
    let bytes: Bytes = encode_object(&key("/a"), &small, Mark(1, 0)).into();
    let read = |key: &Key, limit, since| decode(&bytes, key, limit, |_| since).is_some();
    assert!(read(&key("/a"), 5, Some(1)));
    assert!(!read(&key("/b"), 5, Some(1)), "another key");
    assert!(!read(&key("/a"), 4, Some(1)), "too long");
    assert!(
        !read(&key("/a"), 5, None),
        "purges since then are not known"
    );
}

#[test]
fn a_small_record_cannot_grow_beyond_its_limit() {
    let kind = [("content-type".to_owned(), "text/plain".to_owned())];
    let bomb = object(&kind, vec![0; 1 << 20], [0; 5]);
    let bytes: Bytes = encode_object(&key("/"), &bomb, Mark(0, 0)).into();
    assert!(bytes.len() < 1000);
    assert!(decode(&bytes, &key("/"), 1 << 10, |_| Some(0)).is_none());
}

#[test]
fn varying_round_trips() {
    let varies = Varies {
        generation: u64::MAX,
        names: vec![http::header::ACCEPT, http::header::COOKIE],
    };
    let bytes = encode_varies(&key("/"), &varies).into();
    let Some(Record::Varies(read)) = decode(&bytes, &key("/"), 0, |_| None) else {
        panic!("it is whole")
    };
    assert_eq!(read, varies);
}

fn any_object() -> impl Strategy<Value = Object> {
    let field = ("[a-z][a-z0-9-]{0,20}", "[ -~]{0,40}");
    let times = [0..MAX_SECONDS, 0..9, 0..MAX_SECONDS, 0..9, 0..9];
    (vec(field, 0..12), vec(any::<u8>(), 0..5000), times)
        .prop_map(|(fields, body, times)| object(&fields, body, times))
}

proptest! {
    #[test]
    fn what_is_written_is_read(object in any_object(), path in "/[a-z]{0,300}", a: u64, b in 0..9u64) {
        let bytes = encode_object(&key(&path), &object, Mark(a / 2, b));
        let read = read(&bytes, &key(&path)).expect("it is whole");
        prop_assert!(is_same(&read, &object));
    }

    #[test]
    fn a_flipped_bit_is_nothing(object in any_object(), at: prop::sample::Index, bit in 0..8) {
        let mut bytes = encode_object(&key("/"), &object, Mark(1, 1));
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        prop_assert!(read(&bytes, &key("/")).is_none());
    }

    #[test]
    fn a_torn_record_is_nothing(object in any_object(), at: prop::sample::Index) {
        let bytes = encode_object(&key("/"), &object, Mark(1, 1));
        prop_assert!(read(&bytes[..at.index(bytes.len())], &key("/")).is_none());
    }

    /// With a right checksum, so that what is behind it is reached.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400), body in any::<bool>()) {
        let mut record = begin(if body { OBJECT } else { VARIES }, &key("/"), 0);
        record.extend_from_slice(&bytes);
        let record = seal(record).into();
        let _ = decode(&record, &key("/"), 1 << 20, |_| Some(0));
        let _ = decode(&bytes.into(), &key("/"), 1 << 20, |_| Some(0));
    }
}
