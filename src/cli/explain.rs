//! `lakh explain`: what the edge would do with a request, and why. The running edge is asked; without
//! one, the file says what it can.

use super::running::{self, Failure, Running};
use crate::cache::CacheSettings;
use crate::config::{self, Loaded};
use crate::guard::{RateLimitSettings, StoreSettings};
use crate::observe::{AccessLogSettings, LogTarget, Metrics};
use crate::proxy::{Edge, Explanation, Inquiry};
use crate::runtime::Foundation;
use arc_swap::ArcSwap;
use clap::Args;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Args)]
pub struct Explain {
    /// GET, POST, ...
    method: String,
    /// http://shop.example/photos/1.jpg?w=400
    url: String,
    /// A field of the request; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field)]
    headers: Vec<(String, String)>,
    /// The address that its connection comes from
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    from: IpAddr,
    /// By the file alone, whether an edge runs or not: nothing is stored, nobody has asked before
    #[arg(long)]
    offline: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    edge: Running,
}

/// `name: value`, as curl takes it.
fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl Explain {
    pub fn run(self) -> ExitCode {
        let inquiry = Inquiry {
            method: self.method,
            url: self.url,
            headers: self.headers,
            from: Some(self.from),
        };
        explain(&self.edge, &inquiry, self.offline, self.json)
    }
}

fn explain(edge: &Running, inquiry: &Inquiry, offline: bool, json: bool) -> ExitCode {
    let said = match offline {
        true => by_the_file(edge.file(), inquiry),
        false => ask(edge, inquiry),
    };
    let shown = said.and_then(|said| match json {
        true => serde_json::to_string_pretty(&said).map_err(|e| e.to_string()),
        false => Ok(said.to_string()),
    });
    running::conclude(shown)
}

fn ask(edge: &Running, inquiry: &Inquiry) -> Result<Explanation, String> {
    let body = serde_json::to_string(inquiry).map_err(|e| e.to_string())?;
    match edge.send("POST", "/api/v1/explain", &body) {
        Ok(said) => serde_json::from_str(&said).map_err(|e| e.to_string()),
        Err(Failure::Absent(why)) => {
            eprintln!("lakh: {why}; this is what the file alone says\n");
            by_the_file(edge.file(), inquiry)
        }
        Err(Failure::Refused(why)) => Err(why),
    }
}

/// An edge that serves nobody: nothing is stored, nobody has asked, and all servers seem well.
fn by_the_file(path: &Path, inquiry: &Inquiry) -> Result<Explanation, String> {
    let loaded = config::load(path, &config::environment).map_err(|errors| errors.to_string())?;
    let Loaded {
        mut config,
        written,
        ..
    } = loaded;
    config.access_log = AccessLogSettings {
        to: LogTarget::None,
        ..config.access_log
    };
    config.caches.iter_mut().for_each(in_memory);
    config.rate_limits.iter_mut().for_each(of_this_process);
    let tokio = tokio::runtime::Runtime::new().map_err(|e| e.to_string())?;
    tokio.block_on(async {
        let foundation = Arc::new(Foundation::new(Arc::new(Metrics::new())));
        let runtime = foundation.build(config, written)?;
        let edge = Edge {
            runtime: Arc::new(ArcSwap::from_pointee(runtime)),
            foundation,
        };
        crate::proxy::explain(&edge, inquiry).await
    })
}

/// What is below memory is an edge's that runs.
fn in_memory(cache: &mut CacheSettings) {
    (cache.disk, cache.redis) = (None, None);
}

fn of_this_process(limit: &mut RateLimitSettings) {
    limit.store = StoreSettings::Local;
}
