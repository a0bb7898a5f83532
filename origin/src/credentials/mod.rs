//! Who somebody is: passwords, tokens, and the secret that tokens are signed with.

mod passwords;
mod secret;
mod tokens;

pub use passwords::{Crowded, Passwords};
pub use secret::signing_secret;
pub use tokens::Tokens;
