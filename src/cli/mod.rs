//! The command line.

mod cert;
mod check;
mod explain;
mod fmt;
mod hash_key;
mod healthcheck;
mod reload;
mod run;
mod running;
mod sign_url;
mod top;
mod upgrade;
mod warm;

use crate::admin::{BanOrder, LiftOrder, PurgeOrder, ServerName, SplitName, WeightOrder};
use crate::config::units;
use crate::endpoint::Endpoint;
use crate::guard::Rate;
use clap::{Args, CommandFactory, Parser, Subcommand};
use running::Running;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// An edge for a hundred thousand people: balances, protects, caches and resizes images in front
/// of any HTTP service, from one YAML file.
#[derive(Parser)]
#[command(name = "lakh", version, about, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    file: File,
}

const AFTER_HELP: &str = "\
Signals:
  SIGHUP           reload the configuration; a bad file changes nothing
  SIGUSR2          hand over to the program as it is on disk, as `lakh upgrade` does
  SIGTERM, SIGINT  finish open requests within process.drain, then exit; again to exit at once

Environment:
  LAKH_LOG         how much is logged on stderr: error, warn, info (default), debug, trace

Exit codes: 0 stopped as asked or nothing wrong, 1 it could not start or the file has errors,
2 wrong arguments.";

#[derive(Subcommand)]
enum Verb {
    /// Serve (the default)
    Run(File),
    /// Check a configuration and say everything that is wrong with it
    Check(File),
    /// Write files as most would write them: levels of two spaces, comments kept, the same meaning
    Fmt(fmt::Fmt),
    /// Have the running edge read its configuration again; a bad file changes nothing
    Reload(reload::Reload),
    /// Have the running edge hand over to the program as it is on disk now, without a failed request
    Upgrade(Running),
    /// Say what would be done with a request, and why: route, limits, cache, server
    Explain(explain::Explain),
    /// Serve without a file: everything that comes is for one application
    Proxy(run::Proxy),
    /// Ask the running edge whether it takes traffic: exit code 0, or 1; for containers
    Healthcheck(healthcheck::Healthcheck),
    /// Show how the running edge is
    Status(Running),
    /// Print the version
    Version,
    /// Print a script that completes these commands in a shell
    Completions { shell: clap_complete::Shell },
    /// Print the JSON Schema of a configuration, for editors
    Schema,
    /// Take back what the running edge has stored
    Purge(Purge),
    /// Watch the running edge: routes, servers, caches, what is slow, who is limited
    Top(top::Top),
    /// Show the running edge's servers: what state they are in and why
    Upstreams(Running),
    /// Send nothing new to a server; it finishes what it has, WebSockets included
    Drain(Server),
    /// Take a drained server back into use
    Undrain(Server),
    /// Set a server's share beside the others by hand; it outlives reloads
    Weight(Weight),
    /// Give a rolled-back side of a route's split its share again
    Restore(Restore),
    /// Show the addresses that the running edge keeps out
    Bans(Running),
    /// Keep an address out for a while; of IPv6 its whole /64
    Ban(Ban),
    /// Let a banned address in again
    Unban(Unban),
    /// Have the running edge store a list of URLs before people ask for them
    Warm(Warm),
    /// Make the line of an API key for the file that `api_keys` names: the key's hash, and claims
    HashKey(HashKey),
    /// Make certificates
    #[command(subcommand)]
    Cert(Cert),
    /// Sign an image's URL with the first key of images.signing_key_file
    SignUrl(SignUrl),
}

#[derive(Subcommand)]
enum Cert {
    /// An authority of this machine's own, and a certificate by it for localhost, to develop with
    Dev(DevCert),
}

#[derive(Args)]
struct DevCert {
    /// Names and addresses that it is for beside localhost: shop.test '*.shop.test' 10.0.0.5
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The folder of what is made: ca.crt, ca.key, dev.crt, dev.key
    #[arg(long, value_name = "FOLDER", default_value = "certs")]
    dir: PathBuf,
}

