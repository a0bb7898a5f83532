//! `GET /api/v1/cache/top`: what the caches are asked for most; `/lookup`: what they have of a URL.

use super::answers::unknown;
use super::purge::names_of;
use crate::cache::{Key, Object, Zone};
use crate::runtime::Runtime;
use crate::upstream::Response;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use std::sync::Arc;
use std::time::SystemTime;

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 1000;

/// What is asked: `zone=pages&limit=20`, or `url=http://shop.example/photos/1.jpg`.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// None: all of them.
    zone: Option<String>,
    limit: usize,
    /// A URL; None: all of them.
    of: Option<String>,
}

/// The answer, most asked for first.
#[derive(Serialize)]
pub struct Top {
    objects: Vec<Hot>,
}

#[derive(Serialize)]
struct Hot {
    zone: String,
    upstream: String,
    /// Left out where the route's key leaves it out.
    #[serde(skip_serializing_if = "String::is_empty")]
    scheme: String,
    host: String,
    path: String,
    /// The parameters that count.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// Of an image: what was made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    made: Option<String>,
    status: u16,
    /// How often it was found since it was stored.
    hits: u64,
    /// Of the body.
    bytes: usize,
    /// Seconds; negative when it is stale.
    ttl: i64,
    age: u64,
}

impl Question {
    pub fn parse(query: &str) -> Result<Question, String> {
        let mut question = Question {
            zone: None,
            limit: DEFAULT_LIMIT,
            of: None,
        };
        for parameter in query.split('&').filter(|p| !p.is_empty()) {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("zone", zone) => question.zone = Some(zone.to_owned()),
                ("limit", limit) => question.limit = parse_limit(limit)?,
                (other, _) => return Err(format!("`{other}` is unknown: write zone and limit")),
            }
        }
        Ok(question)
    }

    /// What a purge of this URL would take back: variants and renditions too.
    pub fn lookup(query: &str) -> Result<Question, String> {
        let url = query.strip_prefix("url=");
        let url = url.ok_or("write ?url=http://HOST/PATH, percent-encoded")?;
        let url = percent_decode_str(url).decode_utf8();
        Ok(Question {
            zone: None,
            limit: MAX_LIMIT,
            of: Some(url.map_err(|e| format!("`url`: {e}"))?.into_owned()),
        })
    }

    /// Looks at every object of the zones: not for a thread that serves.
    pub fn answer(&self, runtime: &Runtime) -> Result<Top, String> {
        let wanted =
            |zone: &&Arc<Zone<Response>>| self.zone.as_deref().is_none_or(|n| n == zone.name());
        let zones: Vec<_> = runtime.zones.iter().filter(wanted).collect();
        if let (Some(name), []) = (&self.zone, &zones[..]) {
            let known: Vec<_> = runtime.zones.iter().map(|zone| zone.name()).collect();
            return Err(unknown("cache", name, &known));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let names = self.of.as_ref().map(|url| names_of(runtime, url));
        let names = names.transpose()?;
        let is_of = |object: &Object| names.as_ref().is_none_or(|names| object.names.any(names));
        let mut objects = Vec::new();
        for zone in zones {
            let hottest = zone.hottest(self.limit, is_of).into_iter();
            objects.extend(
                hottest.filter_map(|(key, object)| Hot::of(zone.name(), &key, &object, now)),
            );
        }
        objects.sort_by_key(|hot| std::cmp::Reverse(hot.hits));
        objects.truncate(self.limit);
        Ok(Top { objects })
    }
}

fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit @ 1..=MAX_LIMIT) => Ok(limit),
        _ => Err(format!("`limit` is a number from 1 to {MAX_LIMIT}")),
    }
}

impl Hot {
    fn of(zone: &str, key: &Key, object: &Object, now: u64) -> Option<Hot> {
        let parts = key.parts()?;
        Some(Hot {
            zone: zone.to_owned(),
            upstream: parts.upstream,
            scheme: parts.scheme,
            host: parts.host,
            path: parts.path,
            query: parts.query,
            made: parts.made,
            status: object.status.as_u16(),
            hits: object.hits.count(),
            bytes: object.body.len(),
            ttl: object.freshness.ttl(now),
            age: object.freshness.age(now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_strictly() {
        let asked = |zone: Option<&str>, limit| {
            let zone = zone.map(str::to_owned);
            let of = None;
            Ok(Question { zone, limit, of })
        };
        assert_eq!(Question::parse(""), asked(None, 20));
        assert_eq!(
            Question::parse("zone=pages&limit=5"),
            asked(Some("pages"), 5)
        );
        let of = Question::lookup("url=http%3A%2F%2Fh%2Fa%3Fb%3D1").map(|asked| asked.of);
        assert_eq!(of, Ok(Some("http://h/a?b=1".to_owned())));
        assert!(Question::lookup("").is_err() && Question::lookup("url=%ff").is_err());
        for wrong in ["limit=0", "limit=1001", "limit=x", "zones=a"] {
            assert!(Question::parse(wrong).is_err(), "{wrong}");
        }
    }
}
