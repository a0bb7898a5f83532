//! What a request presents as its proof: one, in the one place for it.

use super::flaw::Flaw;
use super::settings::JwtSettings;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// A token, from wherever the rules have it.
pub fn token<'a>(rules: &'a JwtSettings, headers: &'a HeaderMap) -> Result<&'a [u8], Flaw> {
    match &rules.cookie {
        Some(name) => the_only(cookies(headers, name)),
        None => bearer(field(&AUTHORIZATION, headers)?),
    }
}

pub fn field<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Result<&'a [u8], Flaw> {
    let values = headers.get_all(name).into_iter();
    the_only(values.map(HeaderValue::as_bytes))
}

/// RFC 6750 §2.1. Another scheme is not ours to judge, so it proves nothing.
fn bearer(value: &[u8]) -> Result<&[u8], Flaw> {
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Ok(token.trim_ascii()),
        _ => Err(Flaw::Missing),
    }
}

/// Of several, one reader might take the first and another the last.
fn the_only<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<&'a [u8], Flaw> {
    let first = values.next().ok_or(Flaw::Missing)?;
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Flaw::Several),
    }
}

/// RFC 6265 §5.4.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let fields = headers.get_all(COOKIE).iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|b| *b == b';'));
    pairs.filter_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    })
}
