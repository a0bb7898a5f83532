//! What can be set, from the command line or the environment.

use crate::domain::user::Role;
use clap::{Parser, ValueEnum};
use std::{net::IpAddr, path::PathBuf, time::Duration};

/// A neighbourhood lending application: people, listings, photos, bookings, payments, issues, tasks.
///
/// Any number of processes may share one data folder; each needs a port of its own. At the first
/// start on an empty folder it makes demonstration data, whose photos come while it listens. SIGTERM
/// and SIGINT finish open requests and end it.
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

    /// Seconds until a job is taken from a worker that went silent, and done by another one
    #[arg(long, env = "LAKH_ORIGIN_LEASE", default_value_t = 30, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    lease: u64,

    /// Only give somebody a role (member, staff or admin), as staff=ada@example.org, and end
    #[arg(long, value_name = "ROLE=E-MAIL", value_parser = grant)]
    pub grant: Option<(Role, String)>,

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
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease)
    }

    pub fn wants_demo(&self) -> bool {
        self.demo == Demo::On && !self.no_demo
    }
}

fn grant(text: &str) -> Result<(Role, String), String> {
    let read = text.split_once('=').and_then(|(role, email)| {
        let role = role.parse().ok()?;
        Some((role, email.to_lowercase()))
    });
    read.ok_or_else(|| "write staff=ada@example.org, or admin=… or member=…".into())
}
