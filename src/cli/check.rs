//! `lakh check`: everything that is wrong with a file, at once.

use crate::config;
use std::path::Path;
use std::process::ExitCode;

pub fn check(path: &Path) -> ExitCode {
    match config::load(path, &config::environment) {
        Ok(loaded) => {
            loaded
                .warnings
                .iter()
                .for_each(|warning| eprintln!("{warning}\n"));
            let config = loaded.config;
            println!(
                "ok {}: {} listeners, {} routes, {} upstreams",
                path.display(),
                config.listeners.len(),
                config.routes.len(),
                config.upstreams.len()
            );
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::FAILURE
        }
    }
}
