//! `admin`: closed to the network unless a token guards it.

use super::glimpse::Files;
use super::ports::Ports;
use super::section::Section;
use super::values::{address, secret_file, some_text};
use super::variables::Environment;
use crate::admin::AdminSettings;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const KEY: &str = "admin";

pub fn read(s: &mut Section<'_>, ports: &mut Ports) -> AdminSettings {
    let default = AdminSettings::default();
    let settings = AdminSettings {
        address: s.or("address", default.address, address),
        token_file: s.optional("token_file", secret_file),
    };
    if !settings.address.ip().is_loopback() && !s.has("token_file") {
        let message = format!(
            "`{}` is open to the network; write token_file: PATH beside it, or 127.0.0.1:{}",
            settings.address,
            settings.address.port()
        );
        s.error("address", message);
    }
    ports.claim_address(s, "address", settings.address);
    settings
}

/// What verbs that talk to a running edge need to know of its file; each, or why it can't be told.
pub struct FoundAdmin {
    pub address: Result<SocketAddr, String>,
    pub token_file: Result<Option<PathBuf>, String>,
}

/// Reads nothing else of the file at `path`, which may be wrong everywhere else, and name variables that
/// are not set here.
pub fn find(path: &Path, environment: Environment<'_>) -> FoundAdmin {
    let files = Files::read(path, &[KEY], environment);
    let address = files.scalar(KEY, "address", address);
    let token_file = files.scalar(KEY, "token_file", some_text);
    FoundAdmin {
        address: address.map(|found| found.unwrap_or(AdminSettings::default().address)),
        token_file: token_file.map(|found| found.map(PathBuf::from)),
    }
}
