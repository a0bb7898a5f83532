//! Who gets in, and how fast. Called by `proxy/` for every request that has a route; a refusal is
//! a value here, and becomes an answer in `proxy/answer.rs`.

mod address;
mod asker;
mod auth;
mod bans;
mod buckets;
mod claims;
mod cors;
mod fleet;
mod hardening;
mod limits;
mod rate;
mod settings;
mod standing;

pub use address::{
    AddressRules, Networks, client_address, first_forwarded, forwarded, x_forwarded_for,
};
pub use asker::{Asker, cookie};
pub use auth::*;
pub use bans::{Ban, BanRule, BanSettings, Bans, Offence, network};
pub use claims::{Claims, is_disguised, is_proof_field};
pub use cors::{Cors, CorsSettings, Origin, preflight};
pub use fleet::Fleet;
pub use hardening::SecurityHeaders;
pub use limits::{Asked, Asking, Checked, Limits};
pub use rate::{Limiter, Limiters};
pub use settings::{
    Condition, Costs, KeyPart, LONGEST_REFILL, MOST_LIMITS, OnStoreError, Quota, Rate,
    RateLimitSettings, StoreSettings, TierSettings,
};
pub use standing::{Standing, Standings, Stop};
