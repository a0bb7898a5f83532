//! The checked configuration: what a Runtime is built from.
//!
//! Two stages: the tree as written (`tree`, text with positions) and the checked types below,
//! which can only be made from a file without errors. Parse, don't validate. Between the two, each
//! section of the file has its reader. Called at start, on reload and by `lakh check`; nothing
//! here opens a socket or changes anything.

mod access_log;
mod acme;
mod admin;
mod auth;
mod bans;
mod caches;
mod images;
mod listeners;
mod process;
mod rate_limits;
mod redis;
mod routes;
mod tracing;
mod upstreams;

mod answers;
mod caching;
mod edits;
mod matching;
mod resilience;
mod scaling;
mod servers;
mod splits;
mod tls;

mod glimpse;
mod include;
mod names;
mod ports;
mod review;

mod closest;
mod diagnostic;
mod format;
mod refusal;

mod outline;
mod reference;
mod schema;

mod changes;
mod written;

mod section;
mod transport;
mod tree;
pub mod units;
mod values;
mod variables;

pub use admin::{FoundAdmin, find as find_admin};
pub use changes::{Change, Changes};
pub use diagnostic::{Diagnostic, Errors, Severity, Span};
pub use format::format;
pub use include::Stamp;
pub use schema::schema;
pub use variables::{Environment, environment};
pub use written::Written;

use crate::acme::{AcmeSettings, Wanted};
use crate::admin::AdminSettings;
use crate::cache::{CacheSettings, RouteCacheSettings};
use crate::guard::{AuthSettings, BanSettings, CorsSettings, RateLimitSettings, SecurityHeaders};
use crate::listen::{CertificateSource, Limits, ListenerSettings};
use crate::observe::{AccessLogSettings, TracingSettings};
use crate::redis::RedisSettings;
use crate::route::{Match, Rewrite};
use crate::upstream::{Priority, SplitSettings, UpstreamSettings};
use diagnostic::Report;
use lakh_image::ImageSettings;
use names::Names;
use outline::Outline;
use ports::Ports;
use routes::Targets;
use section::Section;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a file without errors gives.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// What it was read from.
    pub written: Written,
    /// What is valid and yet hardly meant.
    pub warnings: Vec<Diagnostic>,
}

/// Where a configuration comes from, each time that it is read.
#[derive(Clone, Debug)]
pub enum Source {
    File(PathBuf),
    /// The command line made it.
    Text(String),
}

impl Source {
    pub fn load(&self, environment: Environment<'_>) -> Result<Loaded, Errors> {
        match self {
            Source::File(path) => load(path, environment),
            Source::Text(text) => parse(text, &self.to_string(), environment),
        }
    }

    /// By what it is seen that a file has changed: all that it is read from, as it is now.
    pub fn stamps(&self, include: &[String]) -> Vec<Stamp> {
        match self {
            Source::File(path) => include::stamps(path, include),
            Source::Text(_) => Vec::new(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Text(_) => f.write_str("the command line"),
        }
    }
}

/// Reads the file at `path`, and those that it includes. Paths in them are relative to the working
/// directory, but for those of `include`, which are to the file's.
pub fn load(path: &Path, environment: Environment<'_>) -> Result<Loaded, Errors> {
    let file = path.display().to_string();
    let folder = path.parent().unwrap_or(Path::new(""));
    match std::fs::read_to_string(path) {
        Ok(text) => parse_in(folder, &text, &file, environment),
        Err(error) => Err(Errors::unreadable(&file, &error)),
    }
}

/// As `load`; `file` is what messages call it.
pub fn parse(text: &str, file: &str, environment: Environment<'_>) -> Result<Loaded, Errors> {
    parse_in(Path::new(""), text, file, environment)
}

fn parse_in(
    folder: &Path,
    text: &str,
    file: &str,
    environment: Environment<'_>,
) -> Result<Loaded, Errors> {
    let text = text.trim_start_matches('\u{feff}');
    let report = Report::default();
    let mut root = tree::parse(report.add_file(file, text), text, environment, &report);
    if let Some(root) = &mut root {
        include::include(root, folder, environment, &report);
    }
    let written = root.as_ref().map(Written::of).unwrap_or_default();
    let config = root.and_then(|root| section::read_root(&root, &report, |s| read(s, &report)));
    let (config, warnings) = report.conclude(config)?;
    Ok(Loaded {
        config,
        written,
        warnings,
    })
}

/// Every key that a file may have, by the readers themselves.
fn outline() -> Vec<outline::Key> {
    let read_once = |outline| {
        let report = Report::outlining(outline);
        section::read_nothing(&report, |s| read(s, &report));
        report.into_outline().unwrap_or_default()
    };
    let nothing = read_once(Outline::default());
    read_once(nothing.again()).into_keys()
}

/// The sections of a file. Whatever can't be read is reported, and the rest is read all the same.
fn read(s: &mut Section<'_>, report: &Report) -> Option<Config> {
    let targets = Targets {
        upstreams: Names::collect(s, "upstreams", "upstream"),
        rate_limits: Names::collect(s, "rate_limits", "rate limit"),
        caches: Names::collect(s, "caches", "cache"),
        auths: Names::collect(s, "auth", "auth"),
    };
    let security_headers = s.or(
        "security_headers",
        SecurityHeaders::default(),
        answers::security_headers,
    );
    let mut ports = Ports::default();
    let mut places = routes::Places::new();
    let mut folders = caches::Folders::default();
    let mut orders = tls::Orders::default();
    let config = Config {
        // What they name is in the tree already.
        include: s.list(include::KEY, values::some_text),
        reload_on_change: s.or("reload_on_change", false, values::switch),
        process: s.settings("process", process::read),
        listeners: s
            .named("listeners", |name, s| {
                listeners::read(name, s, &mut ports, &mut orders)
            })
            .concat(),
        acme: s.section("acme", acme::read),
        trusted_proxies: s.list("trusted_proxies", values::network),
        limits: s.settings("limits", listeners::read_limits),
        upstreams: s.named("upstreams", |name, s| upstreams::read(name, s, &mut ports)),
        rate_limits: s.named("rate_limits", rate_limits::read),
        bans: s.settings("bans", bans::read),
        redis: s.section("redis", redis::read),
        caches: s.named("caches", |name, s| caches::read(name, s, &mut folders)),
        auths: s.named("auth", auth::read),
        images: s.settings("images", images::read),
        routes: s.items("routes", |s| {
            routes::read(s, &targets, security_headers, &mut places)
        }),
        admin: s.settings("admin", |s| admin::read(s, &mut ports)),
        access_log: s.settings("access_log", access_log::read),
        tracing: s.settings("tracing", tracing::read),
    };
    if config
        .trusted_proxies
        .iter()
        .any(|net| net.prefix_len() == 0)
    {
        let message = "trusted_proxies: everybody is trusted, so everybody may say which address they come from; write only the addresses of your proxies";
        report.warn(s.key_span("trusted_proxies"), message);
    }
    redis::check(s, &config, report);
    acme::check(s, &config, !orders.is_empty(), report);
    s.at_least_one("listeners", "{web: {address: 127.0.0.1:8080}}");
    s.at_least_one("upstreams", "{app: {servers: [127.0.0.1:9001]}}");
    s.at_least_one(
        "routes",
        "[{name: everything, match: {path: /*}, upstream: app}]",
    );
    ports.check(report);
    if report.has_errors() {
        return None;
    }
    routes::check_bridges(&config, &places, report);
    review::review(&config, &targets, &places, report);
    Some(config)
}

/// A configuration without errors: every name resolves, every value is in its bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Patterns of the files that it was read from too.
    pub include: Vec<String>,
    /// Whether it is read again when its files have changed.
    pub reload_on_change: bool,
    pub process: Process,
    pub listeners: Vec<ListenerSettings>,
    /// Set where a certificate is ordered, and maybe elsewhere.
    pub acme: Option<AcmeSettings>,
    pub trusted_proxies: Vec<ipnet::IpNet>,
    pub limits: Limits,
    pub upstreams: Vec<UpstreamSettings>,
    pub rate_limits: Vec<RateLimitSettings>,
    pub bans: BanSettings,
    /// Set where a cache, a limit or `acme` keeps something there, and maybe elsewhere.
    pub redis: Option<RedisSettings>,
    pub caches: Vec<CacheSettings>,
    pub auths: Vec<AuthSettings>,
    pub images: ImageSettings,
    pub routes: Vec<RouteSettings>,
    pub admin: AdminSettings,
    pub access_log: AccessLogSettings,
    pub tracing: TracingSettings,
}

