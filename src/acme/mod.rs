//! Certificates by ACME (RFC 8555): ordered, kept, renewed in time, and shared by a fleet.
//!
//! All edges of a fleet look into one store: a folder, or Redis. Whoever holds its lock orders what is due,
//! and the others read what it got; so does whoever starts anew. What is shown to clients, and to those who
//! look whether a name is ours, is taken from `Held`, which asks nobody. Nothing here is on a request's way
//! but a look into that.

mod account;
mod agent;
mod book;
mod failure;
mod held;
mod issued;
mod order;
mod plan;
mod settings;
mod store;
mod window;

pub use account::Exchange;
pub use agent::{Agent, Standing};
pub use held::{Held, PROTOCOL};
pub use issued::Issued;
pub use settings::{AcmeSettings, Challenge, ExternalAccount, Secrets, Storage, Wanted};