#[derive(Args)]
struct SignUrl {
    /// Path and query, or a whole URL: '/photos/1.jpg?w=400'
    url: String,
    /// How long it holds: 10m, 24h; without it, for as long as the key does
    #[arg(long = "for", value_parser = units::duration)]
    length: Option<Duration>,
    /// In imgproxy's form, the path without its signature: /rs:fit:400:300/plain/photos/1.jpg
    #[arg(long)]
    imgproxy: bool,
    #[command(flatten)]
    file: File,
}

#[derive(Args)]
struct HashKey {
    /// Whose key it is; the claim `sub`, unless that is given
    name: String,
    /// What else the origin is told of whoever has the key
    #[arg(value_name = "CLAIM=VALUE")]
    claims: Vec<String>,
    /// Make a random key and print it on standard error, instead of reading one from standard input
    #[arg(long)]
    new: bool,
}

#[derive(Args)]
struct Warm {
    /// The URLs, one a line; `#` begins a comment. Without it, or as `-`, standard input
    #[arg(value_name = "FILE", conflicts_with = "sitemap")]
    list: Option<PathBuf>,
    /// Those of a sitemap or an index of sitemaps: a URL, asked for through the edge, or a file
    #[arg(long, value_name = "URL|FILE")]
    sitemap: Option<String>,
    /// The edge; the host that it is asked for is each URL's own
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = edge)]
    to: SocketAddr,
    /// At most so many requests: 50/s, 600/min
    #[arg(long, default_value = "50/s", value_parser = units::rate)]
    rate: Rate,
    /// At most so many at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,
}

/// `http://127.0.0.1:8080`.
fn edge(url: &str) -> Result<SocketAddr, String> {
    let wrong = || format!("`{url}` is not an edge's address; write http://127.0.0.1:8080");
    let authority = url.strip_prefix("http://").ok_or_else(wrong)?;
    let authority = authority.trim_end_matches('/');
    let with_port = match authority.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => authority.to_owned(),
        _ => format!("{authority}:80"),
    };
    let mut addresses = with_port.to_socket_addrs().map_err(|_| wrong())?;
    addresses.next().ok_or_else(wrong)
}

impl Warm {
    fn order(self) -> warm::Order {
        let source = match (self.sitemap, self.list) {
            (Some(sitemap), _) => warm::Source::Sitemap(sitemap),
            (None, Some(file)) if file.as_os_str() != "-" => warm::Source::List(file),
            _ => warm::Source::Stdin,
        };
        warm::Order {
            to: self.to,
            source,
            rate: self.rate,
            concurrency: self.concurrency.into(),
        }
    }
}

#[derive(Args)]
struct Server {
    /// Its upstream's name
    upstream: String,
    /// Its address, as `lakh upstreams` shows it
    #[arg(value_name = "ADDRESS")]
    server: Endpoint,
    #[command(flatten)]
    edge: Running,
}

#[derive(Args)]
struct Weight {
    #[command(flatten)]
    server: Server,
    /// 0 to 65535; without it, what the configuration says
    weight: Option<u16>,
}

#[derive(Args)]
struct Ban {
    address: IpAddr,
    /// How long: 10m, 24h
    #[arg(long = "for", default_value = "1h", value_parser = units::duration)]
    length: Duration,
    #[command(flatten)]
    edge: Running,
}

#[derive(Args)]
struct Unban {
    address: IpAddr,
    #[command(flatten)]
    edge: Running,
}

#[derive(Args)]
struct Restore {
    /// The route's name
    route: String,
    #[command(flatten)]
    edge: Running,
}

