//! Whose word is taken for who somebody is, as its operator wrote it.

use http::HeaderName;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthSettings {
    pub name: String,
    pub proof: ProofSettings,
    /// Requests without a proof pass, as nobody; those with a bad one don't.
    pub optional: bool,
    /// What the origin is told; None: all that can be said in a field.
    pub claims: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofSettings {
    Jwt(JwtSettings),
    ApiKeys(ApiKeySettings),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSettings {
    pub keys: KeySource,
    /// Those that count; what a token says of itself only picks among them.
    pub algorithms: Vec<Algorithm>,
    /// One of these; empty: anybody.
    pub issuers: Vec<String>,
    /// One of these; empty: only tokens without an audience.
    pub audiences: Vec<String>,
    /// How far the issuer's clock and ours may be apart.
    pub leeway: Duration,
    /// None: Authorization, RFC 6750 §2.1.
    pub cookie: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    SecretFile(PathBuf),
    PublicKeyFile(PathBuf),
    Jwks(JwksSettings),
}

/// A key set that its issuer publishes, RFC 7517.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JwksSettings {
    pub url: String,
    /// From one fetch to the next.
    pub refresh: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeySettings {
    pub file: PathBuf,
    pub header: HeaderName,
}

/// How a token is signed: RFC 7518 §3.1, RFC 8037 §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [(&'static str, Algorithm); 4] = [
        ("HS256", Algorithm::Hs256),
        ("RS256", Algorithm::Rs256),
        ("ES256", Algorithm::Es256),
        ("EdDSA", Algorithm::EdDsa),
    ];

    /// As a token's header names it.
    pub fn of(name: &str) -> Option<Algorithm> {
        let mut all = Algorithm::ALL.into_iter();
        all.find(|(known, _)| *known == name).map(|(_, it)| it)
    }

    pub fn name(self) -> &'static str {
        let mut all = Algorithm::ALL.into_iter();
        all.find(|(_, it)| *it == self).map_or("", |(name, _)| name)
    }
}
