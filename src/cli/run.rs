//! `lakh run`: serve until told to stop.

use crate::{config, server};
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Pingora tells of every client that left; we count and log requests ourselves. The disk's engine
/// tells of every record that it finds damaged, with a stack trace; `h2` of frames that a client can send
/// as many of as it likes.
const DEFAULT_LOG: &str = "info,pingora_core=off,pingora_proxy=off,pingora_runtime=off,\
                           foyer_storage=error,h2=error";

pub fn run(path: &Path) -> ExitCode {
    log_to_stderr();
    match config::load(path, &config::environment) {
        Ok(loaded) => {
            loaded
                .warnings
                .iter()
                .for_each(|warning| tracing::warn!("{warning}"));
            server::run(path, loaded.config)
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    }
}

fn log_to_stderr() {
    let filter =
        EnvFilter::try_from_env("LAKH_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
