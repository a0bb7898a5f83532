//! `lakh healthcheck`: whether the edge takes traffic, as an exit code, for containers.

use super::running::{self, Failure, Running};
use crate::admin::AdminSettings;
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
pub struct Healthcheck {
    /// Whether the process lives is enough
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    edge: Running,
}

impl Healthcheck {
    pub fn run(self) -> ExitCode {
        running::conclude(healthcheck(&self.edge, self.live))
    }
}

/// `live`: whether the process lives is enough. Neither takes a token.
fn healthcheck(edge: &Running, live: bool) -> Result<String, String> {
    let target = if live { "/healthz" } else { "/readyz" };
    let settings = AdminSettings {
        address: edge.address_or_default()?,
        token_file: None,
    };
    let said = running::send_to(&settings, "GET", target, "").map_err(Failure::into_why)?;
    Ok(said.trim_end().to_owned())
}
