//! The HTTP cache: RFC 9111 for a shared cache.
//!
//! `policy` decides and knows no socket and no clock; `key` says which requests ask for the same
//! object; `store` keeps objects within a bound of bytes; `fill` makes one fetch serve all who
//! wait for it; `tier` is what lies below memory. A partial body is never stored and never passed
//! off as whole.

mod compact;
mod encoded;
mod fill;
mod growing;
mod hits;
mod key;
#[cfg(test)]
mod model_tests;
mod object;
mod policy;
mod purge;
mod range;
mod recall;
mod settings;
mod slots;
mod store;
mod tier;

pub use encoded::Encoded;
pub use fill::{
    Filling, Fills, Follower, Head, Interim, Joined, Opened, Opening, Outcome, Progress,
};
pub use hits::Hits;
pub use key::{Key, KeyParts, KeyRules, Scheme, Url};
pub use object::Object;
pub use policy::{
    Asked, CacheControl, Freshness, Passing, Refused, RouteTtl, Use, confirms, invalidates,
    may_look_up, not_modified, storable, usable, vary_names,
};
pub use purge::{CACHE_TAG, Force, Name, Names, Purges, SURROGATE_KEY, Verdict, has_tags, tags_in};
pub use range::{Parts, content_range, multipart, no_range, parts};
pub use recall::Recalled;
pub use settings::{CacheSettings, KeySettings, QueryNames, QuerySettings, RouteCacheSettings};
pub use store::{Found, Tiers, Zone, Zones};
pub use tier::{Change, Disk, DiskSettings, Redis, RedisTierSettings, Told};
