//! The command line.

mod check;
mod purge;
mod run;

use crate::admin::PurgeOrder;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

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
    /// Take back what the running edge has stored
    Purge(Purge),
}

#[derive(Args)]
struct Purge {
    #[command(flatten)]
    what: What,
    /// Make it stale instead of gone: it is asked for again, and still there if the origin fails
    #[arg(long)]
    soft: bool,
    #[command(flatten)]
    file: File,
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
        Some(Verb::Purge(Purge { what, soft, file })) => {
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
            purge::purge(&file.config, &order)
        }
    }
}
