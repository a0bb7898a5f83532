//! `admin`: closed to the network unless a token guards it.

use super::ports::Ports;
use super::section::Section;
use super::values::{address, secret_file};
use crate::admin::AdminSettings;

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
