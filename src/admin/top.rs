//! `GET /api/v1/cache/top`: what the caches are asked for most.

use crate::cache::{Key, Object, Zone};
use crate::runtime::Runtime;
use crate::upstream::Response;
use serde::Serialize;
use std::sync::Arc;
use std::time::SystemTime;

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 1000;

/// What is asked: `zone=pages&limit=20`.
#[derive(Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// None: all of them.
    zone: Option<&'a str>,
    limit: usize,
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

impl<'a> Question<'a> {
    pub fn parse(query: &'a str) -> Result<Question<'a>, String> {
        let mut question = Question {
            zone: None,
            limit: DEFAULT_LIMIT,
        };
        for parameter in query.split('&').filter(|p| !p.is_empty()) {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("zone", zone) => question.zone = Some(zone),
                ("limit", limit) => question.limit = parse_limit(limit)?,
                (other, _) => return Err(format!("`{other}` is unknown: write zone and limit")),
            }
        }
        Ok(question)
    }

    /// Looks at every object of the zones: not for a thread that serves.
    pub fn answer(&self, runtime: &Runtime) -> Result<Top, String> {
        let wanted = |zone: &&Arc<Zone<Response>>| self.zone.is_none_or(|n| n == zone.name());
        let zones: Vec<_> = runtime.zones.iter().filter(wanted).collect();
        if let (Some(name), []) = (self.zone, &zones[..]) {
            return Err(format!("there is no cache `{name}`"));
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let mut objects = Vec::new();
        for zone in zones {
            let hottest = zone.hottest(self.limit).into_iter();
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
        let asked = |zone, limit| Ok(Question { zone, limit });
        assert_eq!(Question::parse(""), asked(None, 20));
        assert_eq!(
            Question::parse("zone=pages&limit=5"),
            asked(Some("pages"), 5)
        );
        for wrong in ["limit=0", "limit=1001", "limit=x", "zones=a"] {
            assert!(Question::parse(wrong).is_err(), "{wrong}");
        }
    }
}
