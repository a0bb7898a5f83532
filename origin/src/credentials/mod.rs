//! Who somebody is: passwords, tokens, and the secret that tokens are signed with.

mod passwords;
mod refresh;
mod secret;
mod tokens;

pub use passwords::{Crowded, Passwords};
pub use refresh::{REFRESH_SECONDS, RefreshToken};
pub use secret::signing_secret;
pub use tokens::Tokens;
