//! How objects lie in a slower tier, whichever it is.
//!
//! An object lies under its key. Where several hang on one key, such as variants and renditions, a
//! record there says what tells requests for them apart, and a number that is part of their own
//! keys: without it none of them can be found.

use super::record::{Record, Varies};
use crate::breaker::Down;
use crate::cache::key::Key;
use crate::cache::object::Object;
use crate::cache::policy::Freshness;
use http::HeaderName;
use std::time::SystemTime;

/// A larger record is read and written off the worker threads.
pub const LARGE: usize = 64 << 10;

/// What was found, and for variants what they vary by.
pub struct Found {
    pub object: Box<Object>,
    pub names: Vec<HeaderName>,
}

/// Where a tier keeps an object.
#[derive(Clone)]
pub struct Place {
    /// What is taken away when a write makes the object invalid.
    pub root: Key,
    /// Set where several hang on one root: what tells requests for them apart, and this one's key.
    pub below: Option<(Vec<HeaderName>, Key)>,
}

pub trait Shelf: Sync {
    fn record(&self, key: &Key) -> impl Future<Output = Result<Option<Record>, Down>> + Send;

    /// The object under `root`, or the one that hangs on it under the key that `below` makes.
    fn find(
        &self,
        root: &Key,
        below: impl FnOnce(&[HeaderName]) -> Key + Send,
    ) -> impl Future<Output = Result<Option<Found>, Down>> + Send {
        async move {
            let varies = match self.record(root).await? {
                Some(Record::Varies(varies)) => varies,
                Some(Record::Object(object)) => {
                    let names = Vec::new();
                    return Ok(Some(Found { object, names }));
                }
                None => return Ok(None),
            };
            let names = varies.names;
            let key = hanging(&below(&names), varies.generation);
            Ok(match self.record(&key).await? {
                Some(Record::Object(object)) => Some(Found { object, names }),
                _ => None,
            })
        }
    }
}

/// The root of what is made of this object, such as resized pictures.
pub fn made_root(source: &Key) -> Key {
    source.derived("")
}

/// Where something lies that hangs on a root of this generation.
pub fn hanging(below: &Key, generation: u64) -> Key {
    below.derived(&format!("{generation:016x}"))
}

/// What to write at a root for what varies by `names`; the second is false if `known`, which lies
/// there, will do.
pub fn varies(known: Option<Record>, names: &[HeaderName]) -> (Varies, bool) {
    match known {
        Some(Record::Varies(varies)) if varies.names == names => (varies, false),
        _ => {
            let (generation, names) = (fastrand::u64(..), names.to_vec());
            (Varies { generation, names }, true)
        }
    }
}

/// Seconds for which it may still be of use, stale or as what is revalidated.
pub fn kept_for(freshness: &Freshness, now: u64) -> u64 {
    let stale = freshness
        .stale_while_revalidate
        .max(freshness.stale_if_error);
    let left = freshness.ttl(now).saturating_add_unsigned(stale);
    u64::try_from(left).unwrap_or(0)
}

pub fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs())
}