#[derive(Args)]
struct Purge {
    #[command(flatten)]
    what: What,
    /// Make it stale instead of gone: it is asked for again, and still there if the origin fails
    #[arg(long)]
    soft: bool,
    #[command(flatten)]
    edge: Running,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct What {
    /// One URL, with all its variants and renditions: http://shop.example/photos/1.jpg
    #[arg(long)]
    url: Option<String>,
    /// Everything below a folder: shop.example/photos/
    #[arg(long)]
    prefix: Option<String>,
    /// Everything of a host
    #[arg(long)]
    host: Option<String>,
    /// What the origin tagged in Surrogate-Key or Cache-Tag
    #[arg(long)]
    tag: Option<String>,
}

#[derive(Args, Clone)]
struct File {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = "lakh.yaml")]
    config: PathBuf,
}

pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.verb {
        None => run::run(&cli.file.config),
        Some(Verb::Run(file)) => run::run(&file.config),
        Some(Verb::Check(file)) => check::check(&file.config),
        Some(Verb::Fmt(verb)) => verb.run(),
        Some(Verb::Reload(verb)) => verb.run(),
        Some(Verb::Upgrade(edge)) => upgrade::upgrade(&edge),
        Some(Verb::Explain(verb)) => verb.run(),
        Some(Verb::Proxy(verb)) => verb.run(),
        Some(Verb::Healthcheck(verb)) => verb.run(),
        Some(Verb::Status(edge)) => edge.page("/api/v1/status"),
        Some(Verb::Version) => print(&format!("lakh {}\n", env!("CARGO_PKG_VERSION"))),
        Some(Verb::Completions { shell }) => {
            let (mut command, mut script) = (Cli::command(), Vec::new());
            clap_complete::generate(shell, &mut command, "lakh", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
        Some(Verb::Schema) => print(&format!("{:#}\n", crate::config::schema())),
        Some(Verb::Purge(Purge { what, soft, edge })) => {
            let What {
                url,
                prefix,
                host,
                tag,
            } = what;
            let order = PurgeOrder {
                url,
                prefix,
                host,
                tag,
                soft,
            };
            edge.order("/purge", &order)
        }
        Some(Verb::Top(verb)) => verb.run(),
        Some(Verb::Upstreams(edge)) => edge.page("/api/v1/upstreams"),
        Some(Verb::Drain(server)) => drain("/drain", server),
        Some(Verb::Undrain(server)) => drain("/undrain", server),
        Some(Verb::Weight(order)) => weigh(order),
        Some(Verb::Restore(Restore { route, edge })) => {
            edge.order("/restore", &SplitName { route })
        }
        Some(Verb::Bans(edge)) => edge.page("/api/v1/bans"),
        Some(Verb::Ban(ban)) => {
            let (address, seconds) = (ban.address, ban.length.as_secs());
            ban.edge.order("/ban", &BanOrder { address, seconds })
        }
        Some(Verb::Unban(Unban { address, edge })) => edge.order("/unban", &LiftOrder { address }),
        Some(Verb::Warm(warm)) => warm::warm(&warm.order()),
        Some(Verb::HashKey(HashKey { name, claims, new })) => {
            hash_key::hash_key(&name, &claims, new)
        }
        Some(Verb::Cert(Cert::Dev(made))) => cert::dev(&made.dir, &made.names),
        Some(Verb::SignUrl(sign)) => {
            sign_url::sign_url(&sign.file.config, &sign.url, sign.length, sign.imgproxy)
        }
    }
}

/// Whoever reads only the beginning, as `head` does, has what they wanted.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            eprintln!("lakh: standard output can't be written: {e}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn drain(target: &str, server: Server) -> ExitCode {
    let Server {
        upstream,
        server,
        edge,
    } = server;
    edge.order(target, &ServerName { upstream, server })
}

fn weigh(order: Weight) -> ExitCode {
    let Weight { server, weight } = order;
    let Server {
        upstream,
        server,
        edge,
    } = server;
    let order = WeightOrder {
        upstream,
        server,
        weight,
    };
    edge.order("/api/v1/servers/weight", &order)
}
