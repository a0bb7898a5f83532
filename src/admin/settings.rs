//! Where the admin listener is, and what it asks for.

use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Clone, Debug, PartialEq)]
pub struct AdminSettings {
    pub address: SocketAddr,
    /// Required off loopback.
    pub token_file: Option<PathBuf>,
}

impl Default for AdminSettings {
    fn default() -> AdminSettings {
        AdminSettings {
            address: SocketAddr::from(([127, 0, 0, 1], 9900)),
            token_file: None,
        }
    }
}
