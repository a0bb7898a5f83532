//! `lakh reload`: the running edge reads its configuration again, or says what that would change.

use super::running::{self, Failure, Running};
use crate::lifecycle::Reloaded;
use clap::Args;
use std::process::ExitCode;

#[derive(Args)]
pub struct Reload {
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    edge: Running,
}

impl Reload {
    pub fn run(self) -> ExitCode {
        reload(&self.edge, self.dry_run)
    }
}

fn reload(edge: &Running, dry_run: bool) -> ExitCode {
    let target = match dry_run {
        true => "/api/v1/validate",
        false => "/api/v1/reload",
    };
    let sent = edge.send("POST", target, "{}").map_err(Failure::into_why);
    let read = sent.and_then(|said| {
        let reloaded: Reloaded = serde_json::from_str(&said).map_err(|e| e.to_string())?;
        Ok(reloaded)
    });
    running::conclude(read.map(|reloaded| {
        reloaded.warnings.iter().for_each(|w| eprintln!("{w}\n"));
        let done = match (dry_run, reloaded.changes.is_empty()) {
            (true, _) => "nothing was changed: this is what a reload would do",
            (false, true) => "reloaded",
            (false, false) => "reloaded, and in force",
        };
        format!("{}\n{done}", reloaded.changes)
    }))
}
