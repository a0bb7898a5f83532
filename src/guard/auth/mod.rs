//! Who asks: what a request's token, or its API key, proves.
//!
//! Called by `proxy/admit.rs` for each request of a route with `auth`. What a token says of how it is
//! signed only picks among what the configuration allows, and nothing that it says counts before its
//! signature was checked. Deciding needs no waiting, but for a key that its issuer may have published
//! since: then the answer is `Undecided`, and whoever can wait lets the issuer be asked.

mod api_keys;
mod flaw;
mod issuer;
mod jwks;
mod keys;
mod pem;
mod rules;
mod settings;
mod token;
mod verified;

pub use api_keys::{ApiKeys, line as api_key_line};
pub use flaw::Flaw;
pub use issuer::{Fetch, Fetched, Issuer};
pub use jwks::read as read_jwks;
pub use keys::Key;
pub use settings::{
    Algorithm, ApiKeySettings, AuthSettings, JwksSettings, JwtSettings, KeySource, ProofSettings,
};
pub use token::Token;

use super::claims::Claims;
use crate::observe::{AuthMetrics, KeysMetrics};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use issuer::KeySet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use verified::{Fingerprint, Verified, fingerprint};

/// Keys of one set that a token which names none is tried with.
const TRIES: usize = 8;

/// All named ways to prove oneself. Those whose settings and files are unchanged survive a reload,
/// and so do the keys of an issuer.
#[derive(Default)]
pub struct Auths {
    in_force: Mutex<Vec<Arc<Auth>>>,
}

/// One of them.
pub struct Auth {
    settings: AuthSettings,
    /// Of the file that it was made from.
    file: Fingerprint,
    proof: Proof,
    metrics: AuthMetrics,
}

enum Proof {
    Jwt {
        rules: JwtSettings,
        keys: Keys,
        verified: Verified,
    },
    ApiKeys(ApiKeys),
}

enum Keys {
    Fixed(Arc<KeySet>),
    Of(Arc<Issuer>),
}

/// Who asks.
pub enum Identity {
    Known(Arc<Claims>),
    /// There is no proof, and none is needed.
    Nobody,
    Refused(Flaw),
    /// Its issuer may know the key: `Issuer::ask`, then `Auth::check` again.
    Undecided(Arc<Issuer>),
    /// No set of keys has come yet.
    NoKeys,
}

impl Auths {
    /// Those for `settings`, in order, or why one can't be. Nothing that runs is changed.
    pub fn build(
        &self,
        settings: &[AuthSettings],
        metrics: impl Fn(&str) -> (AuthMetrics, KeysMetrics),
    ) -> Result<Vec<Arc<Auth>>, String> {
        let known = self.in_force();
        let build = |settings: &AuthSettings| {
            let (auth, keys) = metrics(&settings.name);
            Auth::build(settings, &known, auth, keys)
                .map_err(|why| format!("auth.{}: {why}", settings.name))
        };
        settings.iter().map(build).collect()
    }

    /// From here on these are in force.
    pub fn commit(&self, auths: &[Arc<Auth>], fetch: &Fetch) {
        auths
            .iter()
            .filter_map(|auth| auth.issuer())
            .for_each(|issuer| issuer.start(fetch));
        *self.in_force() = auths.to_vec();
    }

    /// Until all issuers were asked once.
    pub async fn asked_once(&self) {
        let auths = self.in_force().clone();
        for issuer in auths.iter().filter_map(|auth| auth.issuer()) {
            issuer.asked_once().await;
        }
    }

    /// Brings gauges up to date.
    pub fn report(&self) {
        self.in_force().iter().for_each(|auth| auth.report());
    }

