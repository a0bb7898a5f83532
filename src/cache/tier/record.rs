//! An object as bytes, for tiers that outlive the process and that other versions and machines
//! share.
//!
//! ```text
//! "LKH" version │ xxh3 of all that follows │ kind │ key │ fields … │ body to the end
//! ```
//!
//! Numbers are seven bits a byte. Whatever is wrong with a record (another version, torn, a bit
//! flipped, another key, larger than allowed) it decodes to nothing: never to a wrong object.

use crate::cache::key::Key;
use crate::cache::object::Object;
use crate::cache::policy::Freshness;
use crate::cache::purge::{Name, Names};
use crate::redis::Mark;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Another shape of what follows gets another number.
const MAGIC: [u8; 4] = *b"LKH\x01";
/// The magic and the checksum.
const HEAD: usize = 4 + 8;

const OBJECT: u64 = 0;
const VARIES: u64 = 1;

const PLAIN: u64 = 0;
const ZSTD: u64 = 1;
/// Fast rather than small: it runs once per write, and the network is near.
const LEVEL: i32 = 1;
/// A smaller body is not worth the work.
const COMPRESS_FROM: usize = 1 << 10;

/// The longest that any time in a record may be, in seconds: sums of them can't overflow.
const MAX_SECONDS: u64 = 1 << 40;

/// What a tier keeps under a key.
pub enum Record {
    Object(Box<Object>),
    /// The object has variants, each under a key of its own that `generation` is part of.
    Varies(Varies),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Varies {
    pub generation: u64,
    pub names: Vec<HeaderName>,
}

pub fn encode_object(key: &Key, object: &Object, mark: Mark) -> Vec<u8> {
    let compressed = is_worth_it(object)
        .then(|| zstd::bulk::compress(&object.body, LEVEL).ok())
        .flatten()
        .filter(|small| small.len() < object.body.len());
    let body = compressed.as_deref().unwrap_or(&object.body);
    let mut out = begin(OBJECT, key, body.len() + 1024);
    put(&mut out, mark.0);
    put(&mut out, mark.1);
    put(&mut out, object.status.as_u16().into());
    put_freshness(&mut out, &object.freshness);
    put(&mut out, object.names.list().len() as u64);
    for name in object.names.list() {
        out.extend_from_slice(&name.bits().to_le_bytes());
    }
    put(&mut out, object.headers.len() as u64);
    for (name, value) in &object.headers {
        put_bytes(&mut out, name.as_str().as_bytes());
        put_bytes(&mut out, value.as_bytes());
    }
    put(&mut out, if compressed.is_some() { ZSTD } else { PLAIN });
    put(&mut out, object.body.len() as u64);
    out.extend_from_slice(body);
    seal(out)
}

pub fn encode_varies(key: &Key, varies: &Varies) -> Vec<u8> {
    let mut out = begin(VARIES, key, 64);
    put(&mut out, varies.generation);
    put(&mut out, varies.names.len() as u64);
    for name in &varies.names {
        put_bytes(&mut out, name.as_str().as_bytes());
    }
    seal(out)
}

/// The record that was stored under `key`. `limit`: bytes of a body. `since` says which time of this
/// process's purges a mark stands for, or that it is not known.
pub fn decode(
    bytes: &Bytes,
    key: &Key,
    limit: u64,
    since: impl FnOnce(Mark) -> Option<u64>,
) -> Option<Record> {
    if bytes.len() < HEAD || bytes[..4] != MAGIC {
        return None;
    }
    let sum = u64::from_le_bytes(bytes[4..HEAD].try_into().ok()?);
    if xxh3_64(&bytes[HEAD..]) != sum {
        return None;
    }
    let mut input = Input(&bytes[HEAD..]);
    let kind = input.number()?;
    // Keys are found by their hash: this is the one that was asked for, or another of the same hash.
    if input.bytes()? != key.as_bytes() {
        return None;
    }
    match kind {
        OBJECT => {
            let object = object(&mut input, bytes, limit, since)?;
            Some(Record::Object(Box::new(object)))
        }
        VARIES => varies(&mut input).map(Record::Varies),
        _ => None,
    }
}

fn object(
    input: &mut Input<'_>,
    record: &Bytes,
    limit: u64,
    since: impl FnOnce(Mark) -> Option<u64>,
) -> Option<Object> {
    let mark = Mark(input.number()?, input.number()?);
    let status = StatusCode::from_u16(input.number()?.try_into().ok()?).ok()?;
    let freshness = input.freshness()?;
    let names: Arc<[Name]> = input.many(|input| {
        let bits = input.take(8)?.try_into().ok()?;
        Some(Name::from_bits(u64::from_le_bytes(bits)))
    })?;
    let mut headers = HeaderMap::new();
    for _ in 0..input.number()? {
        let name = HeaderName::from_bytes(input.bytes()?).ok()?;
        let value = HeaderValue::from_bytes(input.bytes()?).ok()?;
        headers.try_append(name, value).ok()?;
    }
    let (coding, length) = (input.number()?, input.number()?);
    if length > limit {
        return None;
    }
    let body = match coding {
        PLAIN => record.slice_ref(input.0),
        ZSTD => zstd::bulk::decompress(input.0, length as usize)
            .ok()?
            .into(),
        _ => return None,
    };
    (body.len() as u64 == length).then_some(())?;
    // Codings are left out: who asked for it knows whether it may have some, and they are made anew.
    let names = Names::of(names, since(mark)?);
    Some(Object::new(status, headers, body, freshness, names))
}

fn varies(input: &mut Input<'_>) -> Option<Varies> {
    Some(Varies {
        generation: input.number()?,
        names: input.many(|input| HeaderName::from_bytes(input.bytes()?).ok())?,
    })
}

/// Text, and not compressed by its origin.
fn is_worth_it(object: &Object) -> bool {
    let kind = object.headers.get(CONTENT_TYPE);
    let kind = kind.map_or(&b""[..], HeaderValue::as_bytes);
    let has = |part: &[u8]| memchr::memmem::find(kind, part).is_some();
    object.body.len() > COMPRESS_FROM
        && !object.headers.contains_key(CONTENT_ENCODING)
        && (kind.starts_with(b"text/")
            || [&b"json"[..], b"xml", b"javascript", b"wasm", b"x-www-form"]
                .into_iter()
                .any(has))
}

fn begin(kind: u64, key: &Key, room: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD + key.as_bytes().len() + room);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 8]);
    put(&mut out, kind);
    put_bytes(&mut out, key.as_bytes());
    out
}

