//! Tokens, verified: with which keys, by which rules, and remembered.

use super::flaw::Flaw;
use super::issuer::{Issuer, KeySet};
use super::keys::Key;
use super::rules::{self, Validity};
use super::settings::JwtSettings;
use super::token::{LONGEST, Token};
use super::verified::{Verified, fingerprint};
use super::{Identity, Proven, presented};
use crate::guard::claims::Claims;
use http::HeaderMap;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Keys of one set that a token which names none is tried with.
const TRIES: usize = 8;

pub struct Jwt {
    pub rules: JwtSettings,
    pub keys: Keys,
    pub verified: Verified,
    /// What the origin is told; None: all.
    pub passed: Option<Vec<String>>,
}

pub enum Keys {
    Fixed(Arc<KeySet>),
    Of(Arc<Issuer>),
}

impl Jwt {
    /// As `Auth::check`, but for what is refused or needless.
    pub fn check(&self, headers: &HeaderMap, now: u64, asked: bool) -> Identity {
        let text = match presented::token(&self.rules, headers) {
            Ok(text) if text.len() <= LONGEST => text,
            Ok(_) => return Identity::Refused(Flaw::TooLong),
            Err(flaw) => return Identity::Refused(flaw),
        };
        let set = match &self.keys {
            Keys::Fixed(set) => Some(set.clone()),
            Keys::Of(issuer) => issuer.keys.load_full(),
        };
        let generation = set.as_ref().map_or(0, |set| set.generation);
        let print = fingerprint(text);
        if let Some(claims) = self.verified.get(&print, generation, now) {
            return Identity::Known(claims, Proven::Before);
        }
        let trusted = set.as_ref().map_or(&[][..], |set| &set.keys);
        match prove(text, trusted, &self.rules, now) {
            Ok((payload, validity)) => {
                let claims = Claims::with_values(rules::claims(payload), self.passed.as_deref());
                let claims = Arc::new(claims);
                self.verified
                    .keep(print, claims.clone(), validity, generation);
                Identity::Known(claims, Proven::Now)
            }
            // An issuer may have given a new key the name of an old one, or none.
            Err(flaw @ (Flaw::UnknownKey | Flaw::Signature)) => match &self.keys {
                Keys::Of(issuer) if !asked => Identity::Undecided(issuer.clone()),
                Keys::Of(_) if set.is_none() => Identity::NoKeys,
                _ => Identity::Refused(flaw),
            },
            Err(flaw) => Identity::Refused(flaw),
        }
    }
}

/// The signature first; what is signed is not even read before.
pub fn prove(
    text: &[u8],
    keys: &[Key],
    rules: &JwtSettings,
    now: u64,
) -> Result<(Map<String, Value>, Validity), Flaw> {
    let token = Token::read(text)?;
    if !rules.algorithms.contains(&token.algorithm) {
        return Err(Flaw::Algorithm);
    }
    let fits = |key: &&Key| {
        let is_named = token.kid.is_none() || key.kid.is_none() || token.kid == key.kid;
        key.algorithm() == token.algorithm && is_named
    };
    let mut fitting = keys.iter().filter(fits).take(TRIES).peekable();
    if fitting.peek().is_none() {
        return Err(Flaw::UnknownKey);
    }
    if !fitting.any(|key| key.verifies(token.signed, &token.signature)) {
        return Err(Flaw::Signature);
    }
    let payload = token.payload()?;
    let validity = rules::check(&payload, rules)?;
    validity.check(now)?;
    Ok((payload, validity))
}
