//! `redis`: the server that all share who ask for it.

use super::Config;
use super::diagnostic::Report;
use super::section::Section;
use super::units::wait;
use super::values::secret_file;
use crate::acme::AcmeSettings;
use crate::guard::RateLimitSettings;
use crate::redis::{RedisSettings, RedisUrl};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(50);
const EXAMPLE: &str = "redis://127.0.0.1:6379";

pub fn read(s: &mut Section<'_>) -> Option<RedisSettings> {
    let timeout = s.or("timeout", TIMEOUT, wait);
    let url = match s.has("url_file") {
        true => {
            let both = "`url` and `url_file` say the same; remove one of them";
            if s.has("url") {
                s.refuse("url", both);
            }
            s.optional("url_file", url_in_file)
        }
        false => {
            s.optional("url_file", url_in_file);
            s.required("url", EXAMPLE, url)
        }
    };
    Some(RedisSettings { url: url?, timeout })
}

/// Who keeps something in Redis needs one, and one that nothing uses is hardly meant.
pub fn check(s: &mut Section<'_>, config: &Config, report: &Report) {
    let is_used = config.caches.iter().any(|cache| cache.redis.is_some())
        || config.rate_limits.iter().any(RateLimitSettings::is_shared)
        || config.acme.as_ref().is_some_and(AcmeSettings::is_in_redis);
    if is_used {
        s.needed("redis", "{url: \"redis://127.0.0.1:6379\"}");
    } else if s.has("redis") {
        let message = "redis: nothing uses it; write redis: {} in a cache, store: redis in a rate limit, or storage: redis in acme";
        report.warn(s.key_span("redis"), message);
    }
}

/// What is wrong may hold a password, so it is not repeated.
fn url(text: &str) -> Result<RedisUrl, String> {
    RedisUrl::new(text).ok_or_else(|| {
        format!("this is not the URL of a Redis server; write it like {EXAMPLE}; USER:PASSWORD@ may stand before the host, and /DATABASE behind the port")
    })
}

fn url_in_file(path: &str) -> Result<RedisUrl, String> {
    let path = secret_file(path)?;
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    url(text.trim()).map_err(|why| format!("in {}: {why}", path.display()))
}