impl Config {
    /// What is to be ordered; None where that is nothing.
    pub fn wanted_certificates(&self) -> Option<Wanted> {
        let secured = self.listeners.iter().filter_map(|l| l.tls.as_ref());
        let mut certificates: Vec<Vec<Box<str>>> = Vec::new();
        for source in secured.flat_map(|tls| &tls.certificates) {
            if let CertificateSource::Acme(names) = source
                && !certificates.contains(names)
            {
                certificates.push(names.clone());
            }
        }
        let acme = self.acme.clone().filter(|_| !certificates.is_empty())?;
        Some(Wanted {
            redis: self.redis.clone().filter(|_| acme.is_in_redis()),
            acme,
            certificates,
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// Worker threads; `auto` is resolved to the number of cores.
    pub threads: usize,
    pub drain: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RouteSettings {
    pub name: String,
    pub matches: Match,
    /// Index into `Config::upstreams`; of a split, its first side.
    pub upstream: usize,
    pub split: Option<SplitSettings>,
    pub rewrite: Rewrite,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    /// Indices into `Config::rate_limits`.
    pub rate_limits: Vec<usize>,
    /// Index into `Config::auths`.
    pub auth: Option<usize>,
    /// Claims that must hold, by name and value.
    pub require: Vec<(String, String)>,
    pub allow: Vec<ipnet::IpNet>,
    pub deny: Vec<ipnet::IpNet>,
    /// For the whole request, until the answer's head.
    pub timeout: Option<Duration>,
    pub cors: Option<CorsSettings>,
    pub security_headers: SecurityHeaders,
    pub maintenance: Option<MaintenanceSettings>,
    /// None: `limits.header_size` alone.
    pub header_size: Option<usize>,
    /// Bytes of path and query.
    pub url_length: Option<usize>,
    /// None: `limits.body_size`.
    pub body_size: Option<u64>,
    pub priority: Priority,
    /// Requests at once; more are refused.
    pub concurrency: Option<usize>,
    /// WebSockets open at once; more are refused.
    pub websockets: Option<usize>,
    pub cache: Option<RouteCacheSettings>,
    pub images: bool,
    /// Whether text is coded for clients that accept it.
    pub compress: bool,
    /// Whether calls of pages, in gRPC-web, are made to gRPC.
    pub grpc_web: bool,
}

/// A route that answers 503 for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct MaintenanceSettings {
    pub retry_after: Duration,
    /// Whoever is let in all the same.
    pub allow: Vec<ipnet::IpNet>,
    /// What is shown instead of the problem.
    pub page: Option<std::path::PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderEdits {
    pub set: Vec<(http::HeaderName, http::HeaderValue)>,
    pub remove: Vec<http::HeaderName>,
}

impl HeaderEdits {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}
