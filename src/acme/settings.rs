//! Whom certificates are ordered from, how it is proven whose names they are for, and where they are kept.

use crate::redis::RedisSettings;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq)]
pub struct AcmeSettings {
    /// An address of e-mail, for the authority to write to.
    pub contact: String,
    /// The URL that all others are learned from: RFC 8555 §7.1.1.
    pub directory: String,
    pub challenge: Challenge,
    pub storage: Storage,
    /// Who has signed for the directory's own server; None: whom the system trusts.
    pub ca_file: Option<PathBuf>,
    pub external_account: Option<ExternalAccount>,
}

impl AcmeSettings {
    pub fn is_in_redis(&self) -> bool {
        matches!(self.storage, Storage::Redis(_))
    }
}

/// How the authority sees that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Challenge {
    /// It asks for a path on port 80: RFC 8555 §8.3.
    Http01,
    /// It shakes hands on port 443: RFC 8737.
    TlsAlpn01,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Storage {
    Folder(PathBuf),
    /// In the server of `redis`. What lies there is sealed with the first of the secrets; all of them open it.
    Redis(Secrets),
}

/// An account that somebody else has made, for authorities that ask for one: RFC 8555 §7.3.4.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalAccount {
    pub key_id: String,
    /// Of HMAC; one.
    pub key: Secrets,
}

/// Shows itself nowhere.
#[derive(Clone, PartialEq)]
pub struct Secrets(pub Vec<Box<[u8]>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// All that an agent sees to.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub acme: AcmeSettings,
    pub redis: Option<RedisSettings>,
    /// The names of each certificate, in lower case; it is called by the first, which no other begins with.
    pub certificates: Vec<Vec<Box<str>>>,
}