fn seal(mut out: Vec<u8>) -> Vec<u8> {
    let sum = xxh3_64(&out[HEAD..]);
    out[4..HEAD].copy_from_slice(&sum.to_le_bytes());
    out
}

fn put_freshness(out: &mut Vec<u8>, freshness: &Freshness) {
    for seconds in [
        freshness.stored_at,
        freshness.initial_age,
        freshness.lifetime,
        freshness.stale_while_revalidate,
        freshness.stale_if_error,
    ] {
        put(out, seconds.min(MAX_SECONDS));
    }
    put(out, freshness.always_revalidate.into());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// What is left to read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?.try_into().ok()?;
        self.take(length)
    }

    /// As many as a number says; memory is taken only for those that are there.
    fn many<T, C: FromIterator<T>>(
        &mut self,
        mut one: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<C> {
        (0..self.number()?).map(|_| one(self)).collect()
    }

    fn seconds(&mut self) -> Option<u64> {
        self.number().filter(|seconds| *seconds <= MAX_SECONDS)
    }

    fn freshness(&mut self) -> Option<Freshness> {
        Some(Freshness {
            stored_at: self.seconds()?,
            initial_age: self.seconds()?,
            lifetime: self.seconds()?,
            stale_while_revalidate: self.seconds()?,
            stale_if_error: self.seconds()?,
            always_revalidate: self.number()? != 0,
        })
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
