//! Which requests ask for the same object.
//!
//! Parts are length-prefixed and come in an order that can be read back, so that no two different
//! requests can make the same bytes.
//!
//! The path counts as it was written. RFC 3986 §6.2.2 calls `/%7Ea` and `/~a` the same, but not
//! every application does: one that answers 404 to the first would, if they met here, take away
//! the second from everybody. And the origin must be asked for what the client wrote.

mod fields;
mod query;
mod reading;

pub use reading::KeyParts;

use super::settings::KeySettings;
use crate::path;
use fields::{cookie, meaning, value};
use http::{HeaderMap, HeaderName};
use query::QueryRules;
use smallvec::SmallVec;
use std::borrow::Cow;

/// A route's rules, checked once.
#[derive(Clone, Debug)]
pub struct KeyRules {
    scheme: bool,
    query: QueryRules,
    headers: Vec<HeaderName>,
    cookies: Vec<Box<str>>,
    /// A part of all its keys, where the route is told apart from others.
    apart: Option<[u8; 9]>,
}

/// What a client asks for, and what a purge names.
#[derive(Clone, Copy, Debug)]
pub struct Url<'a> {
    pub host: &'a str,
    pub path: &'a [u8],
    /// What follows `?`.
    pub query: Option<&'a [u8]>,
}

/// Between the client and the first proxy that is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

/// Before what was made of an object. No chosen field's value is this: those begin with `+` or `-`.
const MADE: &[u8] = b"made";

/// Before the hash that tells a route apart. No chosen field's value begins with it either.
const APART: u8 = b'@';

/// An object's name in its zone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(SmallVec<[u8; INLINE]>);

/// Most keys are no longer, and lie where they are looked for: beside what they name, in two lines
/// of a processor's cache (`slots::Entry`).
const INLINE: usize = 72;

impl Default for KeyRules {
    fn default() -> KeyRules {
        KeyRules::new(&KeySettings::default())
    }
}

impl KeyRules {
    pub fn new(settings: &KeySettings) -> KeyRules {
        KeyRules {
            scheme: settings.scheme,
            query: QueryRules::new(&settings.query),
            headers: settings.headers.clone(),
            cookies: settings.cookies.iter().map(|c| c.as_str().into()).collect(),
            apart: None,
        }
    }

    /// Of a route whose servers are asked for something else than another route's are by the same
    /// URL. What tells it apart is a hash that stays the same while the route does.
    pub fn apart(self, by: u64) -> KeyRules {
        let mut apart = [APART; 9];
        apart[1..].copy_from_slice(&by.to_le_bytes());
        KeyRules {
            apart: Some(apart),
            ..self
        }
    }

    /// `upstream` keeps the objects of two upstreams apart that share a zone. GET and HEAD ask for
    /// the same, RFC 9110 §9.3.2.
    pub fn key(&self, upstream: &str, scheme: Scheme, url: &Url<'_>, headers: &HeaderMap) -> Key {
        let chosen = self.headers.len() + self.cookies.len();
        let mut key = self.common(upstream, scheme, url, 16 * chosen);
        for name in &self.headers {
            key.push(&value(name, headers));
        }
        for name in &self.cookies {
            key.push(&cookie(name, headers));
        }
        key
    }

    fn common(&self, upstream: &str, scheme: Scheme, url: &Url<'_>, room: usize) -> Key {
        let mut key = Key::with_room_for(url, upstream.len() + room);
        key.push(upstream.as_bytes());
        key.push(match self.scheme {
            true => scheme.as_str().as_bytes(),
            false => b"",
        });
        self.push_address(&mut key, url);
        if let Some(apart) = &self.apart {
            key.push(apart);
        }
        key
    }

    /// What a URL is purged by: the same for all that a request's scheme and fields choose from, on all
    /// routes, and for all spellings of its path.
    pub fn address(&self, url: &Url<'_>) -> Key {
        let path = named(url.path);
        let url = Url {
            path: &path,
            ..*url
        };
        let mut key = Key::with_room_for(&url, 0);
        self.push_address(&mut key, &url);
        key
    }

    /// Whether requests for one URL have several keys beside that of each scheme.
    pub fn has_fields(&self) -> bool {
        !self.headers.is_empty() || !self.cookies.is_empty()
    }

    /// What all keys for one URL have in common, where there are several: in slower tiers they hang
    /// on it.
    pub fn root(&self, upstream: &str, scheme: Scheme, url: &Url<'_>) -> Option<Key> {
        let common = || self.common(upstream, scheme, url, 0);
        self.has_fields().then(|| common().derived("of all fields"))
    }

    fn push_address(&self, key: &mut Key, url: &Url<'_>) {
        key.push_lower(url.host.as_bytes());
        key.push(url.path);
        match url.query {
            None => key.push_length(0),
            Some(query) if self.query.takes_all_as_written() => {
                key.push_length(1);
                key.push(query);
            }
            Some(query) => {
                let parameters = self.query.parameters(query);
                key.push_length(parameters.len());
                parameters.iter().for_each(|parameter| key.push(parameter));
            }
        }
    }
}

/// The path that an object is called by: the normal one, where it has one.
pub fn named(path: &[u8]) -> Cow<'_, [u8]> {
    match path::normal(path) {
        Some(Cow::Owned(normal)) => Cow::Owned(normal.into_bytes()),
        _ => Cow::Borrowed(path),
    }
}

impl<'a> Url<'a> {
    /// Of `/path?query`.
    pub fn new(host: &'a str, target: &'a [u8]) -> Url<'a> {
        let mark = memchr::memchr(b'?', target);
        Url {
            host,
            path: &target[..mark.unwrap_or(target.len())],
            query: mark.map(|mark| &target[mark + 1..]),
        }
    }
}

impl Scheme {
    pub const ALL: [Scheme; 2] = [Scheme::Http, Scheme::Https];

    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

impl Key {
    fn with_room_for(url: &Url<'_>, more: usize) -> Key {
        let url = url.host.len() + url.path.len() + url.query.map_or(0, <[u8]>::len);
        Key(SmallVec::with_capacity(url + more + 24))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key of one variant of this object: what the fields named by Vary say in this request.
    /// `generation` makes the variants of an object that was replaced unreachable.
    pub fn variant(&self, generation: u64, names: &[HeaderName], headers: &HeaderMap) -> Key {
        let mut key = self.clone();
        key.push(b"vary");
        key.push(&generation.to_le_bytes());
        for name in names {
            key.push(&meaning(name, headers));
        }
        key
    }

    /// The key of something made of this object, such as a resized picture.
    pub fn derived(&self, what: &str) -> Key {
        let mut key = self.clone();
        key.push(MADE);
        key.push(what.as_bytes());
        key
    }

    fn push(&mut self, part: &[u8]) {
        self.push_length(part.len());
        self.0.extend_from_slice(part);
    }

    fn push_lower(&mut self, part: &[u8]) {
        self.push_length(part.len());
        self.0.extend(part.iter().map(u8::to_ascii_lowercase));
    }

    /// Seven bits a byte, the last one without the high bit.
    fn push_length(&mut self, mut length: usize) {
        while length >= 0x80 {
            self.0.push(length as u8 | 0x80);
            length >>= 7;
        }
        self.0.push(length as u8);
    }
}

impl Key {
    /// Of what `as_bytes` gave, here or on another edge.
    pub fn from_bytes(bytes: &[u8]) -> Key {
        Key(bytes.into())
    }
}

impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
