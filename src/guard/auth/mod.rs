//! Who asks: what a request's token, or its API key, proves.
//!
//! Called by `proxy/admit.rs` for each request of a route with `auth`. What a token says of how it is
//! signed only picks among what the configuration allows, and nothing that it says counts before its
//! signature was checked. Deciding needs no waiting, but for a key that its issuer may have published
//! since: then the answer is `Undecided`, and whoever can wait lets the issuer be asked.

mod auths;

mod jwt;
mod presented;
mod rules;
mod token;
mod verified;

mod issuer;
mod jwks;
mod keys;
mod pem;

mod api_keys;
mod flaw;
mod settings;

pub use api_keys::{ApiKeys, line as api_key_line};
pub use auths::Auths;
pub use flaw::Flaw;
pub use issuer::{Fetch, Fetched, Issuer};
pub use jwks::read as read_jwks;
pub use keys::Key;
pub use settings::{
    Algorithm, ApiKeySettings, AuthSettings, JwksSettings, JwtSettings, KeySource, ProofSettings,
};
pub use token::Token;

use super::claims::Claims;
use crate::observe::AuthMetrics;
use http::{HeaderMap, HeaderName};
use jwt::Jwt;
use std::sync::Arc;
use verified::Fingerprint;

/// A named way to prove oneself.
pub struct Auth {
    settings: AuthSettings,
    /// Of the file that it was made from.
    file: Fingerprint,
    proof: Proof,
    metrics: AuthMetrics,
}

enum Proof {
    Jwt(Jwt),
    ApiKeys { header: HeaderName, keys: ApiKeys },
}

/// Who asks.
pub enum Identity {
    Known(Arc<Claims>, Proven),
    /// There is no proof, and none is needed.
    Nobody,
    Refused(Flaw),
    /// Its issuer may know the key: `Issuer::ask`, then `Auth::check` again.
    Undecided(Arc<Issuer>),
    /// No set of keys has come yet.
    NoKeys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proven {
    Now,
    /// And kept since.
    Before,
}

impl Auth {
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Who sent `headers`; nothing is counted. `now` is Unix seconds; `asked`: the issuer was asked for
    /// it already.
    pub fn check(&self, headers: &HeaderMap, now: u64, asked: bool) -> Identity {
        let found = match &self.proof {
            Proof::Jwt(jwt) => jwt.check(headers, now, asked),
            Proof::ApiKeys { header, keys } => self.look_up(keys, header, headers),
        };
        match found {
            Identity::Refused(Flaw::Missing) if self.settings.optional => Identity::Nobody,
            found => found,
        }
    }

    /// Counts what was found of a request.
    pub fn count(&self, found: &Identity) {
        match found {
            Identity::Known(_, Proven::Now) => self.metrics.verified.inc(),
            Identity::Known(_, Proven::Before) => self.metrics.cached.inc(),
            Identity::Nobody => self.metrics.nobody.inc(),
            Identity::Refused(_) => self.metrics.refused.inc(),
            // The one is asked again, and the other is no verdict.
            Identity::Undecided(_) | Identity::NoKeys => {}
        }
    }

    fn look_up(&self, keys: &ApiKeys, header: &HeaderName, headers: &HeaderMap) -> Identity {
        match presented::field(header, headers) {
            Err(flaw) => Identity::Refused(flaw),
            Ok(key) if key.len() > token::LONGEST => Identity::Refused(Flaw::TooLong),
            Ok(key) => match keys.find(key) {
                Some(claims) => Identity::Known(claims.clone(), Proven::Now),
                None => Identity::Refused(Flaw::UnknownApiKey),
            },
        }
    }

    /// For WWW-Authenticate where a proof is missing or bad: RFC 6750 §3. API keys have no scheme of
    /// their own.
    pub fn challenge(&self, flaw: Flaw) -> String {
        let name = self.name();
        match (&self.proof, flaw) {
            (Proof::ApiKeys { header, .. }, _) => {
                format!("ApiKey realm=\"{name}\", header=\"{header}\"")
            }
            (_, Flaw::Missing) => format!("Bearer realm=\"{name}\""),
            (_, flaw) => format!(
                "Bearer realm=\"{name}\", error=\"invalid_token\", error_description=\"{}\"",
                flaw.description()
            ),
        }
    }

    /// The same where the proof is good, but not for this: `scope` is what it would have to have,
    /// where that is one that can be said (RFC 6749 §3.3).
    pub fn challenge_scope(&self, scope: Option<&str>) -> String {
        let sayable = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        let scope = scope.filter(|scope| scope.bytes().all(sayable));
        let scope = scope.map_or(String::new(), |scope| format!(", scope=\"{scope}\""));
        match &self.proof {
            Proof::ApiKeys { .. } => self.challenge(Flaw::Missing),
            Proof::Jwt(_) => format!(
                "Bearer realm=\"{}\", error=\"insufficient_scope\"{scope}",
                self.name()
            ),
        }
    }
}

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
