//! Refresh tokens: 256 random bits that are good once, for the next token of a session. RFC 9700 §4.14.

use crate::domain::random::{hex, in_hex};
use sha2::{Digest, Sha256};

pub const REFRESH_SECONDS: i64 = 90 * 24 * 60 * 60;

/// Not `Debug`, and kept nowhere: its holder is the user.
pub struct RefreshToken(pub String);

impl RefreshToken {
    pub fn new() -> Self {
        Self(hex::<32>())
    }

    /// What is kept of it. Random as it is, it needs no slow hash.
    pub fn digest(&self) -> String {
        in_hex(&Sha256::digest(self.0.as_bytes()))
    }
}
