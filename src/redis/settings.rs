//! The server, as configured.

use std::fmt;
use std::time::Duration;

/// `redis`: the one server that all who ask for it share.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisSettings {
    pub url: RedisUrl,
    /// For each command.
    pub timeout: Duration,
}

/// `redis://user:password@host:port/database`. Shows itself nowhere, for the password's sake.
#[derive(Clone, PartialEq)]
pub struct RedisUrl(String);

impl RedisUrl {
    /// None: not such a URL. The schemes are those that this version can speak.
    pub fn new(text: &str) -> Option<RedisUrl> {
        let rest = text.strip_prefix("redis://")?;
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let is_valid = !host.is_empty() && fred::types::config::Config::from_url(text).is_ok();
        is_valid.then(|| RedisUrl(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redis://…")
    }
}