    fn in_force(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Auth>>> {
        self.in_force
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

impl Auth {
    fn build(
        settings: &AuthSettings,
        known: &[Arc<Auth>],
        metrics: AuthMetrics,
        keys_metrics: KeysMetrics,
    ) -> Result<Arc<Auth>, String> {
        let contents = settings.proof.file().map(read).transpose()?;
        let file = fingerprint(contents.as_deref().unwrap_or_default());
        let is_same = |auth: &&Arc<Auth>| auth.settings == *settings && auth.file == file;
        if let Some(auth) = known.iter().find(is_same) {
            return Ok(auth.clone());
        }
        let proof = match &settings.proof {
            ProofSettings::ApiKeys(_) => {
                let text = String::from_utf8_lossy(contents.as_deref().unwrap_or_default());
                Proof::ApiKeys(ApiKeys::read(&text, settings.claims.as_deref())?)
            }
            ProofSettings::Jwt(rules) => Proof::Jwt {
                rules: rules.clone(),
                keys: match &rules.keys {
                    KeySource::Jwks(jwks) => Keys::Of(issuer_of(jwks, known, keys_metrics)),
                    source => {
                        let key = source.key(contents.as_deref().unwrap_or_default())?;
                        Keys::Fixed(Arc::new(KeySet::fixed(key)))
                    }
                },
                verified: Verified::new(),
            },
        };
        Ok(Arc::new(Auth {
            settings: settings.clone(),
            file,
            proof,
            metrics,
        }))
    }

    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Who sent `headers`. `now` is Unix seconds; `asked`: the issuer was asked for it already.
    pub fn check(&self, headers: &HeaderMap, now: u64, asked: bool) -> Identity {
        let found = match &self.proof {
            Proof::Jwt {
                rules,
                keys,
                verified,
            } => match found_token(rules, headers) {
                Ok(token) => self.verify(token, rules, keys, verified, now, asked),
                Err(flaw) => Identity::Refused(flaw),
            },
            Proof::ApiKeys(keys) => self.look_up(keys, headers),
        };
        match found {
            Identity::Refused(Flaw::Missing) if self.settings.optional => {
                self.metrics.nobody.inc();
                Identity::Nobody
            }
            Identity::Refused(flaw) => {
                self.metrics.refused.inc();
                Identity::Refused(flaw)
            }
            found => found,
        }
    }

    fn look_up(&self, keys: &ApiKeys, headers: &HeaderMap) -> Identity {
        let ProofSettings::ApiKeys(settings) = &self.settings.proof else {
            return Identity::Refused(Flaw::Missing);
        };
        match the_only(
            headers
                .get_all(&settings.header)
                .iter()
                .map(HeaderValue::as_bytes),
        ) {
            Err(flaw) => Identity::Refused(flaw),
            Ok(key) if key.len() > token::LONGEST => Identity::Refused(Flaw::TooLong),
            Ok(key) => match keys.find(key) {
                Some(claims) => {
                    self.metrics.verified.inc();
                    Identity::Known(claims.clone())
                }
                None => Identity::Refused(Flaw::UnknownApiKey),
            },
        }
    }

    fn verify(
        &self,
        text: &[u8],
        rules: &JwtSettings,
        keys: &Keys,
        verified: &Verified,
        now: u64,
        asked: bool,
    ) -> Identity {
        if text.len() > token::LONGEST {
            return Identity::Refused(Flaw::TooLong);
        }
        let set = match keys {
            Keys::Fixed(set) => Some(set.clone()),
            Keys::Of(issuer) => issuer.keys.load_full(),
        };
        let generation = set.as_ref().map_or(0, |set| set.generation);
        let print = fingerprint(text);
        if let Some(claims) = verified.get(&print, generation, now) {
            self.metrics.cached.inc();
            return Identity::Known(claims);
        }
        let trusted = set.as_ref().map_or(&[][..], |set| &set.keys);
        match prove(text, trusted, rules, now) {
            Ok((payload, validity)) => {
                let passed = self.settings.claims.as_deref();
                let claims = Arc::new(Claims::with_values(rules::claims(payload), passed));
                verified.keep(print, claims.clone(), validity, generation);
                self.metrics.verified.inc();
                Identity::Known(claims)
            }
            Err(Flaw::UnknownKey) => match keys {
                Keys::Of(issuer) if !asked => Identity::Undecided(issuer.clone()),
                Keys::Of(_) if set.is_none() => Identity::NoKeys,
                _ => Identity::Refused(Flaw::UnknownKey),
            },
            Err(flaw) => Identity::Refused(flaw),
        }
    }

    /// For WWW-Authenticate where a proof is missing or bad: RFC 6750 §3. API keys have no scheme of
    /// their own.
    pub fn challenge(&self, flaw: Flaw) -> String {
        let name = self.name();
        match (&self.settings.proof, flaw) {
            (ProofSettings::ApiKeys(keys), _) => {
                format!("ApiKey realm=\"{name}\", header=\"{}\"", keys.header)
            }
            (_, Flaw::Missing) => format!("Bearer realm=\"{name}\""),
            (_, flaw) => format!(
                "Bearer realm=\"{name}\", error=\"invalid_token\", error_description=\"{}\"",
                flaw.description()
            ),
        }
    }

    /// The same where the proof is good, but not for this: `scope` is what it would have to have,
    /// where that is one.
    pub fn challenge_scope(&self, scope: Option<&str>) -> String {
        let scope = scope.map_or(String::new(), |scope| format!(", scope=\"{scope}\""));
        match &self.settings.proof {
            ProofSettings::ApiKeys(_) => self.challenge(Flaw::Missing),
            ProofSettings::Jwt(_) => format!(
                "Bearer realm=\"{}\", error=\"insufficient_scope\"{scope}",
                self.name()
            ),
        }
    }

    fn issuer(&self) -> Option<&Arc<Issuer>> {
        match &self.proof {
            Proof::Jwt {
                keys: Keys::Of(issuer),
                ..
            } => Some(issuer),
            _ => None,
        }
    }

    fn report(&self) {
        self.metrics.kept.set(match &self.proof {
            Proof::Jwt { verified, .. } => verified.count() as i64,
            Proof::ApiKeys(keys) => keys.count() as i64,
        });
    }
}

/// The signature first; what is signed is not even read before.
fn prove(
    text: &[u8],
    keys: &[Key],
    rules: &JwtSettings,
    now: u64,
) -> Result<(serde_json::Map<String, serde_json::Value>, rules::Validity), Flaw> {
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

/// The token that a request presents.
fn found_token<'a>(rules: &'a JwtSettings, headers: &'a HeaderMap) -> Result<&'a [u8], Flaw> {
    match &rules.cookie {
        Some(name) => the_only(cookies(headers, name)),
        None => bearer(the_only(
            headers
                .get_all(AUTHORIZATION)
                .iter()
                .map(HeaderValue::as_bytes),
        )?),
    }
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
    let fields = headers.get_all(http::header::COOKIE).iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|b| *b == b';'));
    pairs.filter_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    })
}

/// The issuer of before, with the keys that it has.
fn issuer_of(jwks: &JwksSettings, known: &[Arc<Auth>], metrics: KeysMetrics) -> Arc<Issuer> {
    let mut issuers = known.iter().filter_map(|auth| auth.issuer());
    let same = issuers.find(|issuer| issuer.settings == *jwks);
    same.cloned()
        .unwrap_or_else(|| Arc::new(Issuer::new(jwks.clone(), metrics)))
}

impl ProofSettings {
    fn file(&self) -> Option<&Path> {
        match self {
            ProofSettings::ApiKeys(keys) => Some(&keys.file),
            ProofSettings::Jwt(jwt) => match &jwt.keys {
                KeySource::SecretFile(file) | KeySource::PublicKeyFile(file) => Some(file),
                KeySource::Jwks(_) => None,
            },
        }
    }
}

impl KeySource {
    /// The key in a file. The error completes a sentence that begins with the file.
    pub fn key(&self, contents: &[u8]) -> Result<Key, String> {
        match self {
            KeySource::SecretFile(_) => Key::secret(contents),
            _ => Key::public(&String::from_utf8_lossy(contents)),
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|e| format!("{} can't be read: {e}", file.display()))
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
