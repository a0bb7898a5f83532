//! What can be set, from the command line or the environment.

use clap::{Parser, ValueEnum};
use std::{net::IpAddr, path::PathBuf};

/// A neighbourhood lending application: people, listings, photos.
///
/// Any number of processes may share one data folder; each needs a port of its own. At the first
/// start on an empty folder it makes demonstration data, then listens. SIGTERM and SIGINT finish
/// open requests and end it.
#[derive(Parser)]
#[command(version)]
pub struct Settings {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,

    /// Port to listen on; 0 takes a free one, which the log names
    #[arg(long, env = "PORT", default_value_t = 9001)]
    pub port: u16,

    /// Folder for the database, the photos and the signing secret; created when missing
    #[arg(
        long,
        env = "LAKH_ORIGIN_DATA",
        default_value = "data",
        value_name = "FOLDER"
    )]
    pub data: PathBuf,

    /// Whether to make demonstration data, once per data folder
    #[arg(long, env = "LAKH_ORIGIN_DEMO", default_value = "on")]
    demo: Demo,

    /// The same as --demo off
    #[arg(long)]
    no_demo: bool,
}

#[derive(Clone, PartialEq, ValueEnum)]
enum Demo {
    On,
    Off,
}

impl Settings {
    pub fn wants_demo(&self) -> bool {
        self.demo == Demo::On && !self.no_demo
    }
}
