//! Who gets in, and how fast. Called by `proxy/` for every request that has a route; a refusal is
//! a value here, and becomes an answer in `proxy/answer.rs`.

mod address;
mod claims;
mod rate;
mod settings;

pub use address::{AddressRules, Networks, client_address};
pub use claims::Claims;
pub use rate::{Asker, Limiter, Limiters, Verdict};
pub use settings::{LimitKey, Rate, RateLimitSettings};
