//! `lakh healthcheck`: whether the edge takes traffic, as an exit code, for containers.

use super::{File, running};
use crate::admin::AdminSettings;
use crate::config;
use clap::Args;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

#[derive(Args)]
pub struct Healthcheck {
    /// Whether the process lives is enough
    #[arg(long)]
    live: bool,
    /// Where to ask, instead of where the file says
    #[arg(long, value_name = "IP:PORT")]
    admin: Option<SocketAddr>,
    #[command(flatten)]
    file: File,
}

impl Healthcheck {
    pub fn run(self) -> ExitCode {
        healthcheck(&self.file.config, self.admin, self.live)
    }
}

/// `admin`: where to ask, instead of where the file says. `live`: whether the process lives is
/// enough.
fn healthcheck(path: &Path, admin: Option<SocketAddr>, live: bool) -> ExitCode {
    let target = if live { "/healthz" } else { "/readyz" };
    let address = admin.unwrap_or_else(|| address_in(path));
    let settings = AdminSettings {
        address,
        token_file: None,
    };
    let said = running::send_to(&settings, "GET", target, "");
    let said = said.map(|said| said.trim_end().to_owned());
    running::conclude(said.map_err(running::Failure::into_why))
}

/// A file that was damaged since is no reason to call an edge ill that serves by the one before.
fn address_in(path: &Path) -> SocketAddr {
    match config::load(path, &config::environment) {
        Ok(loaded) => loaded.config.admin.address,
        Err(_) => AdminSettings::default().address,
    }
}
