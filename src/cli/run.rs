//! `lakh run`: serve until told to stop. `lakh proxy`: the same without a file.

use crate::config::{self, Source};
use crate::endpoint::{Endpoint, UNIX};
use crate::server;
use clap::Args;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Pingora tells of every client that left; we count and log requests ourselves. The disk's engine
/// tells of every record that it finds damaged, with a stack trace; `h2` of frames that a client can send
/// as many of as it likes; what `fred` knows of Redis is told by ours.
const DEFAULT_LOG: &str = "info,pingora_core=off,pingora_proxy=off,pingora_runtime=off,\
                           foyer_storage=error,h2=error,fred=off";

pub fn run(path: &Path) -> ExitCode {
    serve(Source::File(path.to_owned()))
}

#[derive(Args)]
pub struct Proxy {
    /// The application: 127.0.0.1:3000, unix:/run/app.sock, or app.internal:3000 for every address behind
    /// that name
    #[arg(long, value_name = "HOST:PORT", value_parser = server)]
    to: String,
    /// Where clients come to
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where operators come to
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9900")]
    admin: SocketAddr,
}

fn server(text: &str) -> Result<String, String> {
    if text.starts_with(UNIX) {
        return text.parse().map(|endpoint: Endpoint| endpoint.to_string());
    }
    let authority = text
        .strip_prefix("http://")
        .unwrap_or(text)
        .trim_end_matches('/');
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
    match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && !host.is_empty() => {
            let plain = authority.chars().all(is_part);
            plain
                .then(|| authority.to_owned())
                .ok_or("write it like 127.0.0.1:3000".to_owned())
        }
        _ => Err("write it like 127.0.0.1:3000".to_owned()),
    }
}

impl Proxy {
    pub fn run(self) -> ExitCode {
        proxy(&self.to, self.listen, self.admin)
    }
}

/// Everything that comes to `listen` is for `to`: an address, or a name with a port.
fn proxy(to: &str, listen: SocketAddr, admin: SocketAddr) -> ExitCode {
    let server = match to.parse::<Endpoint>() {
        Ok(endpoint) => format!("{:?}", endpoint.to_string()),
        Err(_) => format!("{{address: \"{to}\", resolve: 10s}}"),
    };
    serve(Source::Text(format!(
        "listeners: {{web: {{address: \"{listen}\"}}}}\n\
         upstreams: {{app: {{servers: [{server}]}}}}\n\
         routes: [{{name: everything, match: {{path: /*}}, upstream: app}}]\n\
         admin: {{address: \"{admin}\"}}\n"
    )))
}

fn serve(source: Source) -> ExitCode {
    log_to_stderr();
    match source.load(&config::environment) {
        Ok(loaded) => {
            loaded
                .warnings
                .iter()
                .for_each(|warning| tracing::warn!("{warning}"));
            server::run(source, loaded)
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
