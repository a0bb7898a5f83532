//! What is stored: a whole answer.

use super::compact::Compact;
use super::encoded::Encoded;
use super::hits::Hits;
use super::policy::Freshness;
use super::purge::Names;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use std::sync::OnceLock;

/// A header field's cost in a `HeaderMap` beside its name and value.
pub const FIELD_OVERHEAD: usize = 64;
/// What an object in an object costs beside its bytes.
const OBJECT_OVERHEAD: usize = size_of::<Object>() + 128;

/// A stored answer. Whole, and never changed: an update is another object. Only what can be made of
/// it is added, once.
///
/// What a hit needs comes first: the hits beside the count of references that every look-up writes
/// anyway, the rest behind it, and the fields, which it does not need, last.
#[derive(Debug)]
#[repr(C)]
pub struct Object {
    pub hits: Hits,
    pub status: StatusCode,
    /// Its origin has put it into a content coding.
    pub is_coded: bool,
    /// Set where it may be sent in content codings.
    pub encoded: Option<Box<Encoded>>,
    pub freshness: Freshness,
    /// What it is purged by.
    pub names: Names,
    /// `headers` as HTTP/1 writes them, but for what each answer says for itself.
    pub head: Bytes,
    pub body: Bytes,
    /// End-to-end fields, without Age.
    pub headers: HeaderMap,
    /// Set where it stands in for what was asked for, which is named then: the original of a picture
    /// that can't be made, for one.
    pub instead: Option<&'static str>,
    /// SHA-256 of the body, once `digest` has worked it out.
    pub known_digest: OnceLock<Box<[u8; 32]>>,
}

impl Object {
    pub fn new(
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        freshness: Freshness,
        names: Names,
    ) -> Object {
        let Compact { fields, head, body } = Compact::new(&headers, body);
        Object {
            hits: Hits::default(),
            status,
            is_coded: fields.contains_key(CONTENT_ENCODING),
            encoded: None,
            freshness,
            names,
            head,
            body,
            headers: fields,
            instead: None,
            known_digest: OnceLock::new(),
        }
    }

    /// SHA-256 of the body. To work it out is for no worker to do.
    pub fn digest(&self) -> [u8; 32] {
        let digest = || Box::new(Sha256::digest(&self.body).into());
        **self.known_digest.get_or_init(digest)
    }

    /// The same, standing in for something else.
    pub fn standing_in(&self, as_what: &'static str, headers: HeaderMap) -> Object {
        let (body, names) = (self.body.clone(), self.names.clone());
        Object {
            instead: Some(as_what),
            ..Object::new(self.status, headers, body, self.freshness, names)
        }
    }

    /// In bytes, about.
    pub fn size(&self) -> usize {
        let fields = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD);
        let encoded = self.encoded.as_deref().map_or(0, |encoded| {
            let made = encoded.made().map(|coded| coded.size() + OBJECT_OVERHEAD);
            size_of::<Encoded>() + made.sum::<usize>()
        });
        self.body.len() + self.names.size() + fields.sum::<usize>() + encoded
    }
}
